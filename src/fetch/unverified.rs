//! Downloads without a digest, for files that the caller verifies by their content.

use std::io;
use std::path::Path;

use futures_util::StreamExt as _;
use reqwest::{Client, StatusCode, Url};
use tokio::io::AsyncWriteExt as _;

use super::revalidate::ask;
use super::transfer::{self, Redirects, TransferError};
use super::validators::Validators;
use super::{Cache, FetchError, Tries, failed, file_name, parse};
use crate::ui::Ui;

impl Cache {
    /// Downloads `url` to the file `to`, which is replaced. Refuses more than `max_bytes`.
    ///
    /// # Errors
    /// The download fails after its retries; a part of the file may be left.
    pub(crate) async fn download_unverified(
        &self,
        url: &str,
        to: &Path,
        max_bytes: usize,
        ui: &Ui,
    ) -> Result<Validators, FetchError> {
        let url = parse(url)?;
        let client = transfer::client_within(Redirects::Secure, self.stalled);
        let client = client.map_err(FetchError::NoClient)?;
        let mut tries = Tries::new(self.pause);
        loop {
            let attempt = download(&client, &url, to, max_bytes, ui).await;
            match attempt.map_err(failed(to))? {
                Ok(validators) => return Ok(validators),
                Err(source) => tries.pause_after(&url, source).await?,
            }
        }
    }

    /// Returns whether the server says that the file at `url` still has these validators. A server that does not answer
    /// does not say so.
    pub(crate) async fn is_unchanged(&self, url: &str, validators: &Validators) -> bool {
        let Ok(url) = parse(url) else { return false };
        if url.scheme() == "file" || validators.is_empty() {
            return false;
        }
        let answer = ask(&url, Some(validators)).await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::NOT_MODIFIED)
    }
}

/// Tries once. The outer error is that of the file, the inner one that of the transfer.
async fn download(
    client: &Client,
    url: &Url,
    to: &Path,
    max_bytes: usize,
    ui: &Ui,
) -> io::Result<Result<Validators, TransferError>> {
    let mut answer = match transfer::request(client, url, 0).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error)),
    };
    let bar = ui.bar(&format!("fetching {}", file_name(url)), answer.total);
    let mut file = tokio::fs::File::create(to).await?;
    let mut length = 0;
    while let Some(bytes) = answer.body.next().await {
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error)),
        };
        length += bytes.len();
        if length > max_bytes {
            return Ok(Err(TransferError::TooLong(max_bytes)));
        }
        bar.advance(bytes.len() as u64);
        file.write_all(&bytes).await?;
    }
    file.flush().await?;
    Ok(Ok(answer.validators))
}
