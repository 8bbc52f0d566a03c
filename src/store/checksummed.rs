//! Small files that change, and so cannot be called by their digest: they hold it beside what they say.

use std::fs;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::record::canonical;

/// Others may read it.
const MODE: u32 = 0o644;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<T> {
    content: T,
    digest: Digest,
}

/// Reads such a file; `None` when there is none.
///
/// # Errors
/// It cannot be read, or was changed.
pub(super) fn read<T: Serialize + DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(StoreError::io("read", path))?,
    };
    if let Ok(sealed) = serde_json::from_slice::<Sealed<T>>(&bytes)
        && Digest::of(&canonical::to_bytes(&sealed.content)?) == sealed.digest
        && canonical::to_bytes(&sealed)? == bytes
    {
        return Ok(Some(sealed.content));
    }
    let actual = Digest::of(&bytes);
    let path = path.to_owned();
    Err(StoreError::Tampered { path, actual })
}

/// Replaces such a file whole.
///
/// # Errors
/// It cannot be written.
pub(super) fn write<T: Serialize>(path: &Path, content: T) -> Result<(), StoreError> {
    let digest = Digest::of(&canonical::to_bytes(&content)?);
    let bytes = canonical::to_bytes(&Sealed { content, digest })?;
    atomic_file::write(path, MODE, &bytes).map_err(StoreError::io("write", path))
}
