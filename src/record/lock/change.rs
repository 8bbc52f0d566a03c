//! Differences between the packages of two lock files.

use std::collections::BTreeMap;
use std::fmt;

use super::{Lock, Package};

/// Change of a package from one lock file to the next.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Change {
    /// Name, with the architecture if the lock files have several.
    pub name: String,
    /// Old version; `None` if the package is new.
    pub old: Option<String>,
    /// New version; `None` if the package was removed.
    pub new: Option<String>,
}

type Versions<'a> = BTreeMap<(&'a str, &'a str), &'a Package>;

/// Returns the changed packages, sorted by name.
#[must_use]
pub fn diff(old: &Lock, new: &Lock) -> Vec<Change> {
    let (before, after) = (versions(old), versions(new));
    let mut keys: Vec<_> = before.keys().chain(after.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    let version = |all: &Versions<'_>, key| all.get(key).map(|package| package.version.clone());
    let digest = |all: &Versions<'_>, key| all.get(key).map(|package| package.sha256);
    let changes = keys.iter().filter_map(|key| {
        let (name, arch) = key;
        let several = keys.iter().filter(|other| other.0 == *name).count() > 1;
        (digest(&before, key) != digest(&after, key)).then(|| Change {
            name: if several {
                format!("{name}:{arch}")
            } else {
                (*name).to_owned()
            },
            old: version(&before, key),
            new: version(&after, key),
        })
    });
    changes.collect()
}

fn versions(lock: &Lock) -> Versions<'_> {
    lock.packages
        .iter()
        .map(|package| {
            (
                (package.name.as_str(), package.architecture.as_str()),
                package,
            )
        })
        .collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
        let (old, new) = (show(&self.old), show(&self.new));
        write!(f, "{} {old} -> {new}", self.name)?;
        if self.old == self.new {
            f.write_str(" (another file)")?;
        }
        Ok(())
    }
}
