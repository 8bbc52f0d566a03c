//! Syslog client: RFC 5424 messages over TLS with octet counting (RFC 5425).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use miette::Diagnostic;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::time::Timestamp;

/// Facility 13, "log audit", and severity 5, "notice" (RFC 5424, 6.2.1).
const PRIORITY: u32 = 13 * 8 + 5;
/// Port of syslog over TLS (RFC 5425, 4.1).
const PORT: u16 = 6514;
/// Limit of one connection, from connecting to the server's close.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// Length limit of a host name (RFC 5424, 6).
const MAX_HOST_BYTES: usize = 255;

/// A syslog server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Server {
    /// Name or address, as in the server's certificate.
    host: String,
    port: u16,
    /// PEM file of CA certificates to trust instead of the system's.
    authority: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message<'a> {
    /// Time of the event.
    pub at: Timestamp,
    /// Host of the event.
    pub host: &'a str,
    /// Message id, such as `promote`.
    pub kind: &'a str,
    pub text: &'a str,
}

#[derive(Debug, Error, Diagnostic)]
pub(crate) enum SyslogError {
    #[error("invalid syslog server `{0}`")]
    #[diagnostic(help("expected HOST or HOST:PORT; the default port is {PORT}"))]
    Address(String),
    #[error("cannot read certificates from {}", path.display())]
    #[diagnostic(help("expected a file of certificates in PEM form"))]
    Authority { path: PathBuf, source: io::Error },
    #[error("cannot set up TLS")]
    #[diagnostic(help(
        "install the system's certificates (package ca-certificates), or name a file of your own"
    ))]
    Tls(#[source] rustls::Error),
    #[error("cannot send to the syslog server {server}")]
    #[diagnostic(help(
        "the lines stay in the audit log and are sent with the next change; check name, port and certificate"
    ))]
    Send { server: String, source: io::Error },
}

impl Server {
    /// Parses `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`.
    pub(crate) fn parse(text: &str, authority: Option<&Path>) -> Result<Self, SyslogError> {
        let invalid = || SyslogError::Address(text.to_owned());
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(invalid)?;
                (host, port.strip_prefix(':'))
            }
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = port.map_or(Ok(PORT), str::parse).map_err(|_| invalid())?;
        if ServerName::try_from(host).is_err() {
            return Err(invalid());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            authority: authority.map(Path::to_owned),
        })
    }

    /// Returns `HOST:PORT`.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Sends messages over one connection, and waits until the server has read all of them. After an error, some of them may
    /// have arrived.
    pub(crate) async fn send(&self, messages: &[Message<'_>]) -> Result<(), SyslogError> {
        let config = self.config()?;
        let bytes: Vec<u8> = messages.iter().flat_map(Message::frame).collect();
        tokio::time::timeout(SEND_TIMEOUT, self.transmit(config, &bytes))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| SyslogError::Send {
                server: self.name(),
                source,
            })
    }

    async fn transmit(&self, config: ClientConfig, bytes: &[u8]) -> io::Result<()> {
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        let line = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let mut line = TlsConnector::from(Arc::new(config))
            .connect(name, line)
            .await?;
        line.write_all(bytes).await?;
        line.shutdown().await?;
        // A server closes its side once it has read everything.
        let mut answer = [0; 64];
        loop {
            match line.read(&mut answer).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // Some servers close without a TLS close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn config(&self) -> Result<ClientConfig, SyslogError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(SyslogError::Tls)?;
        let builder = match &self.authority {
            None => builder.with_platform_verifier().map_err(SyslogError::Tls)?,
            Some(path) => builder.with_root_certificates(roots(path)?),
        };
        Ok(builder.with_no_client_auth())
    }
}

fn roots(path: &Path) -> Result<RootCertStore, SyslogError> {
    let failed = |source| SyslogError::Authority {
        path: path.to_owned(),
        source,
    };
    let text = fs::read(path).map_err(failed)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| failed(io::Error::other(error)))?;
        roots
            .add(certificate)
            .map_err(|error| failed(io::Error::other(error)))?;
    }
    if roots.is_empty() {
        return Err(failed(io::Error::other("it contains no certificate")));
    }
    Ok(roots)
}

impl Message<'_> {
    /// Returns the message, preceded by its length.
    fn frame(&self) -> Vec<u8> {
        let mut text = format!("<{PRIORITY}>1 {} ", self.at);
        // Name, process id and message id have the limits of RFC 5424, 6.
        for (field, limit) in [
            (self.host, MAX_HOST_BYTES),
            ("karat", 48),
            (&std::process::id().to_string(), 128),
            (self.kind, 32),
        ] {
            let printable = field.chars().filter(char::is_ascii_graphic);
            let field: String = printable.take(limit).collect();
            text.push_str(if field.is_empty() { "-" } else { &field });
            text.push(' ');
        }
        // No structured data; a byte order mark marks the text as UTF-8.
        text.push_str("- \u{feff}");
        text.push_str(self.text);
        let mut frame = format!("{} ", text.len()).into_bytes();
        frame.extend(text.into_bytes());
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_host_and_port() {
        for (text, expected) in [
            ("log.example.org", Some(("log.example.org", 6514))),
            ("log.example.org:10514", Some(("log.example.org", 10514))),
            ("127.0.0.1:1", Some(("127.0.0.1", 1))),
            ("[::1]:7", Some(("::1", 7))),
            ("[::1]", Some(("::1", 6514))),
            ("", None),
            ("host:", None),
            ("host:port", None),
            ("a host", None),
            ("host:70000", None),
        ] {
            let server = Server::parse(text, None).ok();
            let found = server
                .as_ref()
                .map(|server| (server.host.as_str(), server.port));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn a_message_has_the_form_of_the_rfc() {
        let message = Message {
            at: "2026-01-31T12:00:00Z".parse().unwrap(),
            host: "build er",
            kind: "promote",
            text: "grün",
        };
        let frame = String::from_utf8(message.frame()).unwrap();
        let (length, text) = frame.split_once(' ').unwrap();
        assert_eq!(length.parse(), Ok(text.len()));
        let id = std::process::id();
        let expected =
            format!("<109>1 2026-01-31T12:00:00Z builder karat {id} promote - \u{feff}grün");
        assert_eq!(text, expected);
    }
}
