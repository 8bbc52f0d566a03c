//! From an allowed URL to an answer, digested on its way.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Stream, StreamExt, TryStreamExt};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Response, StatusCode};
use reqwest::Url;
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;

use super::log::{Content, Log, Served};
use crate::digest::Digest;
use crate::ui::Ui;
use crate::ui::text::with_causes;

/// Headers that are of one connection, and those that make an answer anything but the whole file as it is: its digest is that of
/// the whole file.
const NOT_PASSED_ON: [HeaderName; 15] = [
    header::CONNECTION,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::ACCEPT_ENCODING,
    header::RANGE,
    header::IF_RANGE,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_UNMODIFIED_SINCE,
];
const NOT_PASSED_BACK: [HeaderName; 7] = [
    header::CONNECTION,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::ALT_SVC,
    header::ACCEPT_RANGES,
];

type Bytestream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// The body of an answer.
pub(super) enum Answer {
    /// Text of karat's own.
    Text(Option<Bytes>),
    /// What was asked for.
    Stream(Box<Digested>),
}

/// A stream whose end is written to the log.
pub(super) struct Digested {
    stream: Bytestream,
    left: Option<u64>,
    hasher: Sha256,
    size: u64,
    entry: Option<Served>,
    log: Arc<Log>,
}

impl Answer {
    /// Text of karat's own. Where a script pipes it into a shell, that ends with a failure and takes none of it for a command.
    pub fn text(text: &str) -> Self {
        Self::Text(Some(Bytes::from(format!("# {text}\nexit 1\n"))))
    }

    fn stream(stream: Bytestream, length: Option<u64>, entry: Served, log: &Arc<Log>) -> Self {
        let mut body = Digested {
            stream,
            left: length,
            hasher: Sha256::new(),
            size: 0,
            entry: Some(entry),
            log: Arc::clone(log),
        };
        if length == Some(0) {
            body.complete();
        }
        Self::Stream(Box::new(body))
    }
}

impl Digested {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let next = ready!(self.stream.as_mut().poll_next(context));
        match &next {
            Some(Ok(bytes)) => {
                self.hasher.update(bytes);
                let count = bytes.len() as u64;
                self.size += count;
                self.left = self.left.map(|left| left.saturating_sub(count));
                // Whoever takes the last byte may be gone before the end is asked for.
                if self.left == Some(0) {
                    self.complete();
                }
            }
            // A body that is shorter than was said fails by itself.
            None if self.left.is_none() => self.complete(),
            _ => {}
        }
        Poll::Ready(next)
    }

    fn complete(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            entry.content = Some(Content {
                sha256: Digest::from_hasher(std::mem::take(&mut self.hasher)),
                size: self.size,
            });
            self.log.add(entry);
        }
    }
}

impl Drop for Digested {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.log.add(entry);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Stream(body) => {
                let next = ready!(body.poll(context));
                Poll::Ready(next.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Stream(body) => body.left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let left = match self {
            Self::Text(text) => Some(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Stream(body) => body.left,
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Fetches what a rule allows.
///
/// # Errors
/// The sentence to tell the guest.
pub(super) async fn fetch(
    client: &reqwest::Client,
    method: &Method,
    headers: &HeaderMap,
    url: &Url,
    rule: &str,
    log: &Arc<Log>,
    ui: &Ui,
) -> Result<Response<Answer>, String> {
    let mut request = client.request(method.clone(), url.clone());
    let named = of_connection(headers);
    for (name, value) in headers {
        let proxy = name.as_str().starts_with("proxy-") || name.as_str() == "keep-alive";
        if !NOT_PASSED_ON.contains(name) && !proxy && !named.contains(name.as_str()) {
            request = request.header(name, value);
        }
    }
    let answer = request
        .send()
        .await
        .map_err(|error| format!("karat: cannot fetch {url}: {}", with_causes(&error)))?;
    let mut response = Response::builder().status(answer.status());
    if let Some(kept) = response.headers_mut() {
        for (name, value) in answer.headers() {
            if !NOT_PASSED_BACK.contains(name) && name.as_str() != "keep-alive" {
                kept.append(name, value.clone());
            }
        }
    }
    let entry = entry(url, answer.status(), rule);
    let has_body = *method != Method::HEAD
        && !matches!(
            answer.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    let body = if has_body {
        let length = answer.content_length();
        let (ui, url) = (ui.clone(), url.clone());
        // The guest only sees that the line drops.
        let stream = answer.bytes_stream().map_err(move |error| {
            let why = with_causes(&error);
            ui.warn(&format!("{url} broke off: {why}"));
            io::Error::other(error)
        });
        Answer::stream(Box::pin(stream), length, entry, log)
    } else {
        log.add(entry);
        Answer::Text(None)
    };
    response
        .body(body)
        .map_err(|error| format!("karat: cannot pass on {url}: {error}"))
}

/// Serves a file of the cache.
///
/// # Errors
/// The sentence to tell the guest.
pub(super) async fn file(
    path: &Path,
    method: &Method,
    url: &Url,
    rule: &str,
    log: &Arc<Log>,
) -> Result<Response<Answer>, String> {
    let failed = |error: io::Error| format!("karat: cannot read {url} from its cache: {error}");
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let size = file.metadata().await.map_err(failed)?.len();
    let entry = entry(url, StatusCode::OK, rule);
    let body = if *method == Method::HEAD {
        log.add(entry);
        Answer::Text(None)
    } else {
        let stream = ReaderStream::with_capacity(file, 1 << 18).boxed();
        Answer::stream(stream, Some(size), entry, log)
    };
    Response::builder()
        .header(header::CONTENT_LENGTH, size)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .body(body)
        .map_err(|error| format!("karat: cannot pass on {url}: {error}"))
}

fn entry(url: &Url, status: StatusCode, rule: &str) -> Served {
    Served {
        url: url.to_string(),
        status: status.as_u16(),
        content: None,
        rule: rule.to_owned(),
    }
}

/// Headers that `Connection` says are of this connection alone.
fn of_connection(headers: &HeaderMap) -> HashSet<String> {
    let values = headers.get_all(header::CONNECTION).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}
