//! Small files that are replaced, so they cannot be named by their digest: they contain it.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::layout::read_optional;
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::record::canonical;

/// Permission bits of files that are replaced: the owner may write.
pub(super) const REPLACEABLE: u32 = 0o644;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checksummed<T> {
    content: T,
    digest: Digest,
}

/// Reads a checksummed file and verifies it; `None` if it does not exist.
pub(super) fn read<T: Serialize + DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let Some(bytes) = read_optional(path)? else {
        return Ok(None);
    };
    if let Ok(file) = serde_json::from_slice::<Checksummed<T>>(&bytes)
        && Digest::of(&canonical::to_bytes(&file.content)?) == file.digest
        && canonical::to_bytes(&file)? == bytes
    {
        return Ok(Some(file.content));
    }
    let (path, actual) = (path.to_owned(), Digest::of(&bytes));
    Err(StoreError::Tampered { path, actual })
}

/// Replaces a checksummed file.
pub(super) fn write<T: Serialize>(path: &Path, content: T) -> Result<(), StoreError> {
    let digest = Digest::of(&canonical::to_bytes(&content)?);
    let bytes = canonical::to_bytes(&Checksummed { content, digest })?;
    atomic_file::write(path, REPLACEABLE, &bytes).map_err(StoreError::io("write", path))
}
