//! Retention: which images pruning keeps, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::{Store, StoreError};
use crate::record::channel::ChannelName;
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

/// Retention settings of a pruning run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Number of images to keep for each channel: its current target, and those before it.
    pub per_channel: usize,
    /// Age up to which every image is kept.
    pub within: Duration,
}

/// Reason to keep an image.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RetentionReason {
    /// A channel points at it.
    Head(ChannelName),
    /// A channel points at it, and cannot be rolled back.
    OnlyHead(ChannelName),
    /// A channel pointed at it, and may be rolled back to it.
    Before(ChannelName),
    Pin,
    /// It was built within [`Retention::within`].
    Young,
    /// It is the newest image of its name.
    Last,
    /// An image that is kept was built on it.
    Child(ManifestId),
}

impl RetentionReason {
    /// Explains how to let go of an image that is kept for this reason.
    fn release(&self, id: ManifestId) -> String {
        match self {
            Self::Head(name) => {
                format!("move it with `karat rollback {name}` or `karat promote ID {name}`")
            }
            Self::OnlyHead(name) => format!(
                "point it at another image with `karat promote ID {name}`; it has none to roll back to"
            ),
            Self::Before(_) => format!(
                "give up rolling back with `karat remove --keep 1 {}`",
                id.short()
            ),
            Self::Pin => format!("`karat unpin {}`", id.short()),
            Self::Child(child) => {
                format!("`karat remove {}` first, or both at once", child.short())
            }
            Self::Young | Self::Last => "only pruning keeps it".to_owned(),
        }
    }
}

impl fmt::Display for RetentionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(name) | Self::OnlyHead(name) => write!(f, "{name}"),
            Self::Before(name) => write!(f, "before {name}"),
            Self::Pin => f.write_str("pinned"),
            Self::Young => f.write_str("recent"),
            Self::Last => f.write_str("newest of its name"),
            Self::Child(id) => write!(f, "base of {}", id.short()),
        }
    }
}

/// Images that are kept, with the reasons.
pub type HeldImages = BTreeMap<ManifestId, BTreeSet<RetentionReason>>;

/// Describes held images, one reason per line with the way to release it.
pub(super) fn describe(held: &HeldImages) -> String {
    let lines = held.iter().flat_map(|(id, reasons)| {
        reasons.iter().map(|reason| {
            let what = match reason {
                RetentionReason::Head(name) | RetentionReason::OnlyHead(name) => {
                    format!("target of {name}")
                }
                RetentionReason::Before(name) => format!("{name} can roll back to it"),
                reason => reason.to_string(),
            };
            format!("\n  {}  {what}: {}", id.short(), reason.release(*id))
        })
    });
    lines.collect()
}

pub(super) fn hold(held: &mut HeldImages, id: ManifestId, holder: RetentionReason) {
    held.entry(id).or_default().insert(holder);
}

impl Store {
    /// Returns the images that are kept. A revoked image is kept only if something names it: a channel that points at it, a pin,
    /// or an image built on it. If this fails, nothing may be removed.
    pub(crate) fn held(&self, keep: Retention, now: Timestamp) -> Result<HeldImages, StoreError> {
        let mut held = HeldImages::new();
        self.hold_by_channels(keep.per_channel, &mut held)?;
        for id in self.pinned()? {
            hold(&mut held, id, RetentionReason::Pin);
        }
        self.hold_by_age(keep.within, now, &mut held)?;
        let lineage = self.lineage()?;
        for id in held.keys().copied().collect::<Vec<_>>() {
            for parent in lineage.parents(id) {
                hold(&mut held, parent.id, RetentionReason::Child(id));
            }
        }
        Ok(held)
    }

    pub(super) fn hold_by_channels(
        &self,
        per_channel: usize,
        held: &mut HeldImages,
    ) -> Result<(), StoreError> {
        for name in self.channels()? {
            let mut line = self.channel(&name)?.line();
            line.dedup();
            if let Some(head) = line.pop() {
                let reason = if self.can_roll_back(&line)? {
                    RetentionReason::Head
                } else {
                    RetentionReason::OnlyHead
                };
                hold(held, head, reason(name.clone()));
            }
            let mut left = per_channel.saturating_sub(1);
            for id in line.into_iter().rev() {
                if left == 0 {
                    break;
                }
                if self.revoked(id)?.is_none() {
                    hold(held, id, RetentionReason::Before(name.clone()));
                    left -= 1;
                }
            }
        }
        Ok(())
    }

    /// Returns true if the image that a channel had before its current one is in the store. `earlier` are its former images.
    fn can_roll_back(&self, earlier: &[ManifestId]) -> Result<bool, StoreError> {
        let Some(id) = self.last_allowed(earlier)? else {
            return Ok(false);
        };
        self.has_image(&self.manifest(id)?.manifest.outputs.image.digest)
    }

    /// Holds images that are young, and the newest image of each name.
    fn hold_by_age(
        &self,
        within: Duration,
        now: Timestamp,
        held: &mut HeldImages,
    ) -> Result<(), StoreError> {
        let within = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
        let mut newest: BTreeMap<String, (Option<Timestamp>, ManifestId)> = BTreeMap::new();
        for id in self.ids()? {
            if self.revoked(id)?.is_some() {
                continue;
            }
            let name = self.manifest(id)?.manifest.inputs.image.name;
            let built = self.records_of(id)?.pop().map(|record| record.finished);
            let age = built.map(|built| now.seconds().saturating_sub(built.seconds()));
            if age.is_some_and(|age| age <= within) {
                hold(held, id, RetentionReason::Young);
            }
            let entry = newest.entry(name).or_insert((built, id));
            *entry = (*entry).max((built, id));
        }
        for (_, id) in newest.into_values() {
            hold(held, id, RetentionReason::Last);
        }
        Ok(())
    }
}
