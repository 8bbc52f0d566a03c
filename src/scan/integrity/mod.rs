//! Integrity of packaged files: what is on the disk, compared with the checksums of the package databases.
//!
//! A file that is byte-identical to its package's needs no further check.

use std::collections::{HashMap, HashSet};

use super::{Finding, Root, ScanError, Severity};
use crate::disk::read::FileType;
use crate::disk::tree::{Content, File};

mod apk;
mod database;
mod dpkg;
mod hash;
mod locked;
mod rpm;
mod trusted;

pub use database::SETUID_SETGID;
use database::{Claim, Database, Expected, Rights};
pub use database::{Package, Record};
pub use hash::Checksum;
pub(super) use hash::{Algorithm, checksums, md5_sums};
pub(crate) use locked::read_packages;
pub(crate) use trusted::{LockedPackage, Trusted};

/// Extended attribute with the capabilities of a file.
const CAPABILITY: &[u8] = b"security.capability";

/// Configuration files of one package that other packages add lines to. Accounts are
/// [compared](super::undeclared) line by line.
const SHARED: [&str; 7] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/subuid",
    "/etc/subgid",
    "/etc/shells",
];

/// Result of the comparison.
#[derive(Clone, Debug, Default)]
pub struct Packaged {
    /// Indices of the tree's files that are byte-identical to their package's.
    pub identical: HashSet<usize>,
    /// Files that differ, sorted by path.
    pub modified: Vec<Modified>,
    /// Installed packages, half-installed ones included.
    pub packages: Vec<Package>,
    /// Database records of RPM and apk packages.
    pub records: Vec<Record>,
    names: Vec<String>,
    owners: HashMap<Box<[u8]>, usize>,
    rights: HashMap<Box<[u8]>, Vec<Rights>>,
    scripts: HashMap<String, String>,
}

/// A packaged path whose kind or content differs from its package's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Modified {
    /// Path without symbolic links on the way.
    pub path: Box<[u8]>,
    /// Name of the package that owns the file, without architecture.
    pub package: String,
    /// Expected kind and content.
    expected: Expected,
    /// Checksum of the actual content; `None` if the kind differs.
    pub sum: Option<Checksum>,
    /// Marks configuration: it may be changed, but only by something declared.
    pub conffile: bool,
}

impl Packaged {
    /// Returns the name, without architecture, of the package that owns a path without symbolic links on the way.
    pub fn owner(&self, path: &[u8]) -> Option<&str> {
        self.owners
            .get(path)
            .map(|&package| self.names[package].as_str())
    }

    /// Returns a finding for every modified file; [undeclared](super::undeclared) drops those that are declared.
    pub fn findings(&self) -> Vec<Finding> {
        self.modified.iter().map(Modified::finding).collect()
    }
}

impl Modified {
    /// Returns a finding of high severity, or medium for configuration.
    pub fn finding(&self) -> Finding {
        let path = String::from_utf8_lossy(&self.path).into_owned();
        let (severity, what) = if self.conffile {
            (Severity::Medium, "configuration")
        } else {
            (Severity::High, "file")
        };
        let mut finding = Finding::new(
            "modified-package-file",
            format!("modified-package-file:{path}"),
            severity,
            format!("{what} of package {} was modified", self.package),
        );
        finding.evidence = match (&self.expected, self.sum) {
            (_, Some(sum)) => format!(
                "its {} differs from the package's recorded checksum",
                sum.algorithm()
            ),
            (Expected::File(_), None) => "the package has a file there".to_owned(),
            (Expected::Directory, None) => "the package has a directory there".to_owned(),
            (Expected::Link(target), None) => {
                let target = String::from_utf8_lossy(target);
                format!("the package has a link to {target} there")
            }
        };
        finding.fix = format!(
            "find out what modified it, then reinstall {} or declare the file with `[[files]]`",
            self.package
        );
        finding.path = Some(path);
        finding.package = Some(self.package.clone());
        finding
    }
}

/// Reads every packaged file once and compares it with its package's checksum.
pub fn verify(root: &Root<'_>) -> Result<Packaged, ScanError> {
    verify_some(root, |_| true)
}

/// Verifies only the paths for which `is_wanted` holds. Other files are neither identical nor modified.
pub fn verify_some(
    root: &Root<'_>,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Packaged, ScanError> {
    Packaged::compare(root, Database::read(root)?, is_wanted)
}

/// Verifies all files of packages against what is known of these from outside the image.
pub fn verify_trusted(root: &Root<'_>, trusted: Trusted<'_>) -> Result<Packaged, ScanError> {
    Packaged::compare(root, Database::trusted(root, trusted)?, |_| true)
}

impl Packaged {
    fn compare(
        root: &Root<'_>,
        database: Database,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Self, ScanError> {
        let files = root.tree().files();
        let claims = database.claims.iter();
        let claims: Vec<_> = claims
            .filter(|claim| is_wanted(&claim.path))
            .filter_map(|claim| Some((root.tree().find(&claim.path)?, claim)))
            .collect();
        let wanted = claims.iter().filter_map(|(index, claim)| {
            let sum = expected_sum(claim, &files[*index])?;
            Some((*index, sum.algorithm()))
        });
        let sums = checksums(root, &wanted.collect())?;
        let mut packaged = Self {
            packages: database.packages,
            records: database.records,
            names: database.names,
            owners: database.owners,
            rights: database.rights,
            scripts: database.scripts,
            ..Self::default()
        };
        let mut sound = HashSet::new();
        for (index, claim) in claims {
            let file = &files[index];
            let expected = expected_sum(claim, file);
            let sum = expected.map(|expected| sums[&(index, expected.algorithm())]);
            let is_sound = match (&claim.expected, &file.content) {
                (Expected::File(_), _) => sum.is_some() && sum == expected,
                (Expected::Link(target), Content::Link(found)) => target == found,
                (Expected::Link(_), _) => false,
                (Expected::Directory, _) => file.kind == FileType::Directory,
            };
            if is_sound {
                sound.insert(&*claim.path);
                packaged.identical.insert(index);
            } else if !claim.obsolete {
                packaged.modified.push(Modified {
                    path: claim.path.clone(),
                    expected: claim.expected.clone(),
                    sum,
                    package: packaged.names[claim.package].clone(),
                    conffile: claim.conffile,
                });
            }
        }
        // Two packages may claim a path, for several architectures or because one replaces the other; one match is enough.
        packaged
            .modified
            .retain(|modified| !sound.contains(&*modified.path));
        packaged.modified.sort();
        packaged
            .modified
            .dedup_by(|one, other| one.path == other.path);
        Ok(packaged)
    }

    /// Returns the names and scripts of the packages that are known from outside the image.
    pub fn scripts(&self) -> impl Iterator<Item = (&str, &str)> {
        let scripts = self.scripts.iter();
        scripts.map(|(package, scripts)| (package.as_str(), scripts.as_str()))
    }

    /// Returns the scripts of the package with this name, if they are known from outside the image.
    pub fn scripts_of(&self, package: &str) -> Option<&str> {
        self.scripts.get(package).map(String::as_str)
    }

    /// Returns the rights that packages whose files are known from outside the image give a program.
    pub fn rights(&self, path: &[u8]) -> &[Rights] {
        self.rights.get(path).map_or(&[], Vec::as_slice)
    }
}

/// Returns the raw value of the attribute with the capabilities of a file.
pub fn capabilities(file: &File) -> Option<&[u8]> {
    let mut xattrs = file.xattrs.iter();
    let found = xattrs.find(|xattr| xattr.name == CAPABILITY)?;
    Some(&found.value)
}

/// Returns the checksum that a regular file should have; `None` if the claim or the file is of another kind.
fn expected_sum(claim: &Claim, file: &File) -> Option<Checksum> {
    match claim.expected {
        Expected::File(sum) if file.kind == FileType::File => Some(sum),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
