//! Package files that are known from outside the image: from its base, and from the packages of its lock file.
//!
//! A step that runs as root can change the package database of the image together with a file. Only packages that are
//! undeclared anyway are read from there.

use std::collections::{BTreeMap, HashSet};

use super::database::{Claim, Database, Expected, Package, PathResolver, SETUID_SETGID};
use super::dpkg::diversions;
use super::{Checksum, Root, ScanError};
use crate::disk::read::FileType;
use crate::disk::tree::{Content, File};
use crate::distro::debian::deb::{EntryKind, PackageContent};

/// A package of the lock file, and its content.
#[derive(Clone, Debug)]
pub struct LockedPackage {
    pub name: String,
    pub version: String,
    pub architecture: String,
    pub content: PackageContent,
}

/// Origin of an image: its base, and the packages of its lock file.
#[derive(Clone, Copy)]
pub struct Trusted<'a> {
    pub base: &'a Root<'a>,
    pub packages: &'a [LockedPackage],
}

/// Source of what is known about the files of an installed package. Of several architectures the last of these counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Locked,
    Base,
    Image,
}

impl Database {
    /// Collects what the packages of an image have, as its origin tells.
    ///
    /// # Errors
    /// A package database cannot be read.
    pub fn trusted(root: &Root<'_>, trusted: Trusted<'_>) -> Result<Self, ScanError> {
        let image = Self::read(root)?;
        let base = Self::read(trusted.base)?;
        let sources = sources(&image.packages, &base.packages, trusted.packages);
        let mut places = PathResolver::new(root);
        for diversion in &trusted_diversions(root, trusted.base, &sources)? {
            places.divert(diversion);
        }
        let mut database = Self::default();
        database.packages.clone_from(&image.packages);
        database.records.clone_from(&image.records);
        database.text = image.text + base.text;
        database.add_base(root, trusted.base, &base, &sources, &mut places);
        for package in trusted.packages {
            let is_known = sources.get(package.name.as_str()) != Some(&Source::Image);
            if is_known && image.packages.iter().any(|other| package.is(other)) {
                database.add_locked(root, trusted.base, package, &mut places);
            }
        }
        database.add_image(&image, &sources);
        Ok(database)
    }

    /// Adds the packages whose version is that of the base. Of the others it adds former configuration, which dpkg keeps.
    fn add_base(
        &mut self,
        root: &Root<'_>,
        base: &Root<'_>,
        of_base: &Self,
        sources: &BTreeMap<&str, Source>,
        places: &mut PathResolver<'_>,
    ) {
        for claim in &of_base.claims {
            let name = of_base.names[claim.package].as_str();
            let obsolete = match sources.get(name) {
                Some(Source::Base) => claim.obsolete,
                Some(Source::Locked) if claim.conffile => true,
                _ => continue,
            };
            let package = self.number(name);
            self.claims.push(Claim {
                path: places.diverted(&claim.path, name),
                expected: claim.expected.clone(),
                package,
                conffile: claim.conffile,
                obsolete,
            });
        }
        for (path, &package) in &of_base.owners {
            let name = of_base.names[package].as_str();
            if !matches!(sources.get(name), Some(Source::Base)) {
                continue;
            }
            let expected = match base.get(path) {
                Some(File {
                    content: Content::Link(target),
                    ..
                }) => Some(Expected::Link(target.clone())),
                Some(file) if file.kind == FileType::Directory => Some(Expected::Directory),
                _ => None,
            };
            let package = self.number(name);
            let path = self.set_owner(places.diverted(path, name), package);
            if let Some(expected) = expected {
                self.claim_kind(root, base, path, expected, package);
            }
        }
    }

    /// Adds a package of the lock file.
    fn add_locked(
        &mut self,
        root: &Root<'_>,
        base: &Root<'_>,
        locked: &LockedPackage,
        places: &mut PathResolver<'_>,
    ) {
        let LockedPackage { name, content, .. } = locked;
        let package = self.number(name);
        let conffiles: HashSet<&[u8]> = content.conffiles.iter().map(Vec::as_slice).collect();
        for entry in content.entries.iter().filter(|entry| entry.path != b"/") {
            let path = self.set_owner(places.diverted(&entry.path, name), package);
            if entry.mode & SETUID_SETGID != 0 {
                let rights = self.rights.entry(path.clone()).or_default();
                rights.push((entry.mode, entry.owner));
            }
            match &entry.kind {
                EntryKind::File(sum) => self.claims.push(Claim {
                    path,
                    expected: Expected::File(Checksum::Md5(*sum)),
                    package,
                    conffile: conffiles.contains(entry.path.as_slice()),
                    obsolete: false,
                }),
                EntryKind::Link(target) => {
                    self.claim_kind(root, base, path, Expected::Link(target.clone()), package);
                }
                EntryKind::Directory => {
                    self.claim_kind(root, base, path, Expected::Directory, package);
                }
                EntryKind::Special => {}
            }
        }
        self.text += content.scripts.len();
        self.scripts
            .entry(name.clone())
            .or_default()
            .push_str(&content.scripts);
    }

    /// Adds the packages that are not declared in the version that is installed.
    fn add_image(&mut self, image: &Self, sources: &BTreeMap<&str, Source>) {
        let is_of_image =
            |package: usize| matches!(sources.get(&*image.names[package]), Some(Source::Image));
        for claim in image
            .claims
            .iter()
            .filter(|claim| is_of_image(claim.package))
        {
            let package = self.number(&image.names[claim.package]);
            self.claims.push(Claim {
                path: claim.path.clone(),
                expected: claim.expected.clone(),
                package,
                ..*claim
            });
        }
        for (path, &owner) in &image.owners {
            if is_of_image(owner) && !self.owners.contains_key(path) {
                let package = self.number(&image.names[owner]);
                self.set_owner(path.clone(), package);
            }
        }
    }

    /// Claims a link or a directory. One that is in the image as it is in the base needs no claim: a link of the base may stand
    /// for a directory of a package, as `/lib` does.
    fn claim_kind(
        &mut self,
        root: &Root<'_>,
        base: &Root<'_>,
        path: Box<[u8]>,
        expected: Expected,
        package: usize,
    ) {
        let kind = |root: &Root<'_>| {
            let file = root.get(&path)?;
            let target = match &file.content {
                Content::Link(target) => Some(target.clone()),
                _ => None,
            };
            Some((file.kind, target))
        };
        match kind(root) {
            None => return,
            // A directory that is there would be claimed by each of its packages.
            Some((FileType::Directory, _)) if expected == Expected::Directory => return,
            Some((FileType::File, _)) => {}
            found if found == kind(base) => return,
            Some(_) => {}
        }
        self.claims.push(Claim {
            path,
            expected,
            package,
            conffile: false,
            obsolete: false,
        });
    }
}

impl LockedPackage {
    fn is(&self, package: &Package) -> bool {
        (&self.name, &self.version, &self.architecture)
            == (&package.name, &package.version, &package.architecture)
    }
}

/// Returns where each installed package is known from, by its name.
fn sources<'a>(
    installed: &'a [Package],
    base: &[Package],
    locked: &[LockedPackage],
) -> BTreeMap<&'a str, Source> {
    let mut sources = BTreeMap::new();
    for package in installed {
        let is_same = |other: &Package| {
            (&other.name, &other.version, &other.architecture)
                == (&package.name, &package.version, &package.architecture)
        };
        let source = if base.iter().any(is_same) {
            Source::Base
        } else if locked.iter().any(|locked| locked.is(package)) {
            Source::Locked
        } else {
            Source::Image
        };
        let known = sources.entry(package.name.as_str()).or_insert(source);
        *known = source.max(*known);
    }
    sources
}

/// Returns the diversions of the base, and those by packages that are known from outside the image.
fn trusted_diversions(
    root: &Root<'_>,
    base: &Root<'_>,
    sources: &BTreeMap<&str, Source>,
) -> Result<Vec<[Vec<u8>; 3]>, ScanError> {
    let of_base = diversions(base)?;
    let mut all = diversions(root)?;
    all.retain(|diversion| {
        let by = String::from_utf8_lossy(&diversion[2]);
        of_base.contains(diversion)
            || matches!(sources.get(&*by), Some(Source::Base | Source::Locked))
    });
    Ok(all)
}
