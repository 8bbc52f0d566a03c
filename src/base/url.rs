//! A base that is downloaded to the cache.

use std::path::PathBuf;

use super::BaseError;
use crate::digest::Digest;
use crate::fetch::Cache;
use crate::plan::Checksum;
use crate::ui::Ui;

/// Downloads the image. Returns its path, digest and size.
pub(super) async fn fetch(
    url: &str,
    checksum: &Checksum,
    cache: &Cache,
    ui: &Ui,
) -> Result<(PathBuf, Digest, u64), BaseError> {
    let (path, digest) = cache.fetch(url, checksum, ui).await?;
    match std::fs::metadata(&path) {
        Ok(metadata) => Ok((path, digest, metadata.len())),
        Err(source) => Err(BaseError::Read { path, source }),
    }
}
