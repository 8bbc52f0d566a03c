//! One try to get bytes from a URL, over HTTP or from a file, from an offset on.

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

use crate::ui::text::with_causes;

/// A server that accepts and then says nothing is given up after this long; a retry resumes.
pub const STALLED: Duration = Duration::from_mins(1);

/// Long enough for a lost SYN or two.
const CONNECT: Duration = Duration::from_secs(20);

/// Same as `curl` uses by default in distribution scripts; a loop is found quickly.
const REDIRECTS: usize = 10;

/// Bytes as they arrive.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, TransferError>> + Send>>;

/// What a source answered.
pub struct Answer {
    /// Offset of the first byte of `body`: zero when the source cannot skip.
    pub offset: u64,
    /// Size of the whole, when the source says it.
    pub total: Option<u64>,
    /// The bytes.
    pub body: Body,
}

/// Why one try failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// No answer, or the line dropped.
    #[error("{}", with_causes(.0))]
    Line(reqwest::Error),
    /// The server refused.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// The server has nothing from the asked offset on.
    #[error("the server has fewer bytes than were fetched before")]
    PastEnd,
    /// More than what was asked for can have.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl TransferError {
    /// Whether the same request may succeed a little later.
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

/// Which redirects to follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// All: the digest of what comes is known.
    Any,
    /// None from `https` to `http`: what comes is believed because of where it came from.
    Secure,
}

/// An HTTP client.
pub fn client(redirects: Redirects) -> Result<Client, TransferError> {
    client_within(redirects, STALLED)
}

/// An HTTP client that waits so long for the next bytes.
pub fn client_within(redirects: Redirects, stalled: Duration) -> Result<Client, TransferError> {
    // Fails when one is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = || {
        let policy = match redirects {
            Redirects::Any => redirect::Policy::limited(REDIRECTS),
            Redirects::Secure => redirect::Policy::custom(stay_secure),
        };
        Client::builder()
            .user_agent(concat!("karat/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(stalled)
            .redirect(policy)
    };
    builder()
        .build()
        // A minimal system has no certificates at all; plain http works there all the same.
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
    if attempt.previous().len() > REDIRECTS {
        return attempt.error("too many redirects");
    }
    attempt.follow()
}

/// Asks for the bytes of `url` from `offset` on.
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
            body: body(response),
        }),
        StatusCode::PARTIAL_CONTENT => match content_range(&response) {
            Some((first, total)) if first == offset => Ok(Answer {
                offset,
                total,
                body: body(response),
            }),
            // Bytes from another place than the asked one are of no use.
            _ => Err(TransferError::PastEnd),
        },
        StatusCode::RANGE_NOT_SATISFIABLE => Err(TransferError::PastEnd),
        status => Err(TransferError::Status(status)),
    }
}

fn body(response: Response) -> Body {
    Box::pin(response.bytes_stream().map_err(TransferError::Line))
}

/// First offset and total of `Content-Range: bytes 100-199/200`.
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
        body: Box::pin(stream.map(move |block| block.map_err(failed.clone()))),
    })
}
