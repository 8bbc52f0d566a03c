//! What is kept beside manifests: `<kind>/<id>/<digest>.<extension>`, each file written once and called by its digest.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::transaction::READ_ONLY;
use super::{Store, StoreError, entries, intact, name_of};
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::record::manifest::{ManifestError, ManifestId};

impl Store {
    /// The kinds: directories with a directory for each manifest.
    pub(super) fn kinds(&self) -> [PathBuf; 5] {
        [
            self.records(),
            self.scans(),
            self.signatures(),
            self.attestations(),
            self.pins(),
        ]
    }

    /// Reads all of one kind that is JSON, each with the digest of its bytes. `about` tells which manifest one is about.
    pub(super) fn beside<T: DeserializeOwned>(
        kind: &Path,
        id: ManifestId,
        about: impl Fn(&T) -> ManifestId,
    ) -> Result<Vec<(T, Digest)>, StoreError> {
        let mut all = Vec::new();
        for path in entries(&kind.join(id.to_string()))? {
            if name_of::<ManifestId>(&path, "json").is_none() {
                continue;
            }
            let bytes = intact(&path)?;
            let digest = Digest::of(&bytes);
            let read: T = match serde_json::from_slice(&bytes) {
                Ok(read) => read,
                Err(error) => {
                    let source = ManifestError::Form(error);
                    return Err(StoreError::Unreadable { path, source });
                }
            };
            // A sound one of another manifest, moved here, would lend this one its history.
            if about(&read) != id {
                let actual = digest;
                return Err(StoreError::Tampered { path, actual });
            }
            all.push((read, digest));
        }
        Ok(all)
    }
}

/// Writes one of a kind.
pub(super) fn add_beside(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let directory = atomic_file::directory_of(path);
    atomic_file::make_directory(directory)
        .and_then(|()| atomic_file::sync_directory(atomic_file::directory_of(directory)))
        .and_then(|()| atomic_file::write(path, READ_ONLY, bytes))
        .map_err(StoreError::io("write", path))
}
