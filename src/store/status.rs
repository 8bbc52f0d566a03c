//! Disk usage of a store, by image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::retention::{Held, Holder};
use super::{Store, StoreError};
use crate::digest::Digest;
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

/// Disk usage of a store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Images whose bytes are in the store, the largest by its own bytes first.
    pub images: Vec<ImageStatus>,
    /// Number of manifests whose image was removed.
    pub removed: usize,
    /// Total size of all images, without deduplication.
    pub logical: u64,
    /// Bytes that the images take.
    pub stored: u64,
    /// Bytes that only rebuilds need: bases, packages, files.
    pub materials: u64,
    /// Bytes that no manifest refers to.
    pub loose: u64,
    pub blobs: usize,
}

/// Disk usage of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageStatus {
    pub id: ManifestId,
    pub name: String,
    /// Size of the image in bytes.
    pub size: u64,
    /// Bytes that no other manifest needs: the space that its removal frees.
    pub own: u64,
    /// Reasons to keep it. Empty if pruning would mark it.
    pub holders: BTreeSet<Holder>,
    /// Time at which it was marked for removal.
    pub condemned: Option<Timestamp>,
}

impl Store {
    /// Measures the disk usage. Fails if the store is damaged.
    pub(crate) fn status(&self, held: &Held) -> Result<Status, StoreError> {
        let mut status = Status::default();
        let sizes = self.blob_sizes()?;
        status.blobs = sizes.len();
        let tombstones = self.tombstones()?;
        let mut users: BTreeMap<Digest, usize> = BTreeMap::new();
        let (mut in_images, mut named) = (BTreeSet::new(), BTreeSet::new());
        let mut counted = BTreeSet::new();
        let mut present = Vec::new();
        for id in self.ids()? {
            let manifest = self.manifest(id)?.manifest;
            let blobs = self.blobs_of(&manifest)?;
            for digest in &blobs {
                *users.entry(*digest).or_default() += 1;
            }
            named.extend(self.inventories(id, &manifest)?);
            named.extend(&blobs);
            let image = manifest.outputs.image;
            if self.has_image(&image.digest)? {
                if counted.insert(image.digest) {
                    status.logical += image.size;
                }
                in_images.extend(self.image_blobs(&image.digest)?);
                present.push((id, manifest.inputs.image.name, image.size, blobs));
            } else {
                status.removed += 1;
            }
        }
        let size_of = |digest: &Digest| sizes.get(digest).copied().unwrap_or(0);
        for (id, name, size, blobs) in present {
            let own = blobs.iter().filter(|digest| users.get(digest) == Some(&1));
            status.images.push(ImageStatus {
                id,
                name,
                size,
                own: own.map(size_of).sum(),
                holders: held.get(&id).cloned().unwrap_or_default(),
                condemned: tombstones.images.get(&id).map(|mark| mark.since),
            });
        }
        status.images.sort_by(|one, other| {
            (other.own, &one.name, one.id).cmp(&(one.own, &other.name, other.id))
        });
        for (digest, size) in &sizes {
            if in_images.contains(digest) {
                status.stored += size;
            } else if named.contains(digest) {
                status.materials += size;
            } else {
                status.loose += size;
            }
        }
        Ok(status)
    }

    fn blob_sizes(&self) -> Result<BTreeMap<Digest, u64>, StoreError> {
        let mut sizes = BTreeMap::new();
        for (digest, path) in self.blob_paths()? {
            let metadata = fs::metadata(&path).map_err(StoreError::io("read", &path))?;
            sizes.insert(digest, metadata.len());
        }
        Ok(sizes)
    }
}
