//! What holds an image in the store: whatever nothing holds may be removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::{Store, StoreError};
use crate::record::channel::ChannelName;
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// So many images of each channel: where it points, and those before it.
    pub per_channel: usize,
    /// Images that were built within this time.
    pub within: Duration,
}

/// Why an image is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Holder {
    /// A channel points to it.
    Head(ChannelName),
    /// A channel pointed to it, and may go back.
    Before(ChannelName),
    /// Somebody has pinned it.
    Pin,
    /// It is young.
    Young,
    /// It is the last one of its name.
    Last,
    /// An image that is kept is built on it.
    Child(ManifestId),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(name) => write!(f, "{name}"),
            Self::Before(name) => write!(f, "before {name}"),
            Self::Pin => f.write_str("pinned"),
            Self::Young => f.write_str("young"),
            Self::Last => f.write_str("the last of its name"),
            Self::Child(id) => write!(f, "base of {}", id.short()),
        }
    }
}

/// Images that are kept, with what keeps each.
pub type Held = BTreeMap<ManifestId, BTreeSet<Holder>>;

impl Store {
    /// What holds which image. One that is revoked is held by what names it alone: channels that point to it, pins, images
    /// built on it.
    ///
    /// # Errors
    /// The store cannot be read. Nothing may be removed then.
    pub fn held(&self, keep: Keep, now: Timestamp) -> Result<Held, StoreError> {
        let mut held = Held::new();
        let mut keep_by = |id: ManifestId, holder| {
            held.entry(id).or_default().insert(holder);
        };
        for name in self.channels()? {
            let channel = self.channel(&name)?;
            let mut line = channel.line();
            line.dedup();
            if let Some(head) = line.pop() {
                keep_by(head, Holder::Head(name.clone()));
            }
            let mut left = keep.per_channel.saturating_sub(1);
            for id in line.into_iter().rev() {
                if left == 0 {
                    break;
                }
                if self.revoked(id)?.is_none() {
                    keep_by(id, Holder::Before(name.clone()));
                    left -= 1;
                }
            }
        }
        for id in self.pinned()? {
            keep_by(id, Holder::Pin);
        }
        let mut last: BTreeMap<String, (Option<Timestamp>, ManifestId)> = BTreeMap::new();
        for id in self.ids()? {
            if self.revoked(id)?.is_some() {
                continue;
            }
            let name = self.manifest(id)?.manifest.inputs.image.name;
            let built = self.records_of(id)?.pop().map(|record| record.finished);
            let age = built.map(|it| now.seconds().saturating_sub(it.seconds()));
            let within = i64::try_from(keep.within.as_secs()).unwrap_or(i64::MAX);
            if age.is_some_and(|age| age <= within) {
                keep_by(id, Holder::Young);
            }
            let entry = last.entry(name).or_insert((built, id));
            *entry = (*entry).max((built, id));
        }
        for (_, id) in last.into_values() {
            keep_by(id, Holder::Last);
        }
        let lineage = self.lineage()?;
        for id in held.keys().copied().collect::<Vec<_>>() {
            for parent in lineage.parents(id) {
                held.entry(parent.id).or_default().insert(Holder::Child(id));
            }
        }
        Ok(held)
    }
}
