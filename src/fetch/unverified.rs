//! Download without a digest, for files that the caller verifies by their content.

use std::path::Path;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::transfer::{self, Redirects, TransferError};
use super::{FetchError, broken_off, failed, parse};

/// Downloads `url` to a new file. Fails if the file exists, or the transfer ends early.
pub async fn download_unverified(url: &str, to: &Path) -> Result<(), FetchError> {
    let url = parse(url)?;
    let client = transfer::client(Redirects::Secure).map_err(FetchError::NoClient)?;
    let answer = transfer::request(&client, &url, 0).await;
    let mut answer = answer.map_err(broken_off(&url))?;
    let mut file = tokio::fs::File::create_new(to).await.map_err(failed(to))?;
    let mut length = 0;
    while let Some(bytes) = answer.body.next().await {
        let bytes = bytes.map_err(broken_off(&url))?;
        length += bytes.len() as u64;
        file.write_all(&bytes).await.map_err(failed(to))?;
    }
    if answer.total.is_some_and(|total| total != length) {
        return Err(broken_off(&url)(TransferError::PastEnd));
    }
    file.flush().await.map_err(failed(to))
}
