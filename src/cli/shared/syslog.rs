//! Sending lines to a syslog server: RFC 5424 messages over TLS with octet counting (RFC 5425).

use std::fmt::Write as _;
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
/// The port of syslog over TLS (RFC 5425, 4.1).
const PORT: u16 = 6514;
/// A server that does not answer for so long will not.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest name of a host (RFC 5424, 6).
const LONGEST_HOST: usize = 255;

/// Where messages go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Name or address, as its certificate has it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Certificates that are believed instead of the system's.
    pub authority: Option<PathBuf>,
}

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// When it happened.
    pub at: Timestamp,
    /// The machine that it happened on.
    pub host: &'a str,
    /// What kind of message.
    pub kind: &'a str,
    /// The text: UTF-8.
    pub text: &'a str,
}

/// Why nothing arrived.
#[derive(Debug, Error, Diagnostic)]
pub enum SyslogError {
    /// The text names no server.
    #[error("{0:?} is no server")]
    #[diagnostic(help("write HOST or HOST:PORT; the port of syslog over TLS is {PORT}"))]
    Address(String),
    /// The certificates cannot be used.
    #[error("cannot read certificates from {}", path.display())]
    #[diagnostic(help("a file of certificates in PEM form is expected"))]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    #[diagnostic(help(
        "install the system's certificates (ca-certificates), or name a file of your own"
    ))]
    Tls(#[source] rustls::Error),
    /// The server cannot be reached, does not prove who it is, or hangs up.
    #[error("cannot send to the syslog server {server}")]
    #[diagnostic(help(
        "what was not sent stays in the audit log, and is sent with the next change; check name, port and certificate"
    ))]
    Send {
        /// The server.
        server: String,
        /// Why.
        source: io::Error,
    },
}

impl Server {
    /// Reads `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str, authority: Option<&Path>) -> Result<Self, SyslogError> {
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

    /// As it is shown.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Sends messages over one connection, and waits until the server has taken all of them off the line.
    ///
    /// # Errors
    /// See [`SyslogError`]. Some of them may have arrived.
    pub async fn send(&self, messages: &[Message<'_>]) -> Result<(), SyslogError> {
        let config = self.config()?;
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend(message.frame());
        }
        let sent = tokio::time::timeout(PATIENCE, self.transmit(config, &bytes)).await;
        let sent = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        sent.map_err(|source| SyslogError::Send {
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
        // A server answers the end with its own, once it has read everything before it.
        let mut answer = [0; 64];
        loop {
            match line.read(&mut answer).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // Some hang up without a goodbye.
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
        let added = roots.add(certificate);
        added.map_err(|error| failed(io::Error::other(error)))?;
    }
    if roots.is_empty() {
        return Err(failed(io::Error::other("there is none in it")));
    }
    Ok(roots)
}

impl Message<'_> {
    /// The message with its length before it.
    fn frame(&self) -> Vec<u8> {
        let mut text = format!("<{PRIORITY}>1 {} ", self.at);
        let word = |text: &mut String, word: &str, longest: usize| {
            let printable = word.chars().filter(char::is_ascii_graphic);
            let kept: String = printable.take(longest).collect();
            let _ = write!(text, "{} ", if kept.is_empty() { "-" } else { &kept });
        };
        word(&mut text, self.host, LONGEST_HOST);
        word(&mut text, "karat", 48);
        word(&mut text, &std::process::id().to_string(), 128);
        word(&mut text, self.kind, 32);
        // No structured data; a byte order mark says that the text is UTF-8.
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
            let found = server.as_ref().map(|it| (it.host.as_str(), it.port));
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
