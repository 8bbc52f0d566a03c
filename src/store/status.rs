//! How large a store is, what it saves, and what holds what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::retention::{Held, Holder};
use super::{Store, StoreError, entries};
use crate::digest::Digest;
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

/// A store in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Images whose bytes are here, the largest by its own bytes first.
    pub images: Vec<ImageStatus>,
    /// Images whose bytes were removed; their manifests are here.
    pub removed: usize,
    /// Bytes of all images, each counted whole.
    pub logical: u64,
    /// Bytes that the images take.
    pub stored: u64,
    /// Bytes of what rebuilds need: bases, packages, files.
    pub materials: u64,
    /// Bytes that no manifest is about.
    pub loose: u64,
    /// Files.
    pub blobs: usize,
}

/// An image in numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageStatus {
    /// The manifest.
    pub id: ManifestId,
    /// Its name.
    pub name: String,
    /// Bytes of the image.
    pub size: u64,
    /// Bytes that no other manifest needs: what its removal frees.
    pub own: u64,
    /// What holds it; nothing when pruning would mark it.
    pub holders: BTreeSet<Holder>,
    /// Since when it is marked for removal.
    pub condemned: Option<Timestamp>,
}

impl Store {
    /// Counts what is in the store.
    ///
    /// # Errors
    /// The store cannot be read, or something in it is damaged.
    pub fn status(&self, held: &Held) -> Result<Status, StoreError> {
        let mut status = Status::default();
        let mut sizes: BTreeMap<Digest, u64> = BTreeMap::new();
        for path in entries(&self.blobs())? {
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(digest) = name.and_then(|name| name.parse().ok()) {
                let length = fs::metadata(&path).map_err(StoreError::io("read", &path))?;
                sizes.insert(digest, length.len());
            }
        }
        status.blobs = sizes.len();
        let tombstones = self.tombstones()?;
        let mut users: BTreeMap<Digest, usize> = BTreeMap::new();
        let (mut in_images, mut named) = (BTreeSet::new(), BTreeSet::new());
        let mut counted = BTreeSet::new();
        let mut found = Vec::new();
        for id in self.ids()? {
            let manifest = self.manifest(id)?.manifest;
            let blobs = self.blobs_of(&manifest)?;
            for digest in &blobs {
                *users.entry(*digest).or_default() += 1;
            }
            named.extend(self.inventories(id, &manifest)?);
            let image = manifest.outputs.image;
            if self.has_image(&image.digest)? {
                if counted.insert(image.digest) {
                    status.logical += image.size;
                }
                in_images.extend(self.parts_of(&image.digest)?);
                found.push((id, manifest.inputs.image.name, image.size, blobs));
            } else {
                status.removed += 1;
                named.extend(blobs);
            }
        }
        let size = |digest: &Digest| sizes.get(digest).copied().unwrap_or(0);
        for (id, name, whole, blobs) in found {
            let own = blobs.iter().filter(|it| users.get(it) == Some(&1));
            status.images.push(ImageStatus {
                id,
                name,
                size: whole,
                own: own.map(size).sum(),
                holders: held.get(&id).cloned().unwrap_or_default(),
                condemned: tombstones.images.get(&id).map(|mark| mark.since),
            });
            named.extend(blobs);
        }
        status.images.sort_by(|one, other| {
            (other.own, &one.name, one.id).cmp(&(one.own, &other.name, other.id))
        });
        for (digest, length) in &sizes {
            if in_images.contains(digest) {
                status.stored += length;
            } else if named.contains(digest) {
                status.materials += length;
            } else {
                status.loose += length;
            }
        }
        Ok(status)
    }
}
