//! Sidecar files of manifests: `<kind>/<id>/<digest>.<extension>`, each written once and named by its digest.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::StoreError;
use super::layout::{entries, parse_stem, read_verified};
use super::transaction::READ_ONLY;
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::record::manifest::{ManifestError, ManifestId};

/// Reads the sidecars of a manifest in directory `kind` and verifies them. They are in order of their digests, which are their
/// names.
pub(super) fn read_files(
    kind: &Path,
    id: ManifestId,
    extension: &str,
) -> Result<Vec<(PathBuf, Vec<u8>)>, StoreError> {
    let mut paths = entries(&kind.join(id.to_string()))?;
    paths.retain(|path| parse_stem::<ManifestId>(path, extension).is_some());
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = read_verified(&path)?;
        Ok((path, bytes))
    };
    paths.into_iter().map(read).collect()
}

/// Reads the JSON sidecars of a manifest in directory `kind`, each with the digest of its bytes. `manifest_of` returns the
/// manifest that a sidecar names.
pub(super) fn read_sidecars<T: DeserializeOwned>(
    kind: &Path,
    id: ManifestId,
    manifest_of: impl Fn(&T) -> ManifestId,
) -> Result<Vec<(T, Digest)>, StoreError> {
    let parse = |(path, bytes): (PathBuf, Vec<u8>)| {
        let digest = Digest::of(&bytes);
        match serde_json::from_slice::<T>(&bytes) {
            Ok(sidecar) if manifest_of(&sidecar) == id => Ok((sidecar, digest)),
            // Reject a valid sidecar that was moved here from another manifest.
            Ok(_) => {
                let actual = digest;
                Err(StoreError::Tampered { path, actual })
            }
            Err(error) => {
                let source = ManifestError::Form(error);
                Err(StoreError::Unreadable { path, source })
            }
        }
    };
    let files = read_files(kind, id, "json")?.into_iter();
    files.map(parse).collect()
}

/// Writes a sidecar and makes its directory durable.
pub(super) fn add_sidecar(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let directory = atomic_file::directory_of(path);
    atomic_file::make_directory(directory)
        .and_then(|()| atomic_file::sync_directory(atomic_file::directory_of(directory)))
        .and_then(|()| atomic_file::write(path, READ_ONLY, bytes))
        .map_err(StoreError::io("write", path))
}
