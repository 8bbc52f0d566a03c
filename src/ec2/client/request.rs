//! Signed request, sent until AWS answers it.

#[cfg(test)]
mod verified;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use tokio_util::bytes::Bytes;

use super::endpoint::Service;
use super::retry::{RETRY_TIMEOUT, Retry, call_backoff};
use super::{AwsError, Region};

/// Timeout of an attempt: none of the calls that karat makes takes longer.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// Timeout of a connection, which allows for the loss of a SYN or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Call of a service.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) service: Service,
    pub(super) action: &'static str,
    pub(super) method: Method,
    /// Path and query, encoded.
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    /// Include the body in the signature. Blocks of a disk carry a digest of their own instead.
    pub(super) sign_body: bool,
    pub(super) retry: Retry,
}

/// Headers and body of a successful response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

pub(super) fn client() -> Result<Client, AwsError> {
    // Fails if a provider is installed already, which serves as well.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = || {
        Client::builder()
            .user_agent(concat!("karat/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
    };
    builder()
        .build()
        // A minimal system has no certificates, and plain http works there without them.
        .or_else(|_| builder().tls_certs_only([]).build())
        .map_err(AwsError::Client)
}

impl Region {
    /// Sends a call until it is answered, refused for good or out of time; returns the last failure.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, AwsError> {
        let begun = Instant::now();
        let mut backoff = call_backoff();
        loop {
            let error = match self.try_once(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may_retry = match request.retry {
                Retry::Transient => error.is_transient(),
                Retry::NotCarriedOut => error.was_not_carried_out(),
            };
            let pause = backoff.next_jittered();
            if !may_retry || begun.elapsed() + pause > RETRY_TIMEOUT {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    async fn try_once(&self, request: &Request) -> Result<Answer, AwsError> {
        let url = self.shared.endpoints.url(request.service, &self.name) + &request.path;
        let mut builder = self.shared.http.request(request.method.clone(), &url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        for (name, value) in self.signature(request, &url).await? {
            builder = builder.header(name, value);
        }
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
        let failed = |problem| AwsError::Transport {
            action: request.name(),
            region: self.name.clone(),
            problem,
        };
        let sent = builder.body(request.body.clone()).send().await;
        let response = sent.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(failed)?;
        if status.is_success() {
            return Ok(Answer { headers, body });
        }
        let (code, message) = error_in(&headers, &body);
        Err(AwsError::Refused {
            action: request.name(),
            region: self.name.clone(),
            status: status.as_u16(),
            code: code.unwrap_or_else(|| format!("HTTP {}", status.as_u16())),
            message: message.unwrap_or_else(|| "no reason given".to_owned()),
        })
    }

    async fn signature(
        &self,
        request: &Request,
        url: &str,
    ) -> Result<Vec<(&'static str, String)>, AwsError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| AwsError::Sign {
            action: request.name(),
            source,
        };
        let identity = self.shared.keys.get().await?.into();
        // Over plain http the signature covers the body, as in the SDKs: nothing else protects it there.
        let sign_body = request.sign_body || !url.starts_with("https:");
        let mut settings = SigningSettings::default();
        if !sign_body {
            // The server has to know that the signature does not cover the body.
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.name)
            .name(request.service.name())
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|error| failed(error.into()))?
            .into();
        let body = if sign_body {
            SignableBody::Bytes(&request.body)
        } else {
            SignableBody::UnsignedPayload
        };
        let headers = request
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let signable = SignableRequest::new(request.method.as_str(), url, headers, body)
            .map_err(|error| failed(error.into()))?;
        let signed = sign(signable, &parameters).map_err(|error| failed(error.into()))?;
        let (headers, _) = signed.into_parts().0.into_parts();
        let owned = headers
            .into_iter()
            .map(|header| (header.name(), header.value().to_owned()));
        Ok(owned.collect())
    }

    /// Sends a call and parses its JSON response.
    pub(super) async fn send_json<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<T, AwsError> {
        let answer = self.send(request).await?;
        serde_json::from_slice(&answer.body).map_err(|error| self.not_understood(request, &error))
    }

    /// Error for a response that does not have the documented form.
    pub(super) fn not_understood(&self, request: &Request, problem: &impl ToString) -> AwsError {
        AwsError::Answer {
            action: request.name(),
            region: self.name.clone(),
            problem: problem.to_string(),
        }
    }
}

impl Request {
    /// Name of the call in policies, such as `ec2:RegisterImage`.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.service.name(), self.action)
    }
}

/// Extracts code and text of an error, in any of the forms that services use.
fn error_in(headers: &HeaderMap, body: &[u8]) -> (Option<String>, Option<String>) {
    let text = String::from_utf8_lossy(body);
    if text.trim_start().starts_with('<') {
        return (element(&text, "Code"), element(&text, "Message"));
    }
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let field = |names: [&str; 2]| names.iter().find_map(|name| json[*name].as_str());
    let header = headers.get("x-amzn-errortype");
    let code = header
        .and_then(|value| value.to_str().ok())
        .or_else(|| field(["__type", "code"]));
    // `com.amazon.coral#Name`, `Name:http://...`
    let code = code.map(|code| {
        let code = code.split(':').next().unwrap_or(code);
        code.rsplit('#').next().unwrap_or(code).to_owned()
    });
    let message = field(["message", "Message"]).map(str::to_owned);
    (code, message)
}

/// Returns the text of the first element of this name. In errors, these elements have neither attributes nor children.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    quick_xml::escape::unescape(text).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_error_is_read() {
        let ec2 = "<?xml version=\"1.0\"?><Response><Errors><Error><Code>InvalidAMIID.NotFound</Code>\
                   <Message>The image id &apos;[ami-1]&apos; does not exist</Message></Error></Errors></Response>";
        let json = r#"{"__type":"com.amazonaws.ssm#ParameterNotFound","message":"none"}"#;
        let rest = r#"{"Message":"bad index","Reason":"INVALID_BLOCK"}"#;
        let mut typed = HeaderMap::new();
        typed.insert(
            "x-amzn-errortype",
            "ValidationException:http://a/".parse().unwrap(),
        );
        let none = HeaderMap::new();
        for (headers, body, code, message) in [
            (
                &none,
                ec2,
                Some("InvalidAMIID.NotFound"),
                Some("The image id '[ami-1]' does not exist"),
            ),
            (&none, json, Some("ParameterNotFound"), Some("none")),
            (&typed, rest, Some("ValidationException"), Some("bad index")),
            (&none, "<html>Bad Gateway</html>", None, None),
            (&none, "", None, None),
        ] {
            let expected = (code.map(str::to_owned), message.map(str::to_owned));
            assert_eq!(error_in(headers, body.as_bytes()), expected, "{body}");
        }
    }
}
