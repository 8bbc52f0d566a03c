//! Packages that differ between two images.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::change::{Change, by_key};
use crate::record::manifest::{Manifest, Origin, Package};
use crate::scan::inventory::Manager;
use crate::scan::vulnerability;

/// A package that differs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PackageChange {
    pub name: String,
    /// Architecture in the second image, else in the first.
    pub arch: String,
    pub change: PackageKind,
    /// Version in the first image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Version in the second image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Origin in the second image, else in the first.
    pub origin: Origin,
    /// Other changes. The digest of the package file is compared only for equal versions with known digests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// CVEs that the changelog names between the two versions: fixed by an upgrade, reintroduced by a downgrade. Absent
    /// if unknown, as in an image without changelogs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changelog: Option<BTreeSet<String>>,
    /// Findings about the package in the first scan only.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub fixed: BTreeSet<String>,
    /// Findings about the package in the second scan only.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub introduced: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageKind {
    Upgraded,
    Downgraded,
    /// Same version with other properties, or versions without an order.
    Changed,
    Added,
    Removed,
}

impl PackageKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Upgraded => "upgraded",
            Self::Downgraded => "downgraded",
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Removed => "removed",
        }
    }
}

/// Returns the packages that differ, sorted by name.
pub(super) fn packages(first: &Manifest, second: &Manifest) -> Vec<PackageChange> {
    let mut names: BTreeMap<&str, [Vec<&Package>; 2]> = BTreeMap::new();
    for (side, manifest) in [first, second].into_iter().enumerate() {
        for package in &manifest.outputs.packages {
            names.entry(&package.name).or_default()[side].push(package);
        }
    }
    let manager = manager(second);
    let mut found = Vec::new();
    for [mut from, mut to] in names.into_values() {
        // Several versions and architectures of a name may be installed.
        take_pairs(&mut from, &mut to, |one, other| one == other);
        let same_arch = take_pairs(&mut from, &mut to, |one, other| one.arch == other.arch);
        let any = take_pairs(&mut from, &mut to, |_, _| true);
        let both = same_arch.into_iter().chain(any);
        let both = both.map(|(one, other)| compare(manager, one, other));
        found.extend(both.filter(|change| change.from != change.to || !change.changes.is_empty()));
        let removed = from.into_iter();
        found.extend(removed.map(|one| change(PackageKind::Removed, Some(one), None)));
        let added = to.into_iter();
        found.extend(added.map(|one| change(PackageKind::Added, None, Some(one))));
    }
    found
}

/// Removes the pairs of packages that match from both lists.
fn take_pairs<'a>(
    from: &mut Vec<&'a Package>,
    to: &mut Vec<&'a Package>,
    belong: impl Fn(&Package, &Package) -> bool,
) -> Vec<(&'a Package, &'a Package)> {
    let mut pairs = Vec::new();
    from.retain(|one| {
        let at = to.iter().position(|other| belong(one, other));
        pairs.extend(at.map(|at| (*one, to.remove(at))));
        at.is_none()
    });
    pairs
}

fn compare(manager: Manager, one: &Package, other: &Package) -> PackageChange {
    let kind = match vulnerability::compare(manager, &one.version, &other.version) {
        Some(Ordering::Less) => PackageKind::Upgraded,
        Some(Ordering::Greater) => PackageKind::Downgraded,
        Some(Ordering::Equal) | None => PackageKind::Changed,
    };
    let mut left_out = vec!["name", "version"];
    // Another version is another file anyway; and a digest that is not known cannot have changed.
    let same = one.version == other.version && one.sha256.is_some() && other.sha256.is_some();
    if !same {
        left_out.push("sha256");
    }
    let changes = by_key(one, other, &left_out);
    let changes = changes.into_iter().flat_map(|(key, changes)| {
        changes.into_iter().map(move |change| Change {
            what: vec![key.clone()],
            ..change
        })
    });
    PackageChange {
        changes: changes.collect(),
        ..change(kind, Some(one), Some(other))
    }
}

fn change(kind: PackageKind, one: Option<&Package>, other: Option<&Package>) -> PackageChange {
    let package = other.or(one);
    PackageChange {
        name: package.map(|known| known.name.clone()).unwrap_or_default(),
        arch: package.map(|known| known.arch.clone()).unwrap_or_default(),
        change: kind,
        from: one.map(|package| package.version.clone()),
        to: other.map(|package| package.version.clone()),
        origin: package.map_or(Origin::Base, |known| known.origin),
        changes: Vec::new(),
        changelog: None,
        fixed: BTreeSet::new(),
        introduced: BTreeSet::new(),
    }
}

/// Returns the package manager of an image. RPM names architectures as the kernel does; dpkg has names of its own for
/// most.
fn manager(manifest: &Manifest) -> Manager {
    let arch = &manifest.outputs.arch;
    let is_rpm = |package: &Package| package.arch == "noarch" || package.arch == *arch;
    if manifest.outputs.packages.iter().any(is_rpm) {
        Manager::Rpm
    } else {
        Manager::Dpkg
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::record::manifest::tests::example;

    fn image(packages: &str) -> Manifest {
        let mut made = example("web", "x", b"image");
        let package = |word: &str| {
            let parts: Vec<_> = word.split(' ').collect();
            Package {
                name: parts[0].to_owned(),
                version: parts[1].to_owned(),
                arch: parts[2].to_owned(),
                origin: Origin::Base,
                sha256: parts.get(3).map(|text| Digest::of(text.as_bytes())),
            }
        };
        let words = packages.split(", ").filter(|word| !word.is_empty());
        made.outputs.packages = words.map(package).collect();
        made
    }

    #[test]
    fn packages_go_up_and_down_by_the_rules_of_their_manager() {
        for (first, second, expected) in [
            ("a 1 all", "a 1 all", ""),
            ("a 1.9 amd64", "a 1.10 amd64", "a upgraded 1.9 1.10"),
            ("a 1.0 amd64", "a 1.0~rc1 amd64", "a downgraded 1.0 1.0~rc1"),
            ("a 2 amd64", "a 1:1 amd64", "a upgraded 2 1:1"),
            (
                "a 1-1.el9 noarch",
                "a 1^1-1.el9 noarch",
                "a upgraded 1-1.el9 1^1-1.el9",
            ),
            ("", "a 1 all", "a added - 1"),
            ("a 1 all", "", "a removed 1 -"),
            ("a 1 all x", "a 1 all y", "a changed 1 1 sha256"),
            ("a 1 all", "a 1 all y", ""),
            ("a 1 all x", "a 2 all y", "a upgraded 1 2"),
            ("a 1 all", "a 2 amd64", "a upgraded 1 2 arch"),
            (
                "a 1 amd64, a 1 i386",
                "a 2 amd64, a 1 i386",
                "a upgraded 1 2",
            ),
            (
                "k 1 x86_64, k 2 x86_64",
                "k 2 x86_64, k 3 x86_64, k 4 x86_64",
                "k upgraded 1 3, k added - 4",
            ),
            ("b 1 all, a 1 all", "", "a removed 1 -, b removed 1 -"),
        ] {
            let found = packages(&image(first), &image(second)).into_iter();
            let told = found.map(|package| {
                let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let (from, to) = (or_none(package.from), or_none(package.to));
                let mut told = format!("{} {} {from} {to}", package.name, package.change.name());
                let changes = package.changes.iter();
                told.extend(changes.map(|change| format!(" {}", change.what.join("."))));
                told
            });
            let told: Vec<_> = told.collect();
            assert_eq!(told.join(", "), expected, "{first} -> {second}");
        }
    }
}
