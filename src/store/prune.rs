//! Garbage collection in two steps: images that nothing holds are marked, and their bytes are removed when the mark has a
//! certain age. Manifests, signatures, inventories and the log are kept forever.
//!
//! Pruning has exclusive access, and writers share it. So nothing is removed during a build or a promotion: what they have
//! added or verified is held by the time pruning starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::retention::{HeldImages, Retention};
use super::{Store, StoreError, Transaction, checksummed};
use crate::digest::Digest;
use crate::os::{atomic_file, if_exists};
use crate::record::audit::{AuditEvent, ChangeDetails};
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

const SCHEMA: &str = "karat.tombstones/1";

/// Images and blobs that are marked for removal, and images that were removed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstones {
    schema: String,
    pub images: BTreeMap<ManifestId, Tombstone>,
    /// Blobs that no manifest refers to, with the time at which that was noticed.
    pub blobs: BTreeMap<Digest, Timestamp>,
}

/// Mark of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// Time at which the image was marked.
    pub since: Timestamp,
    /// Time at which its bytes were removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Timestamp>,
}

/// Plan of a pruning run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pruning {
    /// Images that are marked now.
    pub condemned: Vec<ManifestId>,
    /// Images whose mark is taken away.
    pub spared: Vec<ManifestId>,
    /// Images that stay marked because their grace period is not over.
    pub waiting: Vec<ManifestId>,
    /// Images whose bytes are removed.
    pub removed: Vec<ManifestId>,
    /// Blobs that are removed.
    pub blobs: Vec<Digest>,
    /// Total size of these blobs.
    pub bytes: u64,
    /// Images whose chunk indexes are removed.
    pub(super) forgotten: BTreeSet<Digest>,
    /// All marks after the run.
    pub(super) tombstones: Tombstones,
}

impl Pruning {
    /// Returns a plan that does nothing and keeps the marks of images.
    pub(super) fn marked_as(tombstones: &Tombstones) -> Self {
        Self {
            tombstones: Tombstones {
                schema: SCHEMA.to_owned(),
                images: tombstones.images.clone(),
                blobs: BTreeMap::new(),
            },
            ..Self::default()
        }
    }
}

/// Blobs in the store by the manifests that need them.
#[derive(Default)]
pub(super) struct Needs {
    /// Blobs of each image and its rebuild.
    images: BTreeMap<ManifestId, BTreeSet<Digest>>,
    /// Blobs that are kept forever: inventories, lock files, lists of files.
    always: BTreeSet<Digest>,
    /// Images that are in the store.
    pub(super) present: BTreeMap<ManifestId, Digest>,
}

impl Needs {
    /// Returns the images whose chunk indexes go with the bytes of `removable`.
    pub(super) fn forgotten(&self, removable: &BTreeSet<ManifestId>) -> BTreeSet<Digest> {
        let images = |is_removed: bool| {
            let present = self.present.iter();
            let chosen = present.filter(|(id, _)| removable.contains(id) == is_removed);
            chosen.map(|(_, image)| *image).collect::<BTreeSet<_>>()
        };
        &images(true) - &images(false)
    }
}

/// Transition of an image in a pruning run.
enum Transition {
    /// The image is held and not marked.
    Keep,
    /// The image is held and loses its mark.
    Spare,
    /// The image is held, but its bytes were removed before: its mark stays.
    KeepMark,
    /// The image is not held, and is marked now.
    Condemn,
    /// The image is marked, and its grace period is not over.
    Wait,
    /// The grace period is over: the bytes are removed.
    Remove,
    /// The bytes were removed by an earlier run.
    Removed,
}

impl Transition {
    fn new(mark: Option<Tombstone>, is_held: bool, is_present: bool, is_over: bool) -> Self {
        match (mark, is_held) {
            (None, true) => Self::Keep,
            (Some(_), true) if is_present => Self::Spare,
            (Some(_), true) => Self::KeepMark,
            (None, false) => Self::Condemn,
            (Some(mark), false) if mark.removed.is_some() => Self::Removed,
            (Some(_), false) if is_over => Self::Remove,
            (Some(_), false) => Self::Wait,
        }
    }
}

impl Store {
    /// Reads the marks of images and blobs.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn tombstones(&self) -> Result<Tombstones, StoreError> {
        Ok(checksummed::read(&self.tombstones_path())?.unwrap_or_default())
    }

    /// Plans a pruning run. Fails if the store is damaged, because it is then unknown which blobs are needed.
    pub(crate) fn pruning(
        &self,
        held: &HeldImages,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Pruning, StoreError> {
        let is_over = |since: Timestamp| {
            let age = now.seconds().saturating_sub(since.seconds());
            u64::try_from(age).is_ok_and(|age| age >= grace.as_secs())
        };
        let needs = self.needs()?;
        let before = self.tombstones()?;
        let mut plan = Pruning::default();
        SCHEMA.clone_into(&mut plan.tombstones.schema);
        let mut removable = BTreeSet::new();
        for &id in needs.images.keys() {
            let mark = self.current_mark(id, &before)?;
            let is_held = held.contains_key(&id);
            let is_present = needs.present.contains_key(&id);
            let is_over = mark.is_some_and(|mark| is_over(mark.since));
            let transition = Transition::new(mark, is_held, is_present, is_over);
            match transition {
                Transition::Spare => plan.spared.push(id),
                Transition::Condemn => plan.condemned.push(id),
                Transition::Wait => plan.waiting.push(id),
                Transition::Remove => plan.removed.push(id),
                Transition::Keep | Transition::KeepMark | Transition::Removed => {}
            }
            if matches!(transition, Transition::Remove | Transition::Removed) {
                removable.insert(id);
            }
            let mark = match transition {
                Transition::Keep | Transition::Spare => None,
                Transition::Condemn => Some(Tombstone {
                    since: now,
                    removed: None,
                }),
                Transition::Remove => mark.map(|mark| Tombstone {
                    removed: Some(now),
                    ..mark
                }),
                Transition::KeepMark | Transition::Wait | Transition::Removed => mark,
            };
            plan.tombstones.images.extend(mark.map(|mark| (id, mark)));
        }
        plan.forgotten = needs.forgotten(&removable);
        self.plan_blobs(&needs, &removable, &before, now, is_over, &mut plan)?;
        Ok(plan)
    }

    /// Returns the mark of an image; `None` if the image was built again after it was removed.
    pub(super) fn current_mark(
        &self,
        id: ManifestId,
        before: &Tombstones,
    ) -> Result<Option<Tombstone>, StoreError> {
        let mark = before.images.get(&id).copied();
        if let Some(removed) = mark.and_then(|mark| mark.removed) {
            let records = self.records_of(id)?;
            if records.iter().any(|record| record.finished >= removed) {
                return Ok(None);
            }
        }
        Ok(mark)
    }

    /// Plans the removal of blobs that only `removable` images need, and of blobs that have had no manifest for long enough.
    pub(super) fn plan_blobs(
        &self,
        needs: &Needs,
        removable: &BTreeSet<ManifestId>,
        before: &Tombstones,
        now: Timestamp,
        is_over: impl Fn(Timestamp) -> bool,
        plan: &mut Pruning,
    ) -> Result<(), StoreError> {
        let staying = needs
            .images
            .iter()
            .filter(|(id, _)| !removable.contains(id));
        let mut live: BTreeSet<_> = staying.flat_map(|(_, blobs)| blobs).collect();
        live.extend(&needs.always);
        let named: BTreeSet<_> = needs.images.values().flatten().collect();
        for (digest, path) in self.blob_paths()? {
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
        Ok(())
    }

    /// Marks images that nothing holds, and removes those whose grace period is over. Calls `waiting` if it waits for writers. A
    /// store that does not exist is empty, and is not created.
    pub(crate) async fn prune(
        &self,
        keep: Retention,
        grace: Duration,
        waiting: impl FnOnce(),
    ) -> Result<Pruning, StoreError> {
        if !self.root.exists() {
            return Ok(Pruning::default());
        }
        let transaction = self.begin_exclusive(waiting).await?;
        let now = Timestamp::now();
        let plan = self.pruning(&self.held(keep, now)?, grace, now)?;
        transaction.apply_pruning(&plan)?;
        Ok(plan)
    }

    pub(super) fn needs(&self) -> Result<Needs, StoreError> {
        let mut needs = Needs::default();
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
}

impl Transaction {
    /// Carries out a plan that was made under this exclusive access. If this fails, what was removed so far is marked so.
    pub(super) fn apply_pruning(&self, plan: &Pruning) -> Result<(), StoreError> {
        for (event, ids) in [
            (AuditEvent::Condemn, &plan.condemned),
            (AuditEvent::Spare, &plan.spared),
            (AuditEvent::Remove, &plan.removed),
        ] {
            if !ids.is_empty() {
                let about = ChangeDetails {
                    ids: ids.clone(),
                    ..ChangeDetails::default()
                };
                self.log(event, about)?;
            }
        }
        if self.store().tombstones()? != plan.tombstones {
            checksummed::write(&self.store().tombstones_path(), &plan.tombstones)?;
        }
        for image in &plan.forgotten {
            self.store().remove_chunk_indexes(image)?;
        }
        for digest in &plan.blobs {
            let path = self.store().blob(digest);
            if_exists(fs::remove_file(&path)).map_err(StoreError::io("remove", &path))?;
        }
        let blobs = self.store().blobs();
        atomic_file::sync_directory(&blobs).map_err(StoreError::io("write", &blobs))
    }
}
