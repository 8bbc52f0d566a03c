//! Serves proxy connections: HTTP, and HTTPS through `CONNECT`.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustls::ServerConfig;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;
use super::log::Log;
use super::rules::UrlRules;
use super::upstream::{self, Answer};
use crate::fetch::transfer::{self, Redirects, TransferError};
use crate::ssh::ForwardedStream;
use crate::ui::Ui;

/// Limit for the TLS handshake after a `CONNECT`.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves all connections of one build.
pub(super) struct Server {
    rules: UrlRules,
    log: Arc<Log>,
    /// HTTPS is refused without an authority.
    authority: Option<Authority>,
    client: Result<reqwest::Client, TransferError>,
    ui: Ui,
}

/// An accepted `CONNECT` request, before its TLS handshake.
struct Tunnel {
    upgrade: OnUpgrade,
    origin: Url,
    tls: Arc<ServerConfig>,
}

impl Server {
    pub fn new(rules: UrlRules, authority: Option<Authority>, ui: &Ui) -> Self {
        Self {
            rules,
            log: Arc::default(),
            authority,
            // A failure is reported by each request.
            client: transfer::client(Redirects::Secure),
            ui: ui.clone(),
        }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    pub fn rules(&self) -> &UrlRules {
        &self.rules
    }

    pub async fn connection(&self, stream: ForwardedStream) {
        let tunnel = Mutex::new(None);
        let service = service_fn(|request: Request<Incoming>| async {
            let answer = match *request.method() {
                Method::CONNECT => self.connect(request, &tunnel),
                _ => self.answer(&request, absolute(request.uri())).await,
            };
            Ok::<_, Infallible>(answer)
        });
        // A program may close its connection early.
        let _ended = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        let tunnel = tunnel.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(tunnel) = tunnel {
            self.inside(tunnel).await;
        }
    }

    /// Accepts a tunnel even to a host that is not allowed: programs show a refusal only inside TLS.
    fn connect(
        &self,
        request: Request<Incoming>,
        tunnel: &Mutex<Option<Tunnel>>,
    ) -> Response<Answer> {
        let Some(origin) = origin(request.uri()) else {
            let text = "karat: CONNECT needs the name and port of a host";
            return say(StatusCode::BAD_REQUEST, text);
        };
        let is_https = origin.port().is_none() || self.rules.allows_host(&origin);
        let Some(authority) = self.authority.as_ref().filter(|_| is_https) else {
            return self.refuse(&self.rules.refusal("GET", &origin));
        };
        let host = origin.host_str().unwrap_or_default();
        match authority.server_config(host.trim_matches(['[', ']'])) {
            Ok(tls) => {
                let upgrade = hyper::upgrade::on(request);
                *tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(Tunnel {
                    upgrade,
                    origin,
                    tls,
                });
                Response::new(Answer::Text(None))
            }
            Err(error) => {
                let text = format!("karat: cannot answer for {origin}: {error}");
                say(StatusCode::BAD_GATEWAY, &text)
            }
        }
    }

    async fn inside(&self, tunnel: Tunnel) {
        let Tunnel {
            upgrade,
            origin,
            tls,
        } = tunnel;
        let Ok(upgraded) = upgrade.await else { return };
        let accepting = TlsAcceptor::from(tls).accept(TokioIo::new(upgraded));
        let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, accepting).await else {
            self.not_trusted(&origin);
            return;
        };
        let service = service_fn(|request: Request<Incoming>| {
            let url = within(&origin, request.uri());
            async move { Ok::<_, Infallible>(self.answer(&request, Some(url)).await) }
        });
        let _ended = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// Reports a failed TLS handshake, which hides the request from the log.
    fn not_trusted(&self, origin: &Url) {
        if self.rules.allows_host(origin) {
            self.ui.warn(&format!(
                "a program in the guest rejected karat's certificate for {origin}; \
                 it must trust the file named by SSL_CERT_FILE"
            ));
        } else {
            self.refused(&self.rules.refusal("GET", origin));
        }
    }

    async fn answer(&self, request: &Request<Incoming>, url: Option<Url>) -> Response<Answer> {
        let Some(url) = url else {
            let text = "karat: this is a proxy; ask it for absolute http URLs";
            return say(StatusCode::BAD_REQUEST, text);
        };
        let method = request.method();
        let (rule, url) = match self.rules.find(&url) {
            Some(found) if matches!(*method, Method::GET | Method::HEAD) => found,
            _ => return self.refuse(&self.rules.refusal(method.as_str(), &url)),
        };
        let (name, log) = (rule.name(), &self.log);
        let answer = match (rule.file(), &self.client) {
            (Some((_, path)), _) => upstream::file(path, method, &url, name, log).await,
            (None, Ok(client)) => {
                upstream::fetch(client, method, request.headers(), &url, name, log, &self.ui).await
            }
            (None, Err(error)) => Err(format!("karat: cannot fetch {url}: {error}")),
        };
        answer.unwrap_or_else(|sentence| {
            self.ui.warn(without_prefix(&sentence));
            say(StatusCode::BAD_GATEWAY, &sentence)
        })
    }

    fn refuse(&self, sentence: &str) -> Response<Answer> {
        self.refused(sentence);
        say(StatusCode::FORBIDDEN, sentence)
    }

    /// Warns the user, once per sentence.
    fn refused(&self, sentence: &str) {
        if self.log.refuse(sentence) {
            self.ui.warn(without_prefix(sentence));
        }
    }
}

/// Removes the `karat: ` that tells a guest's user who refused.
pub(super) fn without_prefix(sentence: &str) -> &str {
    sentence.strip_prefix("karat: ").unwrap_or(sentence)
}

/// Builds a response with the sentence in body and status line, because many programs show only the latter.
fn say(status: StatusCode, sentence: &str) -> Response<Answer> {
    let mut response = Response::new(Answer::text(sentence));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    let line = sentence.replace(|c: char| !(' '..='~').contains(&c), " ");
    if let Ok(reason) = ReasonPhrase::try_from(line.into_bytes()) {
        response.extensions_mut().insert(reason);
    }
    response
}

/// Returns the URL of a proxy request, without login and fragment.
fn absolute(uri: &Uri) -> Option<Url> {
    uri.authority()?;
    let mut url = Url::parse(&uri.to_string()).ok()?;
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_fragment(None);
    Some(url)
}

/// Returns the host named by a `CONNECT` request.
fn origin(uri: &Uri) -> Option<Url> {
    let authority = uri.authority()?;
    authority.port()?;
    Url::parse(&format!("https://{authority}/"))
        .ok()
        .filter(|url| url.username().is_empty() && url.password().is_none())
}

/// Returns the URL of a request inside a tunnel.
fn within(origin: &Url, uri: &Uri) -> Url {
    let mut url = origin.clone();
    url.set_path(uri.path());
    url.set_query(uri.query());
    url
}
