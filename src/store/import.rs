//! Taking over what another store has recorded.

use super::sidecar::add_beside;
use super::{Store, StoreError, Writing, entries, intact};
use crate::os::atomic_file;
use crate::record::audit::{About, Event};
use crate::record::manifest::{Manifest, ManifestId};

impl Writing {
    /// Takes over a manifest whose image is in this store already, with records, scans, signatures, attestations, and what a
    /// rebuild needs as far as it is there.
    ///
    /// # Errors
    /// The other store cannot be read or was changed, or this one not written.
    pub async fn take(
        &self,
        from: &Store,
        manifest: &Manifest,
        id: ManifestId,
    ) -> Result<(), StoreError> {
        let store = self.store();
        let mut blobs = from.inventories(id, manifest)?;
        blobs.extend(
            from.materials(manifest)
                .into_iter()
                .map(|(_, digest)| digest),
        );
        blobs.extend(super::fsck::put_in(manifest));
        for digest in blobs {
            let path = from.blob(&digest);
            if path.exists() {
                self.add_copy(&path, digest).await?;
            }
        }
        let about = About {
            ids: vec![id],
            subject: Some(manifest.inputs.image.name.clone()),
            ..About::default()
        };
        self.log(Event::Record, about)?;
        let kinds = [
            (from.records(), store.records()),
            (from.scans(), store.scans()),
            (from.signatures(), store.signatures()),
            (from.attestations(), store.attestations()),
        ];
        for (theirs, ours) in kinds {
            for path in entries(&theirs.join(id.to_string()))? {
                let Some(name) = path.file_name() else {
                    continue;
                };
                let target = ours.join(id.to_string()).join(name);
                if !target.exists() {
                    add_beside(&target, &intact(&path)?)?;
                }
            }
        }
        let path = store.manifest_path(&id);
        let bytes = from.manifest(id)?.bytes;
        atomic_file::write(&path, super::transaction::READ_ONLY, &bytes)
            .map_err(StoreError::io("write", &path))
    }
}
