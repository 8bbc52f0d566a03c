//! Blobs that a manifest refers to: the materials of a rebuild, and what is kept forever.

use std::collections::BTreeSet;
use std::fs;

use super::{ScanRecord, Store, StoreError};
use crate::digest::Digest;
use crate::record::directory_listing::listed;
use crate::record::lock::Lock;
use crate::record::manifest::{Action, Manifest, ManifestId, SourceKind};

impl Store {
    /// Returns what an image was built from: a name for messages and the digest of each material.
    pub(super) fn materials(&self, manifest: &Manifest) -> Vec<(String, Digest)> {
        let (inputs, outputs) = (&manifest.inputs, &manifest.outputs);
        let mut all = vec![("the base".to_owned(), inputs.base.digest)];
        if let Some(lock) = inputs.lock {
            all.push(("the lock".to_owned(), lock.digest));
            let path = self.blob(&lock.digest);
            // A damaged lock file is reported by its own digest.
            let text = fs::read_to_string(&path).unwrap_or_default();
            if let Ok(lock) = Lock::from_toml(&text, &path) {
                let packages = lock.packages.into_iter();
                all.extend(
                    packages.map(|found| (format!("the package {}", found.name), found.sha256)),
                );
            }
        }
        if let Some(tree) = outputs.tree {
            all.push(("the list of files".to_owned(), tree.listing));
        }
        if let Some(explanation) = outputs.explanation {
            all.push(("the explanation of files".to_owned(), explanation));
        }
        for (path, source) in &inputs.sources {
            all.push((path.clone(), source.digest));
            if source.kind == SourceKind::Directory {
                let listing = fs::read(self.blob(&source.digest)).unwrap_or_default();
                for file in listed(&listing).flatten() {
                    let name = format!("{path}/{}", file.path.display());
                    all.extend(file.digest.map(|digest| (name, digest)));
                }
            }
        }
        all
    }

    /// Returns all blobs that an image and its rebuild need.
    pub(super) fn blobs_of(&self, manifest: &Manifest) -> Result<BTreeSet<Digest>, StoreError> {
        let mut blobs = self.image_blobs(&manifest.outputs.image.digest)?;
        // A base may be an image that is stored in chunks.
        blobs.extend(self.image_blobs(&manifest.inputs.base.digest)?);
        blobs.extend(
            self.materials(manifest)
                .into_iter()
                .map(|(_, digest)| digest),
        );
        blobs.extend(uploads(manifest));
        Ok(blobs)
    }

    /// Returns the blobs that pruning keeps forever: inventories, the lock file, the list and the explanation of files.
    pub(super) fn inventories(
        &self,
        id: ManifestId,
        manifest: &Manifest,
    ) -> Result<Vec<Digest>, StoreError> {
        let scans = self.scans_of(id)?;
        let mut blobs: Vec<_> = scans.iter().flat_map(ScanRecord::blobs).collect();
        blobs.extend(manifest.inputs.lock.map(|lock| lock.digest));
        blobs.extend(manifest.outputs.tree.map(|tree| tree.listing));
        blobs.extend(manifest.outputs.explanation);
        Ok(blobs)
    }
}

/// Returns the digests of files that the build put into the image.
pub(super) fn uploads(manifest: &Manifest) -> impl Iterator<Item = Digest> {
    let steps = manifest.inputs.steps.iter();
    let steps = steps.filter_map(|step| match &step.action {
        Action::File(file) => Some(file),
        _ => None,
    });
    let files = manifest.inputs.files.iter().chain(steps);
    files.map(|file| file.digest)
}
