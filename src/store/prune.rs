//! Removing the bytes of images that nothing holds, in two steps: first they are marked, and only when they have been so for
//! some time they go. Manifests, signatures, inventories and the log stay for ever.
//!
//! Whoever prunes has the store alone; writers share it. So nothing is removed under a build or a promotion: what they have
//! put in or proved is held by the time that pruning goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::retention::{Held, Keep};
use super::{ScanRecord, Store, StoreError, Writing, checksummed, entries};
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::record::audit::{About, Event};
use crate::record::manifest::{Manifest, ManifestId};
use crate::time::Timestamp;

/// Name and version of the form of the marks.
const SCHEMA: &str = "karat.tombstones/1";

/// What is marked for removal, and what was removed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstones {
    schema: String,
    /// Images.
    pub images: BTreeMap<ManifestId, Tombstone>,
    /// Blobs that no manifest is about, with when that was seen.
    pub blobs: BTreeMap<Digest, Timestamp>,
}

/// The mark of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// When it was marked.
    pub since: Timestamp,
    /// When its bytes were removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Timestamp>,
}

/// What pruning does, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pruning {
    /// Images that are marked now.
    pub condemned: Vec<ManifestId>,
    /// Images whose mark is taken away.
    pub spared: Vec<ManifestId>,
    /// Images that are marked and whose time has not come.
    pub waiting: Vec<ManifestId>,
    /// Images whose bytes are removed.
    pub removed: Vec<ManifestId>,
    /// Blobs that are removed.
    pub blobs: Vec<Digest>,
    /// Bytes of these.
    pub bytes: u64,
    /// Images that are not in the store afterwards.
    forgotten: BTreeSet<Digest>,
    /// The marks afterwards.
    tombstones: Tombstones,
}

/// Everything in the store that can be removed, by who needs it.
struct Needs {
    /// Blobs of images, with everything that a rebuild needs.
    images: BTreeMap<ManifestId, BTreeSet<Digest>>,
    /// Blobs that stay for ever: inventories, locks, lists of files.
    always: BTreeSet<Digest>,
    /// Images that are in the store.
    present: BTreeMap<ManifestId, Digest>,
}

impl Store {
    /// The marks of what is to be removed.
    ///
    /// # Errors
    /// They cannot be read, or were changed.
    pub fn tombstones(&self) -> Result<Tombstones, StoreError> {
        Ok(checksummed::read(&self.tombstones_path())?.unwrap_or_default())
    }

    /// What pruning would do at this time. Changes nothing.
    ///
    /// # Errors
    /// The store cannot be read, or something in it is damaged: then it cannot be told what is needed.
    pub fn pruning(
        &self,
        held: &Held,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Pruning, StoreError> {
        let needs = self.needs()?;
        let before = self.tombstones()?;
        let mut plan = Pruning::default();
        SCHEMA.clone_into(&mut plan.tombstones.schema);
        let is_over = |since: Timestamp| {
            let age = now.seconds().saturating_sub(since.seconds());
            u64::try_from(age).is_ok_and(|age| age >= grace.as_secs())
        };
        let mut may_go = BTreeSet::new();
        for &id in needs.images.keys() {
            let mark = before.images.get(&id).copied();
            let mark = match mark {
                // Built again since.
                Some(Tombstone {
                    removed: Some(at), ..
                }) if self.built_since(id, at)? => None,
                mark => mark,
            };
            if held.contains_key(&id) {
                if mark.is_some() && needs.present.contains_key(&id) {
                    plan.spared.push(id);
                } else if let Some(mark) = mark {
                    plan.tombstones.images.insert(id, mark);
                }
                continue;
            }
            match mark {
                Some(mark) if mark.removed.is_some() => {
                    may_go.insert(id);
                    plan.tombstones.images.insert(id, mark);
                }
                Some(mark) if is_over(mark.since) => {
                    may_go.insert(id);
                    let removed = Some(now);
                    let mark = Tombstone { removed, ..mark };
                    plan.tombstones.images.insert(id, mark);
                    plan.removed.push(id);
                }
                Some(mark) => {
                    plan.tombstones.images.insert(id, mark);
                    plan.waiting.push(id);
                }
                None => {
                    let mark = Tombstone {
                        since: now,
                        removed: None,
                    };
                    plan.tombstones.images.insert(id, mark);
                    plan.condemned.push(id);
                }
            }
        }
        let staying = needs.images.iter().filter(|(id, _)| !may_go.contains(id));
        let mut live: BTreeSet<_> = staying.flat_map(|(_, blobs)| blobs).collect();
        live.extend(&needs.always);
        let images = |goes: bool| {
            let present = needs.present.iter();
            let of = present.filter(|(id, _)| may_go.contains(id) == goes);
            of.map(|(_, image)| *image).collect::<BTreeSet<_>>()
        };
        plan.forgotten = &images(true) - &images(false);
        let named: BTreeSet<_> = needs.images.values().flatten().collect();
        for path in entries(&self.blobs())? {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(digest) = name.and_then(|name| name.parse::<Digest>().ok()) else {
                continue;
            };
            if live.contains(&digest) {
                continue;
            }
            if !named.contains(&digest) {
                let since = before.blobs.get(&digest).copied().unwrap_or(now);
                if !is_over(since) {
                    plan.tombstones.blobs.insert(digest, since);
                    continue;
                }
            }
            plan.bytes += fs::metadata(&path)
                .map_err(StoreError::io("read", &path))?
                .len();
            plan.blobs.push(digest);
        }
        Ok(plan)
    }

    /// Marks images that nothing holds, and removes those that were marked long enough ago.
    ///
    /// # Errors
    /// The store cannot be read or written, or something in it is damaged: then it cannot be told what is needed.
    pub async fn prune(
        &self,
        keep: Keep,
        grace: Duration,
        waiting: impl FnOnce(),
    ) -> Result<Pruning, StoreError> {
        let alone = Writing::alone(self, waiting).await?;
        let now = Timestamp::now();
        let plan = self.pruning(&self.held(keep, now)?, grace, now)?;
        alone.prune(&plan)?;
        Ok(plan)
    }

    /// Blobs by the images that need them.
    fn needs(&self) -> Result<Needs, StoreError> {
        let mut needs = Needs {
            images: BTreeMap::new(),
            always: BTreeSet::new(),
            present: BTreeMap::new(),
        };
        for id in self.ids()? {
            let manifest = self.manifest(id)?.manifest;
            needs.always.extend(self.inventories(id, &manifest)?);
            let image = manifest.outputs.image.digest;
            if self.has_image(&image)? {
                needs.present.insert(id, image);
            }
            needs.images.insert(id, self.blobs_of(&manifest)?);
        }
        Ok(needs)
    }

    /// Blobs that stay for ever: what scans found, the lock, the list of files.
    pub(super) fn inventories(
        &self,
        id: ManifestId,
        manifest: &Manifest,
    ) -> Result<Vec<Digest>, StoreError> {
        let mut blobs: Vec<_> = self
            .scans_of(id)?
            .iter()
            .flat_map(ScanRecord::blobs)
            .collect();
        blobs.extend(manifest.inputs.lock.map(|it| it.digest));
        blobs.extend(manifest.outputs.tree.map(|it| it.listing));
        Ok(blobs)
    }

    /// All blobs that an image and its rebuild need.
    pub(super) fn blobs_of(&self, manifest: &Manifest) -> Result<BTreeSet<Digest>, StoreError> {
        let mut blobs = self.parts_of(&manifest.outputs.image.digest)?;
        // A base may be an image that is here in parts.
        blobs.extend(self.parts_of(&manifest.inputs.base.digest)?);
        blobs.extend(
            self.materials(manifest)
                .into_iter()
                .map(|(_, digest)| digest),
        );
        blobs.extend(super::fsck::put_in(manifest));
        Ok(blobs)
    }

    /// The blobs that an image is put together from; none when it is not here.
    pub(super) fn parts_of(&self, image: &Digest) -> Result<BTreeSet<Digest>, StoreError> {
        match self.chunks_of(image) {
            Ok(chunks) => Ok(chunks.into_iter().collect()),
            Err(StoreError::NoImage(_)) => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether there is anything of an image, whole or not.
    pub(super) fn has_image(&self, image: &Digest) -> Result<bool, StoreError> {
        Ok(self.blob(image).exists() || !entries(&self.recipes_of(image))?.is_empty())
    }

    /// Removes what says how an image is put together.
    fn forget_image(&self, image: &Digest) -> Result<(), StoreError> {
        let directory = self.recipes_of(image);
        for path in entries(&directory)? {
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
        match fs::remove_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(StoreError::io("remove", &directory)),
        }
    }

    fn built_since(&self, id: ManifestId, at: Timestamp) -> Result<bool, StoreError> {
        let records = self.records_of(id)?;
        Ok(records.iter().any(|record| record.finished >= at))
    }

    fn tombstones_path(&self) -> PathBuf {
        self.root().join("tombstones.json")
    }
}

impl Writing {
    /// Does what [`Store::pruning`] says. Only for who has the store alone, and made the plan while it had.
    ///
    /// # Errors
    /// The store cannot be written. What was removed by then is marked as such.
    pub(super) fn prune(&self, plan: &Pruning) -> Result<(), StoreError> {
        for (event, ids) in [
            (Event::Condemn, &plan.condemned),
            (Event::Spare, &plan.spared),
            (Event::Remove, &plan.removed),
        ] {
            if !ids.is_empty() {
                let about = About {
                    ids: ids.clone(),
                    ..About::default()
                };
                self.log(event, about)?;
            }
        }
        if self.store().tombstones()? != plan.tombstones {
            checksummed::write(&self.store().tombstones_path(), &plan.tombstones)?;
        }
        for image in &plan.forgotten {
            self.store().forget_image(image)?;
        }
        for digest in &plan.blobs {
            let path = self.store().blob(digest);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(StoreError::io("remove", &path))?,
            }
        }
        let blobs = self.store().blobs();
        atomic_file::sync_directory(&blobs).map_err(StoreError::io("write", &blobs))
    }
}
