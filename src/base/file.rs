//! A base that is a local file.

use std::path::{Path, PathBuf};

use super::BaseError;
use crate::digest::Digest;
use crate::fetch::{Cache, digest_cache};
use crate::os::hash_stream;
use crate::ui::Ui;

/// Hashes the file, and compares the digest with `expected` if that is given. Returns digest and size.
pub(super) async fn check(
    path: &Path,
    expected: Option<Digest>,
    cache: &Cache,
    ui: &Ui,
) -> Result<(Digest, u64), BaseError> {
    let read = |source| BaseError::Read {
        path: path.to_owned(),
        source,
    };
    let metadata = std::fs::metadata(path).map_err(read)?;
    if !metadata.is_file() {
        return Err(BaseError::NotAFile(path.to_owned()));
    }
    let bar = ui.bar("hashing the base", Some(metadata.len()));
    let (notes, file) = (cache.known(), PathBuf::from(path));
    let progress = move |bytes| bar.advance(bytes);
    let (actual, size) =
        hash_stream::blocking(move |stop| digest_cache::digest(&notes, &file, stop, progress))
            .await
            .map_err(read)?;
    match expected {
        Some(expected) if expected != actual => Err(BaseError::Mismatch {
            path: path.to_owned(),
            expected,
            actual,
        }),
        _ => Ok((actual, size)),
    }
}
