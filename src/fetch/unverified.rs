//! Download without a digest, for files that the caller verifies by their content.

use std::path::Path;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::transfer::{self, Redirects, TransferError};
use super::{FetchError, parse};

/// Downloads `url` to a new file. Fails if the file exists, or the transfer ends early.
pub async fn plainly(url: &str, to: &Path) -> Result<(), FetchError> {
    let parsed = parse(url)?;
    let failed = |source| FetchError::Transfer {
        url: url.to_owned(),
        tries: 1,
        source,
    };
    let client = transfer::client(Redirects::Secure).map_err(FetchError::NoClient)?;
    let mut answer = transfer::request(&client, &parsed, 0)
        .await
        .map_err(failed)?;
    let written = |source| FetchError::Cache {
        path: to.to_owned(),
        source,
    };
    let mut file = tokio::fs::File::create_new(to).await.map_err(written)?;
    let mut length = 0;
    while let Some(bytes) = answer.body.next().await {
        let bytes = bytes.map_err(failed)?;
        length += bytes.len() as u64;
        file.write_all(&bytes).await.map_err(written)?;
    }
    if answer.total.is_some_and(|total| total != length) {
        return Err(failed(TransferError::PastEnd));
    }
    file.flush().await.map_err(written)
}
