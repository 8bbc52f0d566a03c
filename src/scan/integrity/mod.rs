//! Integrity of packaged files: what is on the disk, compared with the checksums of the package databases.
//!
//! A file that is byte-identical to its package's needs no further check.

use std::collections::{HashMap, HashSet};

use super::{Finding, Root, ScanError, Severity};
use crate::disk::read::FileType;

mod apk;
mod database;
mod dpkg;
mod hash;
mod rpm;

use database::Database;
pub use database::{Package, Record};
pub use hash::Checksum;
use hash::checksums;
pub(super) use hash::md5_sums;

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
}

/// A packaged file whose content differs from its package's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Modified {
    /// Path without symbolic links on the way.
    pub path: Box<[u8]>,
    /// Name of the package that owns the file, without architecture.
    pub package: String,
    /// Checksum of the actual content.
    pub sum: Checksum,
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
        finding.evidence = format!(
            "its {} differs from the package's recorded checksum",
            self.sum.algorithm()
        );
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
    let database = Database::read(root)?;
    let files = root.tree().files();
    let claims = database.claims.iter();
    let claims: Vec<_> = claims
        .filter(|claim| is_wanted(&claim.path))
        .filter_map(|claim| {
            let index = root.tree().find(&claim.path)?;
            (files[index].kind == FileType::File).then_some((index, claim))
        })
        .collect();
    let wanted = claims
        .iter()
        .map(|(index, claim)| (*index, claim.sum.algorithm()));
    let sums = checksums(root, &wanted.collect())?;
    let mut packaged = Packaged {
        packages: database.packages,
        records: database.records,
        names: database.names,
        owners: database.owners,
        ..Packaged::default()
    };
    for (index, claim) in claims {
        let sum = sums[&(index, claim.sum.algorithm())];
        if sum == claim.sum {
            packaged.identical.insert(index);
        } else if !claim.obsolete {
            packaged.modified.push(Modified {
                path: claim.path.clone(),
                sum,
                package: packaged.names[claim.package].clone(),
                conffile: claim.conffile,
            });
        }
    }
    // Two packages may claim a file for several architectures; one match is enough.
    let identical = &packaged.identical;
    packaged.modified.retain(|modified| {
        let index = root.tree().find(&modified.path);
        index.is_none_or(|index| !identical.contains(&index))
    });
    packaged.modified.sort();
    packaged.modified.dedup();
    Ok(packaged)
}

#[cfg(test)]
mod tests;
