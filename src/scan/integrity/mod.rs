//! What packages have put on the disk, compared with the packages' own checksums.
//!
//! A file that is byte-identical to its package's needs no further look. One that differs was changed by somebody.

use std::collections::{HashMap, HashSet};

use super::{Finding, Root, ScanError, Severity};
use crate::disk::read::Kind;

mod apk;
mod database;
mod dpkg;
mod hash;
mod md5;
mod rpm;

use database::Database;
pub use database::{Package, Record};
use hash::checksums;
pub(super) use hash::sums;
pub use hash::{Algorithm, Checksum, Sum};

/// Configuration that a package has at first and every other one adds its own to; accounts are
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

/// What is known of every packaged file.
#[derive(Clone, Debug, Default)]
pub struct Packaged {
    /// Files, as indices of the tree's, that are byte-identical to what their package has.
    pub identical: HashSet<usize>,
    /// Files that are not, sorted by path.
    pub modified: Vec<Modified>,
    /// What is installed, half-installed packages included.
    pub packages: Vec<Package>,
    /// What RPM and apk keep of each.
    pub records: Vec<Record>,
    names: Vec<String>,
    owners: HashMap<Box<[u8]>, usize>,
}

/// A packaged file with another content than its package's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Modified {
    /// Where it is, without links on the way.
    pub path: Box<[u8]>,
    /// The package that has it, without architecture.
    pub package: String,
    /// What it has.
    pub sum: Checksum,
    /// It is configuration: meant to be changed, but by something that is declared.
    pub conffile: bool,
}

impl Packaged {
    /// The package that has a path without links on the way to it; its name without architecture.
    #[must_use]
    pub fn owner(&self, path: &[u8]) -> Option<&str> {
        self.owners
            .get(path)
            .map(|&package| self.names[package].as_str())
    }

    /// What differs, as findings; [undeclared](super::undeclared) says which of them nobody has declared.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.modified.iter().map(Modified::finding).collect()
    }
}

impl Modified {
    /// The finding: high, for configuration medium.
    #[must_use]
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
            format!("{what} of the package {} was changed", self.package),
        );
        finding.evidence = format!(
            "its {} is not the one that the package's own list of checksums has",
            self.sum.algorithm()
        );
        finding.mend = format!(
            "find out what changed it, and reinstall {} or declare the file with `[[files]]`",
            self.package
        );
        finding.path = Some(path);
        finding.package = Some(self.package.clone());
        finding
    }
}

/// Reads every packaged file once, by so many threads, and compares it with what its package says.
///
/// # Errors
/// The package database or a file cannot be read, or makes no sense.
pub fn verify(root: &Root<'_>, threads: usize) -> Result<Packaged, ScanError> {
    verify_some(root, threads, |_| true)
}

/// The same of those paths alone that somebody wants to know of; the others are neither identical nor modified.
///
/// # Errors
/// As for [`verify`].
pub fn verify_some(
    root: &Root<'_>,
    threads: usize,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Packaged, ScanError> {
    let database = Database::read(root)?;
    let files = root.tree().files();
    let claims = database.claims.iter().filter(|it| is_wanted(&it.path));
    let claims = claims.filter_map(|claim| {
        let index = root.tree().find(&claim.path)?;
        (files[index].kind == Kind::File).then_some((index, claim))
    });
    let claims: Vec<_> = claims.collect();
    let wanted = claims
        .iter()
        .map(|(index, claim)| (*index, claim.sum.algorithm()));
    let sums = checksums(root, &wanted.collect(), threads)?;
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
    // Two packages may have the same file for several architectures; one of them is enough.
    let modified = std::mem::take(&mut packaged.modified);
    packaged.modified = modified
        .into_iter()
        .filter(|it| {
            let index = root.tree().find(&it.path);
            index.is_none_or(|index| !packaged.identical.contains(&index))
        })
        .collect();
    packaged.modified.sort();
    packaged.modified.dedup();
    Ok(packaged)
}

#[cfg(test)]
mod tests;
