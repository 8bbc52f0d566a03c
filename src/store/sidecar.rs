//! Sidecar files of manifests: `<kind>/<id>/<digest>.<extension>`, each written once and named by its digest.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::StoreError;
use super::layout::{entries, parse_stem, read_verified};
use super::transaction::READ_ONLY;
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::record::manifest::{ManifestError, ManifestId};

/// Reads the JSON sidecars of a manifest in directory `kind`, each with the digest of its bytes. `manifest_of` returns the
/// manifest that a sidecar names.
pub(super) fn read_sidecars<T: DeserializeOwned>(
    kind: &Path,
    id: ManifestId,
    manifest_of: impl Fn(&T) -> ManifestId,
) -> Result<Vec<(T, Digest)>, StoreError> {
    let mut sidecars = Vec::new();
    for path in entries(&kind.join(id.to_string()))? {
        if parse_stem::<ManifestId>(&path, "json").is_none() {
            continue;
        }
        let bytes = read_verified(&path)?;
        let digest = Digest::of(&bytes);
        let sidecar: T = match serde_json::from_slice(&bytes) {
            Ok(sidecar) => sidecar,
            Err(error) => {
                let source = ManifestError::Form(error);
                return Err(StoreError::Unreadable { path, source });
            }
        };
        // Reject a valid sidecar that was moved here from another manifest.
        if manifest_of(&sidecar) != id {
            let actual = digest;
            return Err(StoreError::Tampered { path, actual });
        }
        sidecars.push((sidecar, digest));
    }
    Ok(sidecars)
}

/// Writes a sidecar and makes its directory durable.
pub(super) fn add_sidecar(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let directory = atomic_file::directory_of(path);
    atomic_file::make_directory(directory)
        .and_then(|()| atomic_file::sync_directory(atomic_file::directory_of(directory)))
        .and_then(|()| atomic_file::write(path, READ_ONLY, bytes))
        .map_err(StoreError::io("write", path))
}
