//! The lock file: exact versions and digests of a template's packages, for review and for repeatable builds. Pure.
//!
//! The lock file of `web.toml` is `web.lock.toml` beside it. It is up to date while its request and base are those of the plan.

mod change;
mod error;
mod request;
mod text;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use change::{Change, diff};
pub(crate) use error::LockError;
pub(crate) use request::Repository;
pub use request::{Manager, Request};

use crate::digest::Digest;
use crate::time::Timestamp;
use crate::url_path;

/// Name and version of the schema.
pub const SCHEMA: &str = "karat.lock/1";

/// Content of a lock file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Name and version of the format, always [`SCHEMA`].
    pub schema: String,
    /// Digest of what the resolution depended on: request and base.
    pub inputs: Digest,
    /// Newest date of the archives: the time stamp of an image built from this lock file. Never the current time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Timestamp>,
    /// The request that was resolved.
    pub request: Request,
    /// The base that the request was resolved in; `None` for an existing host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// State of the archives, sorted by URI and suite.
    #[serde(default, rename = "archive", skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<Archive>,
    /// Packages to remove, sorted by name.
    #[serde(default, rename = "removal", skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<Removal>,
    /// Packages to install, in order.
    #[serde(default, rename = "package", skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
}

/// The base disk that packages were resolved for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size of the file in bytes.
    pub size: u64,
    /// The AMI that the base is. Later builds start from the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ami: Option<Ami>,
}

/// An EC2 image that is used as base.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ami {
    /// AWS region, such as `eu-central-1`.
    pub region: String,
    /// Id of the image: `ami-…`.
    pub id: String,
    /// Snapshot of its root volume: `snap-…`.
    pub snapshot: String,
}

/// State of a suite of an archive.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// URI of the archive, as the package source has it.
    pub uri: String,
    /// Suite. Empty for RPM repositories.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suite: String,
    /// Components that were read. Empty if the suite is a path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// SHA-256 of its signed index: `InRelease` (Debian), `repomd.xml` (RPM).
    pub in_release: Digest,
    /// Date in that index.
    pub date: Timestamp,
    /// Fingerprints of the keys whose signatures were valid. Empty for a trusted source without signatures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
}

/// A package to remove. Any version of it is removed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// Name, with `:architecture` if that is not the native one.
    pub name: String,
    /// Version in the base.
    pub version: String,
}

/// A package to install.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name of the package.
    pub name: String,
    /// Version to install, without ranges.
    pub version: String,
    /// Architecture as the package manager names it.
    pub architecture: String,
    /// Reason to install it.
    pub reason: Reason,
    /// URI of the archive.
    pub archive: String,
    /// Path of the file below that URI.
    pub path: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    #[serde(serialize_with = "text::bare")]
    pub sha256: Digest,
}

/// Reason to install a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The template names it.
    Declared,
    /// A declared package depends on it.
    Dependency,
}

/// Result of resolving a request. With the request and the base it makes a lock file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolution {
    /// State of the archives that were used.
    pub archives: Vec<Archive>,
    /// Packages that the request removes.
    pub removals: Vec<Removal>,
    /// Packages to install, in order.
    pub packages: Vec<Package>,
}

impl Lock {
    /// Returns the lock file of a resolution.
    #[must_use]
    pub fn new(request: Request, base: Option<Base>, resolution: Resolution) -> Self {
        let Resolution {
            mut archives,
            mut removals,
            packages,
        } = resolution;
        archives.sort();
        archives.dedup();
        removals.sort();
        Self {
            schema: SCHEMA.to_owned(),
            inputs: request.digest(base.as_ref()),
            epoch: archives.iter().map(|archive| archive.date).max(),
            request,
            base,
            archives,
            removals,
            packages,
        }
    }

    /// Returns the path of a template's lock file: `web.lock.toml` for `web.toml`.
    #[must_use]
    pub fn path_of(template: &Path) -> PathBuf {
        let mut name = template.file_stem().unwrap_or_default().to_owned();
        name.push(".lock.toml");
        template.with_file_name(name)
    }

    /// Returns the digest of its text, which a manifest and the store refer to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_toml().as_bytes())
    }

    /// Returns the differences between the lock file and a request and base, one line each. The lock file is up to date if there
    /// are none. New packages in an archive are not noticed.
    #[must_use]
    pub fn differences(&self, request: &Request, base: Option<&Base>) -> Vec<String> {
        let mut lines = self.request.differences(request);
        if self.base.as_ref() != base {
            let show = |base: Option<&Base>| base.map_or_else(|| "none".to_owned(), Base::describe);
            let (was, is) = (show(self.base.as_ref()), show(base));
            lines.push(format!("the base was {was} and is {is}"));
        }
        if lines.is_empty() && self.inputs != request.digest(base) {
            lines.push(
                "`inputs` is not the digest of the lock file's own request and base".to_owned(),
            );
        }
        lines
    }
}

impl Base {
    /// Describes the base for messages. The id of an AMI is more useful than its digest.
    fn describe(&self) -> String {
        match &self.ami {
            Some(ami) => format!("{} in {}", ami.id, ami.region),
            None => self.digest.to_string(),
        }
    }
}

impl Package {
    /// Returns the URL of the package in its archive.
    #[must_use]
    pub fn url(&self) -> String {
        let archive = self.archive.trim_end_matches('/');
        format!("{archive}/{}", url_path::encode(&self.path))
    }

    /// Returns the last component of its path.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
