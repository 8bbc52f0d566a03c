//! A short request that tells whether a server answers and has a file.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::DATE;

use super::transfer::{self, Redirects, TransferError};
use super::{FetchError, broken_off, parse};
use crate::time::Timestamp;

/// Answer to a probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Probe {
    /// The file exists. The time is that of the server's clock.
    Exists(Option<Timestamp>),
    Missing,
}

/// Asks for the head of a file, once, for at most `timeout`.
pub(crate) async fn probe(url: &str, timeout: Duration) -> Result<Probe, FetchError> {
    let url = parse(url)?;
    if url.scheme() == "file" {
        let path = url.to_file_path().unwrap_or_else(|()| url.path().into());
        return match std::fs::metadata(&path) {
            Ok(_) => Ok(Probe::Exists(None)),
            Err(_) => Ok(Probe::Missing),
        };
    }
    let client = transfer::client(Redirects::Any).map_err(FetchError::NoClient)?;
    let answer = client.head(url.clone()).timeout(timeout).send().await;
    let answer = answer.map_err(|error| broken_off(&url)(TransferError::Line(error)))?;
    match answer.status() {
        StatusCode::OK => {
            let date = answer.headers().get(DATE);
            let date = date.and_then(|date| Timestamp::from_rfc2822(date.to_str().ok()?));
            Ok(Probe::Exists(date))
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Probe::Missing),
        status => Err(broken_off(&url)(TransferError::Status(status))),
    }
}
