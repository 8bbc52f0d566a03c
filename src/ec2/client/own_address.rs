//! Address that the caller's traffic comes from.

use std::net::{IpAddr, SocketAddr};

use tokio::net::UdpSocket;

use super::endpoint::Service;
use super::{AwsError, Region};
use crate::ui::text::with_causes;

/// AWS's address echo; no API has one.
const ECHO_URL: &str = "https://checkip.amazonaws.com/";

impl Region {
    /// Returns the address that hosts on the internet see, or, if an endpoint is configured (`AWS_ENDPOINT_URL`), the address
    /// that the endpoint is reached from.
    pub async fn own_address(&self) -> Result<IpAddr, AwsError> {
        let failed = |problem: String| AwsError::OwnAddress { problem };
        let io_failed = |error: std::io::Error| failed(error.to_string());
        let http_failed = |error: reqwest::Error| failed(with_causes(&error));
        if self.shared.endpoints.is_configured(Service::Ec2) {
            let url = self.shared.endpoints.url(Service::Ec2, &self.name);
            let url = reqwest::Url::parse(&url).map_err(|error| failed(error.to_string()))?;
            let addresses = url.socket_addrs(|| None).map_err(io_failed)?;
            let Some(address) = addresses.first() else {
                return Err(failed("the endpoint has no address".to_owned()));
            };
            return address_towards(*address).await.map_err(io_failed);
        }
        let response = self.shared.http.get(ECHO_URL).send().await;
        let response = response
            .and_then(reqwest::Response::error_for_status)
            .map_err(http_failed)?;
        let text = response.text().await.map_err(http_failed)?;
        let text = text.trim();
        text.parse()
            .map_err(|_| failed(format!("{ECHO_URL} answered {text:?}")))
    }
}

/// Returns the address of this machine from which another one is reached. Nothing is sent.
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
