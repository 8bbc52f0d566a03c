//! The address that the caller's traffic comes from.

use std::net::{IpAddr, SocketAddr};

use tokio::net::UdpSocket;

use super::endpoint::Service;
use super::{AwsError, Region};

/// AWS's own echo of an address; no API has one.
const ECHO: &str = "https://checkip.amazonaws.com/";

impl Region {
    /// The address that hosts outside see.
    ///
    /// When somebody has said where AWS is (`AWS_ENDPOINT_URL`), it is the address from which that is reached.
    ///
    /// # Errors
    /// It cannot be found out.
    pub async fn own_address(&self) -> Result<IpAddr, AwsError> {
        let failed = |problem: String| AwsError::OwnAddress { problem };
        if self.shared.endpoints.is_asked(Service::Ec2) {
            let url = self.shared.endpoints.url(Service::Ec2, &self.name);
            let url = reqwest::Url::parse(&url).map_err(|error| failed(error.to_string()))?;
            let addresses = url.socket_addrs(|| None);
            let addresses = addresses.map_err(|error| failed(error.to_string()))?;
            let address = addresses.first().copied();
            let address =
                address.ok_or_else(|| failed("the endpoint has no address".to_owned()))?;
            return address_towards(address)
                .await
                .map_err(|error| failed(error.to_string()));
        }
        let answer = self.shared.http.get(ECHO).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let answer = answer.map_err(|error| failed(crate::fetch::error_chain(&error)))?;
        let text = answer.text().await;
        let text = text.map_err(|error| failed(crate::fetch::error_chain(&error)))?;
        let text = text.trim();
        text.parse()
            .map_err(|_| failed(format!("{ECHO} says {text:?}")))
    }
}

/// The address of this machine from which another one is reached. Nothing is sent.
///
/// # Errors
/// There is no way to it.
pub async fn address_towards(other: SocketAddr) -> std::io::Result<IpAddr> {
    let any = if other.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(other).await?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_reaches_itself_from_itself() {
        for text in ["127.0.0.1:22", "127.9.8.7:22"] {
            let other: SocketAddr = text.parse().unwrap();
            assert!(
                address_towards(other).await.unwrap().is_loopback(),
                "{text}"
            );
        }
    }
}
