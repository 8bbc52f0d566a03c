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
pub struct Keep {
    /// Number of images to keep for each channel: its current target, and those before it.
    pub per_channel: usize,
    /// Age up to which every image is kept.
    pub within: Duration,
}

/// Reason to keep an image.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Holder {
    /// A channel points at it.
    Head(ChannelName),
    /// A channel pointed at it, and may be rolled back to it.
    Before(ChannelName),
    Pin,
    /// It was built within [`Keep::within`].
    Young,
    /// It is the newest image of its name.
    Last,
    /// An image that is kept was built on it.
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

/// Images that are kept, with the reasons.
pub type Held = BTreeMap<ManifestId, BTreeSet<Holder>>;

fn hold(held: &mut Held, id: ManifestId, holder: Holder) {
    held.entry(id).or_default().insert(holder);
}

impl Store {
    /// Returns the images that are kept. A revoked image is kept only if something names it: a channel that points at it, a pin,
    /// or an image built on it. If this fails, nothing may be removed.
    pub(crate) fn held(&self, keep: Keep, now: Timestamp) -> Result<Held, StoreError> {
        let mut held = Held::new();
        self.hold_by_channels(keep.per_channel, &mut held)?;
        for id in self.pinned()? {
            hold(&mut held, id, Holder::Pin);
        }
        self.hold_by_age(keep.within, now, &mut held)?;
        let lineage = self.lineage()?;
        for id in held.keys().copied().collect::<Vec<_>>() {
            for parent in lineage.parents(id) {
                hold(&mut held, parent.id, Holder::Child(id));
            }
        }
        Ok(held)
    }

    fn hold_by_channels(&self, per_channel: usize, held: &mut Held) -> Result<(), StoreError> {
        for name in self.channels()? {
            let mut line = self.channel(&name)?.line();
            line.dedup();
            if let Some(head) = line.pop() {
                hold(held, head, Holder::Head(name.clone()));
            }
            let mut left = per_channel.saturating_sub(1);
            for id in line.into_iter().rev() {
                if left == 0 {
                    break;
                }
                if self.revoked(id)?.is_none() {
                    hold(held, id, Holder::Before(name.clone()));
                    left -= 1;
                }
            }
        }
        Ok(())
    }

    /// Holds images that are young, and the newest image of each name.
    fn hold_by_age(
        &self,
        within: Duration,
        now: Timestamp,
        held: &mut Held,
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
                hold(held, id, Holder::Young);
            }
            let entry = newest.entry(name).or_insert((built, id));
            *entry = (*entry).max((built, id));
        }
        for (_, id) in newest.into_values() {
            hold(held, id, Holder::Last);
        }
        Ok(())
    }
}
