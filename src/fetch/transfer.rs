//! A single request for the bytes of a URL from an offset, over HTTP or from a file.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::io::AsyncSeekExt;
use tokio_util::bytes::Bytes;
use tokio_util::io::ReaderStream;

use super::validators::Validators;
use crate::ui::text::with_causes;

/// Time without a byte after which a connection is given up. A retry resumes the download.
pub const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Long enough for a lost SYN or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// The limit that `curl` has by default in distribution scripts; a loop is noticed quickly.
const MAX_REDIRECTS: usize = 10;

/// Stream of the bytes.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, TransferError>> + Send>>;

/// Answer to a request.
pub struct Answer {
    /// Offset of the first byte of `body`: zero if the server does not support ranges.
    pub offset: u64,
    /// Size of the whole file, if the server announces it.
    pub total: Option<u64>,
    pub validators: Validators,
    pub body: Body,
}

/// Failure of one request.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// There was no answer, or the connection dropped.
    #[error("{}", with_causes(.0))]
    Line(reqwest::Error),
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// The server has no bytes at the requested offset.
    #[error("the server has fewer bytes than were downloaded before")]
    PastEnd,
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("cannot read {}: {source}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl TransferError {
    /// Returns whether the same request may succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Line(error) => !error.is_builder() && !error.is_redirect(),
            Self::Status(status) => {
                status.is_server_error()
                    || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(status)
            }
            Self::PastEnd => true,
            Self::TooLong(_) | Self::File { .. } => false,
        }
    }
}

/// Policy for HTTP redirects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// All: the digest of the file is known.
    Any,
    /// None from `https` to `http`: the file is trusted because of its origin.
    Secure,
}

pub fn client(redirects: Redirects) -> Result<Client, TransferError> {
    client_within(redirects, STALL_TIMEOUT)
}

/// Returns an HTTP client that gives up after `stalled` without a byte.
pub fn client_within(redirects: Redirects, stalled: Duration) -> Result<Client, TransferError> {
    // Fails if a provider is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = || {
        let policy = match redirects {
            Redirects::Any => redirect::Policy::limited(MAX_REDIRECTS),
            Redirects::Secure => redirect::Policy::custom(stay_secure),
        };
        Client::builder()
            .user_agent(concat!("karat/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(stalled)
            .redirect(policy)
    };
    builder()
        .build()
        // Without any certificates, as on a minimal system, plain http still works.
        .or_else(|_| builder().tls_certs_only([]).build())
        .map_err(TransferError::Line)
}

fn stay_secure(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let was_secure = attempt
        .previous()
        .last()
        .is_some_and(|url| url.scheme() == "https");
    if was_secure && attempt.url().scheme() != "https" {
        return attempt.error("redirected from https to http");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("too many redirects");
    }
    attempt.follow()
}

/// Requests the bytes of `url` from `offset`.
pub async fn request(client: &Client, url: &Url, offset: u64) -> Result<Answer, TransferError> {
    if url.scheme() == "file" {
        return read(url, offset).await;
    }
    let mut request = client.get(url.clone());
    if offset > 0 {
        request = request.header(RANGE, format!("bytes={offset}-"));
    }
    let response = request.send().await.map_err(TransferError::Line)?;
    match response.status() {
        StatusCode::OK => Ok(Answer {
            offset: 0,
            total: response.content_length(),
            validators: Validators::of(&response),
            body: body(response),
        }),
        StatusCode::PARTIAL_CONTENT => match content_range(&response) {
            Some((first, total)) if first == offset => Ok(Answer {
                offset,
                total,
                validators: Validators::of(&response),
                body: body(response),
            }),
            // Bytes from another offset are useless.
            _ => Err(TransferError::PastEnd),
        },
        StatusCode::RANGE_NOT_SATISFIABLE => Err(TransferError::PastEnd),
        status => Err(TransferError::Status(status)),
    }
}

fn body(response: Response) -> Body {
    Box::pin(response.bytes_stream().map_err(TransferError::Line))
}

/// Parses first offset and total of `Content-Range: bytes 100-199/200`.
fn content_range(response: &Response) -> Option<(u64, Option<u64>)> {
    let value = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _last) = range.split_once('-')?;
    Some((first.parse().ok()?, total.parse().ok()))
}

async fn read(url: &Url, offset: u64) -> Result<Answer, TransferError> {
    let path = url.to_file_path().unwrap_or_else(|()| url.path().into());
    let failed = {
        let path = path.clone();
        move |source| TransferError::File { path, source }
    };
    let opened = async {
        let mut file = tokio::fs::File::open(&path).await?;
        let size = file.metadata().await?.len();
        file.seek(SeekFrom::Start(offset)).await?;
        Ok((file, size))
    };
    let (file, size) = opened.await.map_err(failed.clone())?;
    let stream = ReaderStream::with_capacity(file, 1 << 20);
    Ok(Answer {
        offset,
        total: Some(size),
        validators: Validators::default(),
        body: Box::pin(stream.map(move |block| block.map_err(failed.clone()))),
    })
}
