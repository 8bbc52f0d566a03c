//! Inventory of a disk, from its own records: packages of dpkg, rpm and apk, language packages that none of them owns,
//! and the kernel that boots.

use serde::{Deserialize, Serialize};

use super::{Root, ScanError};

pub(super) mod apk;
mod dpkg;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod kernel;
mod language;
mod os_release;
pub(super) mod rpm;
pub(crate) mod support;
#[cfg(test)]
mod tests;

/// Installed software; stored as a blob for later scans without the disk.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// Distribution and release, from `os-release`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// System packages, in the order of the package database.
    pub packages: Vec<Package>,
    /// Language packages that no system package owns, sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub language: Vec<Language>,
    /// Release of the kernel that boots, as in `6.1.0-28-amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boots: Option<String>,
    /// Entries of the image's `debian-security-support` lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub support: Vec<Support>,
}

/// Distribution and release of a system.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// `ID`, as in `debian`.
    pub id: String,
    /// `VERSION_ID`, as in `12`; empty for rolling releases.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// `VERSION_CODENAME`, as in `bookworm`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub codename: String,
    /// `ID_LIKE`: parent distributions, closest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub like: Vec<String>,
}

/// A package of the distribution.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Package manager whose database has it.
    pub manager: Manager,
    /// Name of the package.
    pub name: String,
    /// Version, including the epoch.
    pub version: String,
    /// Architecture; empty if the database has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub architecture: String,
    /// Source package; the package's own name if the database has none.
    pub source: String,
    /// Version of the source package.
    pub source_version: String,
    /// Installation state as the database has it, unless `install ok installed`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Licence, if the database has it (rpm and apk).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub license: String,
}

/// A system's package manager.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// Debian and its derivatives.
    Dpkg,
    /// Red Hat and derivatives, SUSE.
    Rpm,
    /// Alpine Linux and its derivatives.
    Apk,
}

/// A package of a programming language.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// Absolute path of its metadata or executable.
    pub path: String,
    /// Package URL type of its registry: `pypi`, `npm`, `golang` or `cargo`.
    pub kind: String,
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Licence that the metadata states.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub license: String,
}

/// A source package with ended or limited support.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Support {
    /// Source package; a trailing `.*` matches any suffix.
    pub source: String,
    /// End of support; `None` if support is only limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// Reason given by the distribution.
    pub reason: String,
}

/// End of a package's support.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Last version that was supported.
    pub version: String,
    /// Date, as in `2026-06-12`.
    pub day: String,
}

/// Reads the inventory. A package database that is missing in a system that must have one is an error.
pub(crate) fn read(root: &Root<'_>) -> Result<Inventory, ScanError> {
    let release = os_release::read(root)?;
    let mut owners = Vec::new();
    let mut packages = Vec::new();
    for (manager, read) in [
        (Manager::Dpkg, dpkg::read as Reader),
        (Manager::Rpm, rpm::read),
        (Manager::Apk, apk::read),
    ] {
        let Some(found) = read(root)? else {
            continue;
        };
        owners.push(manager);
        packages.extend(found);
    }
    if packages.is_empty() {
        check_without_packages(root, release.as_ref())?;
    }
    Ok(Inventory {
        language: language::read(root, &owners)?,
        boots: kernel::boots(root)?,
        support: support::read(root, release.as_ref())?,
        release,
        packages,
    })
}

/// Reads one package manager's database; `None` where there is none.
type Reader = fn(&Root<'_>) -> Result<Option<Vec<Package>>, ScanError>;

/// Distributions by `ID` and `ID_LIKE`, with a file that identifies them and the package database they must have.
const SYSTEMS: [(&[&str], &str, &str); 3] = [
    (
        &["debian", "ubuntu"],
        "/etc/debian_version",
        "/var/lib/dpkg/status",
    ),
    (
        &[
            "almalinux",
            "rocky",
            "rhel",
            "centos",
            "fedora",
            "suse",
            "amzn",
            "ol",
        ],
        "/etc/redhat-release",
        "/var/lib/rpm/rpmdb.sqlite",
    ),
    (&["alpine"], "/etc/alpine-release", "/lib/apk/db/installed"),
];

/// Fails for a tree without packages that identifies itself as a distribution: its database is missing.
fn check_without_packages(root: &Root<'_>, release: Option<&Release>) -> Result<(), ScanError> {
    for (names, file, database) in SYSTEMS {
        let named = release.is_some_and(|release| {
            names.contains(&release.id.as_str())
                || release
                    .like
                    .iter()
                    .any(|like| names.contains(&like.as_str()))
        });
        if named || root.get(file.as_bytes()).is_some() {
            let problem = "the package database is missing or empty";
            return Err(ScanError::damaged(database.as_bytes(), problem));
        }
    }
    Ok(())
}
