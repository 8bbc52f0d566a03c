//! The proxy: HTTP over connections that come through the SSH connection.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::log::{Log, Served};
use super::rules::Rules;
use super::upstream::{self, Answer};
use crate::fetch::transfer::{self, Redirects, TransferError};
use crate::ssh::{Forward, Session, SshError, Stream};
use crate::ui::Ui;

/// A proxy that programs in a machine can use as long as this value and the session live.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    log: Arc<Log>,
    serving: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Opens a port on the machine's loopback and serves there what the rules allow.
    ///
    /// # Errors
    /// The machine's sshd does not allow it, or the connection dropped.
    pub async fn serve(session: &Session, rules: &Rules, ui: &Ui) -> Result<Self, SshError> {
        let forward = session.forward_remote().await?;
        let log = Arc::<Log>::default();
        let server = Server {
            rules: rules.clone(),
            log: Arc::clone(&log),
            // Without a client, each request says what is wrong.
            client: transfer::client(Redirects::Secure),
            ui: ui.clone(),
        };
        let port = forward.port();
        let serving = tokio::spawn(accept(forward, Arc::new(server)));
        Ok(Self {
            port,
            log,
            serving: AbortOnDropHandle::new(serving),
        })
    }

    /// Closes the port, before the session ends.
    ///
    /// # Errors
    /// The connection dropped.
    pub async fn end(self, session: &Session) -> Result<(), SshError> {
        drop(self.serving);
        session.end_forward(self.port).await
    }

    /// Where programs in the machine find it, as in `http://127.0.0.1:41234`.
    #[must_use]
    pub fn guest_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it served, in order.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        self.log.served()
    }

    /// What it refused, as one sentence each, in order.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.log.refused()
    }
}

async fn accept(mut forward: Forward, server: Arc<Server>) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    while let Some(stream) = forward.next().await {
        let server = Arc::clone(&server);
        connections.spawn(async move { server.connection(stream).await });
        while connections.try_join_next().is_some() {}
    }
}

struct Server {
    rules: Rules,
    log: Arc<Log>,
    client: Result<reqwest::Client, TransferError>,
    ui: Ui,
}

impl Server {
    async fn connection(&self, stream: Stream) {
        let service =
            service_fn(|request| async { Ok::<_, Infallible>(self.answer(request).await) });
        // A connection that ends early is the guest's business.
        let _ended = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let Some(url) = absolute(request.uri()) else {
            let text = "karat: this is a proxy; ask it for absolute http URLs";
            return say(StatusCode::BAD_REQUEST, text);
        };
        self.serve(&request, &url).await
    }

    async fn serve(&self, request: &Request<Incoming>, url: &Url) -> Response<Answer> {
        let method = request.method();
        let allowed = self.rules.find(url);
        let (rule, url) = match allowed {
            Some(found) if matches!(method.as_str(), "GET" | "HEAD") => found,
            _ => return self.refuse(&self.rules.refusal(method.as_str(), url)),
        };
        let (name, log) = (rule.name(), &self.log);
        let answer = match (rule.file(), &self.client) {
            (Some((_, path)), _) => upstream::file(path, method, &url, name, log).await,
            (None, Ok(client)) => {
                upstream::fetch(client, method, request.headers(), &url, name, log).await
            }
            (None, Err(error)) => Err(format!("karat: cannot fetch {url}: {error}")),
        };
        answer.unwrap_or_else(|sentence| {
            self.ui.warn(&sentence);
            say(StatusCode::BAD_GATEWAY, &sentence)
        })
    }

    /// Tells the guest and, once, the user.
    fn refuse(&self, sentence: &str) -> Response<Answer> {
        if self.log.refuse(sentence) {
            self.ui
                .warn(sentence.strip_prefix("karat: ").unwrap_or(sentence));
        }
        say(StatusCode::FORBIDDEN, sentence)
    }
}

/// An answer of karat's own. Many programs show the status line and not the body, so the sentence is in both.
fn say(status: StatusCode, sentence: &str) -> Response<Answer> {
    let mut response = Response::new(Answer::text(sentence));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    let line = sentence.replace(|c: char| !(' '..='~').contains(&c), " ");
    if let Ok(reason) = ReasonPhrase::try_from(line.into_bytes()) {
        response.extensions_mut().insert(reason);
    }
    response
}

/// The URL of a request to a proxy, without a login: that is no part of a name.
fn absolute(uri: &Uri) -> Option<Url> {
    uri.authority()?;
    let mut url = Url::parse(&uri.to_string()).ok()?;
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_fragment(None);
    Some(url)
}
