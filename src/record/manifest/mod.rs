//! The record of one image: what went in, what came out. A pure function of both.
//!
//! It holds nothing about who, when, where or how fast; that is in a [record](crate::store::Record) beside it. Its id
//! is the SHA-256 of its canonical bytes, so the same inputs and output have the same id everywhere, and
//! `sha256sum` checks it.

mod id;

use std::collections::BTreeMap;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use super::canonical::Unrepresentable;
pub use id::{IdPrefix, InvalidId, ManifestId};

use crate::digest::Digest;

/// Name and version of the form of manifests.
pub const SCHEMA: &str = "karat.manifest/1";

/// What a manifest says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`SCHEMA`].
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: String,
    /// What the image was made from.
    pub inputs: Inputs,
    /// What it is.
    pub outputs: Outputs,
}

/// Everything that an image was made from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Name and description.
    pub image: Name,
    /// The template as it was written.
    pub template: Template,
    /// Variables with the values that were used.
    pub variables: BTreeMap<String, String>,
    /// Secrets by name, with where each came from; never a value.
    pub secrets: BTreeMap<String, SecretKind>,
    /// The disk it started from.
    pub base: Base,
    /// Packages that were declared.
    pub packages: Packages,
    /// The lock that they were installed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// Files that were put in place before the first step.
    pub files: Vec<File>,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// Files and directories of the template that all of this was read from, by the path that the template has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Source>,
    /// How the disk was to become an image, where the template says more than the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<FinishInputs>,
    /// What the guest could reach.
    pub network: Network,
    /// Whether everything that went in is named here. False when the network was open.
    pub hermetic: bool,
}

/// What an image is called.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// `[a-z0-9-]`.
    #[cfg_attr(test, schemars(regex(pattern = r"^[a-z0-9-]+$")))]
    pub name: String,
    /// Free text.
    pub description: String,
}

/// A template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// SHA-256 of the text.
    pub digest: Digest,
    /// The text.
    pub text: String,
}

/// Where a secret came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// The environment.
    Env,
    /// A file.
    File,
}

/// The disk that a build started from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Where it came from.
    pub kind: BaseKind,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size of the file (`ami`: of its root volume) in bytes.
    pub size: u64,
    /// QEMU's name for its format.
    pub format: String,
    /// What was downloaded (`url`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Distribution (`bootstrap`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// Release (`bootstrap`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// Where the AMI is (`ami`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Its id (`ami`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ami: Option<String>,
    /// The snapshot of its root volume (`ami`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// Where a base came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BaseKind {
    /// A local file.
    File,
    /// A download.
    Url,
    /// Made from a package archive.
    Bootstrap,
    /// An image of the store.
    Manifest,
    /// An image of EC2. Others cannot read its bytes, so its digest is that of the text `REGION/AMI/SNAPSHOT`.
    Ami,
}

/// Declared packages, by package manager.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// For apt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apt: Option<DeclaredPackages>,
    /// For dnf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnf: Option<DeclaredPackages>,
}

/// Packages declared for one package manager.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeclaredPackages {
    /// To install, as declared.
    pub install: Vec<String>,
    /// To remove; apt also purges.
    pub remove: Vec<String>,
    /// Whether recommended packages were installed too.
    pub recommends: bool,
    /// Package sources besides those of the base.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
}

/// A package source that was declared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub uri: String,
    /// Its suites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<String>,
    /// Their components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// SHA-256 of its key file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// Believed without a signature.
    pub trusted: bool,
    /// Left configured in the image.
    pub keep: bool,
}

/// The lock that packages were installed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// SHA-256 of its text.
    pub digest: Digest,
}

/// A file or directory that was put into the guest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where.
    pub destination: String,
    /// SHA-256 of the bytes; of the listing for a directory (see [`inputs`]).
    pub digest: Digest,
    /// Permission bits in octal. Absent for a directory whose files keep their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `user` or `user:group`.
    pub owner: String,
}

/// A file or directory that a template names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// SHA-256 of the bytes; of the listing for a directory (see [`inputs`]).
    pub digest: Digest,
    /// What it is.
    pub kind: SourceKind,
}

/// What a template's path leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A file.
    File,
    /// A file that can be executed.
    Executable,
    /// A directory.
    Directory,
}

/// `[finish]` as the template has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FinishInputs {
    /// Write the file system anew.
    pub rebuild: bool,
    /// What was to go.
    pub drop: Vec<String>,
    /// What was to stay.
    pub keep: Vec<String>,
}

/// One step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// What it did.
    pub action: Action,
    /// Globs of what it was to make, and accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub creates: Vec<String>,
}

/// What a step did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Ran a script.
    Shell {
        /// SHA-256 of the script, secrets as `<secret name>`.
        script: Digest,
        /// Environment, secrets as `<secret name>`.
        environment: BTreeMap<String, String>,
        /// Where, when not in the user's home.
        #[serde(skip_serializing_if = "Option::is_none")]
        working_directory: Option<String>,
        /// As whom.
        user: String,
        /// Exit codes that meant success.
        exit_codes: Vec<u32>,
    },
    /// Put a file or directory in place.
    File(File),
    /// Copied these out of the guest.
    Download {
        /// Paths in the guest.
        sources: Vec<String>,
    },
    /// Restarted the machine.
    Reboot {},
    /// Waited.
    Pause {
        /// So long.
        milliseconds: u64,
    },
}

/// What the guest could reach while it was provisioned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The whole network.
    pub open: bool,
    /// What the template allows a sealed guest to get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Allow>,
    /// What it got of that, sorted, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
}

/// Something that a sealed guest may get.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// A URL; one that ends with `/` stands for all below it.
    pub url: String,
    /// SHA-256 of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// Something that a sealed guest got.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The URL.
    pub url: String,
    /// The HTTP status, when it was not 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// SHA-256 of what came. Absent when only the head was asked for, or when the guest did not take all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Its size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// What came out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Outputs {
    /// Processor architecture: `x86_64`, `aarch64`.
    pub arch: String,
    /// How it boots: `bios`, `uefi`.
    pub firmware: String,
    /// The image file.
    pub image: Image,
    /// Every path in it, where its file system was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Tree>,
    /// How its disk became an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,
    /// Packages in it, sorted by name and architecture.
    pub packages: Vec<Package>,
}

/// A finished image file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// `qcow2`, `raw`, `vmdk`, `vhd`.
    pub format: String,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size of the file in bytes.
    pub size: u64,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
    /// Digest of the disk that a guest sees, whatever the format of the file: the SHA-256 of the SHA-256 (32 bytes each) of
    /// every MiB, in order, the last one as long as it is. One SHA-256 over all of it would take ten seconds for a disk of
    /// 20 GiB, however little is on it: a hole has to be hashed, too. README says how to compute this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Digest>,
}

/// Every path in an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// SHA-256 of the listing: one canonical JSON line a path, sorted by bytes.
    pub digest: Digest,
    /// SHA-256 of the listing as it is stored, compressed with zstd.
    pub listing: Digest,
}

/// How a disk became an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// The same inputs give the same bytes.
    pub reproducible: bool,
    /// Why they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// SHA-256 of the table of rules that it was cleaned by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Digest>,
    /// For each rule that did something, on how many paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cleaned: BTreeMap<String, u64>,
}

/// An installed package.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture, in the words of the package manager.
    pub arch: String,
    /// Why it is there.
    pub origin: Origin,
    /// SHA-256 of the file that it was installed from, where the lock has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// Why a package is in an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The base had it.
    Base,
    /// The template names it.
    Declared,
    /// A declared package needs it.
    Dependency,
}

/// Bytes that are not a manifest.
#[derive(Debug, Error, Diagnostic)]
pub enum ManifestError {
    /// No JSON, or not of the right form.
    #[error("this is not a manifest")]
    Form(#[source] serde_json::Error),
    /// The form of another version.
    #[error("the manifest has the form {0:?}, and this karat reads {SCHEMA:?}")]
    #[diagnostic(help("use the version of karat that made it, or a newer one"))]
    Schema(String),
    /// The same content written in another way, which would give it a second id.
    #[error("the manifest is not in canonical form")]
    NotCanonical,
    /// An image's name that could not be a file's or a channel's.
    #[error("the manifest has the image name {0:?}")]
    Name(String),
    /// A value that cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unrepresentable(#[from] Unrepresentable),
}

impl Manifest {
    /// A manifest of these inputs and outputs.
    #[must_use]
    pub fn new(inputs: Inputs, outputs: Outputs) -> Self {
        let schema = SCHEMA.to_owned();
        Self {
            schema,
            inputs,
            outputs,
        }
    }

    /// Its canonical bytes.
    ///
    /// # Errors
    /// A value is outside what canonical JSON can hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Unrepresentable> {
        super::canonical::to_bytes(self)
    }

    /// Reads a manifest, strictly: unknown and duplicate keys and every form but the canonical one are refused.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        /// Read first: another version may well have other keys.
        #[derive(Deserialize)]
        struct Version {
            schema: String,
        }
        let version: Version = serde_json::from_slice(bytes).map_err(ManifestError::Form)?;
        if version.schema != SCHEMA {
            return Err(ManifestError::Schema(version.schema));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Form)?;
        // A duplicate key in a map of names is lost in reading, so this finds it too.
        if manifest.to_bytes()? != bytes {
            return Err(ManifestError::NotCanonical);
        }
        let name = &manifest.inputs.image.name;
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if name.is_empty() || !name.bytes().all(is_plain) {
            return Err(ManifestError::Name(name.clone()));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod schema;
#[cfg(test)]
pub(crate) mod tests;
