//! Import of a manifest from another store.

use super::layout::{entries, read_verified};
use super::materials::uploads;
use super::sidecar::add_sidecar;
use super::{Store, StoreError, Writing};
use crate::record::audit::{About, Event};
use crate::record::manifest::{Manifest, ManifestId};

impl Writing {
    /// Imports a manifest whose image is in this store already: with records, scans, signatures, attestations, and those
    /// materials of a rebuild that the other store has.
    pub(crate) async fn take(
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
        blobs.extend(uploads(manifest));
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
        for (theirs, ours) in [
            (from.records(), store.records()),
            (from.scans(), store.scans()),
            (from.signatures(), store.signatures()),
            (from.attestations(), store.attestations()),
        ] {
            for path in entries(&theirs.join(id.to_string()))? {
                let Some(name) = path.file_name() else {
                    continue;
                };
                let target = ours.join(id.to_string()).join(name);
                if !target.exists() {
                    add_sidecar(&target, &read_verified(&path)?)?;
                }
            }
        }
        self.write_manifest(id, &from.manifest(id)?.bytes)
    }
}
