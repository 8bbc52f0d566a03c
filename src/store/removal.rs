//! Removal of images that the user names, at once. The records of an image stay, as after pruning.

use std::collections::BTreeSet;

use super::prune::{Pruning, Tombstone};
use super::retention::{HeldImages, RetentionReason, hold};
use super::{Store, StoreError};
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

impl Store {
    /// Removes the bytes of images, or of none if something holds one of them: a channel that points at it or can roll back to
    /// it, a pin, or an image in the store that was built on it. Age does not matter. Calls `waiting` if it waits for writers.
    ///
    /// # Errors
    /// An image is held, or the store is damaged or cannot be written.
    pub(crate) async fn remove(
        &self,
        ids: &BTreeSet<ManifestId>,
        per_channel: usize,
        waiting: impl FnOnce(),
    ) -> Result<Pruning, StoreError> {
        let transaction = self.begin_exclusive(waiting).await?;
        let plan = self.removal(ids, per_channel)?;
        transaction.apply_pruning(&plan)?;
        Ok(plan)
    }

    /// Returns those of the images that something holds.
    fn held_against_removal(
        &self,
        ids: &BTreeSet<ManifestId>,
        per_channel: usize,
    ) -> Result<HeldImages, StoreError> {
        let mut held = HeldImages::new();
        self.hold_by_channels(per_channel, &mut held)?;
        for id in self.pinned()? {
            hold(&mut held, id, RetentionReason::Pin);
        }
        held.retain(|id, _| ids.contains(id));
        let lineage = self.lineage()?;
        for &id in ids {
            for child in lineage.children(id) {
                let image = self.manifest(child.id)?.manifest.outputs.image.digest;
                if !ids.contains(&child.id) && self.has_image(&image)? {
                    hold(&mut held, id, RetentionReason::Child(child.id));
                }
            }
        }
        Ok(held)
    }

    /// Plans what [`Self::remove`] does. Marks of other images stay as they are.
    pub(crate) fn removal(
        &self,
        ids: &BTreeSet<ManifestId>,
        per_channel: usize,
    ) -> Result<Pruning, StoreError> {
        let held = self.held_against_removal(ids, per_channel)?;
        if !held.is_empty() {
            return Err(StoreError::Held(held));
        }
        let now = Timestamp::now();
        let needs = self.needs()?;
        let before = self.tombstones()?;
        let mut plan = Pruning::marked_as(&before);
        let present = ids.iter().filter(|id| needs.present.contains_key(id));
        plan.removed = present.copied().collect();
        let mut removable: BTreeSet<ManifestId> = plan.removed.iter().copied().collect();
        for &id in before.images.keys() {
            let mark = self.current_mark(id, &before)?;
            if mark.is_some_and(|mark| mark.removed.is_some()) {
                removable.insert(id);
            }
        }
        for &id in &plan.removed {
            let since = self
                .current_mark(id, &before)?
                .map_or(now, |mark| mark.since);
            let removed = Some(now);
            plan.tombstones
                .images
                .insert(id, Tombstone { since, removed });
        }
        plan.forgotten = needs.forgotten(&removable);
        self.plan_blobs(&needs, &removable, &before, now, |_| false, &mut plan)?;
        Ok(plan)
    }
}
