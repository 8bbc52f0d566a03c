//! What is installed on a disk, by its own records: the packages of dpkg, rpm and apk, the packages of languages that
//! none of them owns, and which kernel boots.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Root, ScanError};

pub(super) mod apk;
mod dpkg;
pub mod fuzzing;
mod kernel;
mod language;
mod os_release;
pub(super) mod rpm;
pub(crate) mod support;
#[cfg(test)]
mod tests;

/// Everything that is installed; kept as a blob, so that a later scan needs no disk.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// What `os-release` says, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// What the system's package manager has, in the order of its database.
    pub packages: Vec<Package>,
    /// Packages of languages that no system package owns, sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub language: Vec<Language>,
    /// The kernel that boots, as in `6.1.0-28-amd64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boots: Option<String>,
    /// What the image's own `debian-security-support` says of its packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub support: Vec<Support>,
}

/// Which system it is.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// `ID`, as in `debian`.
    pub id: String,
    /// `VERSION_ID`, as in `12`; empty for a rolling release.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// `VERSION_CODENAME`, as in `bookworm`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub codename: String,
    /// `ID_LIKE`: what it is made from, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub like: Vec<String>,
}

/// A package of the system.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Whose database it is in.
    pub manager: Manager,
    /// Its name.
    pub name: String,
    /// Its version, with its epoch where it has one.
    pub version: String,
    /// Its architecture; empty where the database has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub architecture: String,
    /// The source package that it was made from; its own name for want of one.
    pub source: String,
    /// The version of that source package.
    pub source_version: String,
    /// The database's own word for how far it is installed, where it is not simply `install ok installed`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Its licence, where the database has it (rpm and apk).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub license: String,
}

/// A package manager of a system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manager {
    /// Debian and what is made from it.
    Dpkg,
    /// Red Hat and what is made from it, SUSE.
    Rpm,
    /// Alpine.
    Apk,
}

/// A package of a language.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// Where it says so: absolute in the image.
    pub path: String,
    /// The language's registry as package URLs name it: `pypi`, `npm`, `golang`, `cargo`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence, where it says one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub license: String,
}

/// A source package that the distribution does not, or not fully, mend any more.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Support {
    /// The source package; `.*` at its end stands for anything.
    pub source: String,
    /// The last version that was mended and the day when that ended; `None` where support is only limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// Why, in the distribution's words.
    pub reason: String,
}

/// The end of a package's support.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// The last version that was mended.
    pub version: String,
    /// The day, as in `2026-06-12`.
    pub day: String,
}

/// Reads what is installed.
///
/// # Errors
/// A database cannot be read, is damaged, or is missing in a tree that plainly is a system with one.
pub fn read(root: &Root<'_>) -> Result<Inventory, ScanError> {
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
        must_have_none(root, release.as_ref())?;
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

/// Systems by their `ID` and `ID_LIKE`, with the file that says the same and the database that must be there.
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

/// A tree that says of itself what it is has packages; that none are found shows that the database is gone.
fn must_have_none(root: &Root<'_>, release: Option<&Release>) -> Result<(), ScanError> {
    for (names, file, database) in SYSTEMS {
        let named = release.is_some_and(|release| {
            names.contains(&release.id.as_str())
                || release
                    .like
                    .iter()
                    .any(|like| names.contains(&like.as_str()))
        });
        if named || root.get(file.as_bytes()).is_some() {
            return Err(ScanError::Damaged {
                path: PathBuf::from(database),
                problem: "the database of packages is missing or has no packages, in a system that has some".to_owned(),
            });
        }
    }
    Ok(())
}
