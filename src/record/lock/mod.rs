//! The lock file: what a template's packages mean, exactly, for review and for every build after the first. Pure.
//!
//! `web.toml` has `web.lock.toml` beside it. A lock is fresh while its request and base are those of the plan.

mod change;
mod error;
mod request;
mod text;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use change::{Change, diff};
pub use error::LockError;
pub use request::{Manager, Repository, Request};

use crate::digest::Digest;
use crate::time::Timestamp;

/// Name and version of the form of locks.
pub const SCHEMA: &str = "karat.lock/1";

/// What a template was resolved to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Digest of everything that the resolution depended on: request and base.
    pub inputs: Digest,
    /// The newest date of the archives that were used: the time that an image built from this lock has. Never "now".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Timestamp>,
    /// What was asked for.
    pub request: Request,
    /// The disk it was resolved in; none for an existing host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// State of the archives, in order of URI and suite.
    #[serde(default, rename = "archive", skip_serializing_if = "Vec::is_empty")]
    pub archives: Vec<Archive>,
    /// What is removed, in order of name.
    #[serde(default, rename = "removal", skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<Removal>,
    /// What is installed, in this order.
    #[serde(default, rename = "package", skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
}

/// The disk of a base.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The AMI that it is: later builds start from this one too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ami: Option<Ami>,
}

/// An image of EC2.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ami {
    /// `eu-central-1`
    pub region: String,
    /// `ami-...`
    pub id: String,
    /// What its root volume is made of: `snap-...`
    pub snapshot: String,
}

/// One suite of an archive, as it was.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Where it is, as the source has it.
    pub uri: String,
    /// Which suite of it; empty where archives have none (RPM).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suite: String,
    /// Which components of that were looked at; none where a suite is a path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// SHA-256 of its signed index: `InRelease` (Debian), `repomd.xml` (RPM).
    pub in_release: Digest,
    /// What that says about its age.
    pub date: Timestamp,
    /// Fingerprints of the keys whose signatures were found good; empty for a trusted source without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
}

/// A package that is removed, whatever its version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// Name, with `:architecture` where that is not the machine's own.
    pub name: String,
    /// The version that the base has.
    pub version: String,
}

/// A package that is installed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Exact version.
    pub version: String,
    /// Architecture, in the words of the package manager.
    pub architecture: String,
    /// Why it is installed.
    pub reason: Reason,
    /// URI of the archive that has it.
    pub archive: String,
    /// Where it is below that.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    #[serde(serialize_with = "text::bare")]
    pub sha256: Digest,
}

/// Why a package is installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The template names it.
    Declared,
    /// Something declared needs it.
    Dependency,
}

/// What a package manager makes of a request; with the request and the base it is a lock.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Resolution {
    /// The archives that were used.
    pub archives: Vec<Archive>,
    /// What is to be removed.
    pub removals: Vec<Removal>,
    /// What is to be installed, in this order.
    pub packages: Vec<Package>,
}

impl Lock {
    /// The lock of a resolution.
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

    /// Where the lock of a template is: `web.toml` has `web.lock.toml`.
    #[must_use]
    pub fn path_of(template: &Path) -> PathBuf {
        let stem = template.file_stem().unwrap_or_default();
        let mut name = stem.to_owned();
        name.push(".lock.toml");
        template.with_file_name(name)
    }

    /// Digest of its text, which is how a manifest and the store know it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_toml().as_bytes())
    }

    /// Whether it is what this request would be resolved to in this base, as far as that can be told without asking
    /// an archive.
    #[must_use]
    pub fn is_fresh(&self, request: &Request, base: Option<&Base>) -> bool {
        self.differences(request, base).is_empty()
    }

    /// Why it is not fresh: one line each, empty when it is.
    #[must_use]
    pub fn differences(&self, request: &Request, base: Option<&Base>) -> Vec<String> {
        let mut lines = self.request.differences(request);
        if self.base.as_ref() != base {
            let show = |base: Option<&Base>| base.map_or_else(|| "none".to_owned(), Base::shown);
            let (was, is) = (show(self.base.as_ref()), show(base));
            lines.push(format!("the base was {was} and is {is}"));
        }
        if lines.is_empty() && self.inputs != request.digest(base) {
            lines.push("`inputs` is not the digest of the lock's own request and base".to_owned());
        }
        lines
    }
}

impl Base {
    /// For messages: an AMI's id says more than its digest.
    fn shown(&self) -> String {
        match &self.ami {
            Some(ami) => format!("{} in {}", ami.id, ami.region),
            None => self.digest.to_string(),
        }
    }
}

impl Package {
    /// The URL that the package was resolved from.
    #[must_use]
    pub fn url(&self) -> String {
        let archive = self.archive.trim_end_matches('/');
        format!("{archive}/{}", crate::fetch::encode(&self.path))
    }

    /// The last name of its path.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
