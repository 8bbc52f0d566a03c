//! A base that is a local file.

use std::path::{Path, PathBuf};

use super::BaseError;
use crate::digest::Digest;
use crate::disk;
use crate::fetch::{Cache, digest_cache};
use crate::os::hash_stream;
use crate::ui::Ui;

/// Checks a file without reading it all, and returns the size of its disk; `None` for a format that only `qemu-img` knows.
pub(crate) fn disk_size(path: &Path) -> Result<Option<u64>, BaseError> {
    require_file(path)?;
    Ok(disk::check_file(path)?)
}

fn require_file(path: &Path) -> Result<u64, BaseError> {
    let metadata = std::fs::metadata(path).map_err(|source| BaseError::Read {
        path: path.to_owned(),
        source,
    })?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(BaseError::NotAFile(path.to_owned()))
    }
}

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
    let bar = ui.bar("hashing the base", Some(require_file(path)?));
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
