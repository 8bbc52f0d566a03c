//! The manifest of an image: its inputs and outputs. A pure function of both.
//!
//! It has no user, time, host or duration: those are in build records beside it. Its id is the SHA-256 of its canonical bytes, so
//! the same inputs and outputs have the same id everywhere, and `sha256sum` can verify it.

mod accepted;
mod creates;
mod id;

use std::collections::BTreeMap;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use super::canonical::Unrepresentable;
pub use accepted::AcceptedPath;
pub use creates::Creates;
pub use id::{IdPrefix, InvalidId, ManifestId};

use crate::digest::Digest;

/// Name and version of the schema.
pub const SCHEMA: &str = "karat.manifest/1";

/// Inputs and outputs of one image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name and version of the format, always [`SCHEMA`].
    #[cfg_attr(test, schemars(extend("const" = SCHEMA)))]
    pub schema: String,
    /// Everything that the image was made from.
    pub inputs: Inputs,
    /// The image and its content.
    pub outputs: Outputs,
}

/// Inputs of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Name and description of the image.
    pub image: Name,
    /// The template, before interpolation.
    pub template: Template,
    /// Variables with the values of this build.
    pub variables: BTreeMap<String, String>,
    /// Sources of the secrets, by name. Never a value.
    pub secrets: BTreeMap<String, SecretKind>,
    /// The disk that the build started from.
    pub base: Base,
    /// Packages that the template declares.
    pub packages: Packages,
    /// The lock file that the packages were installed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// Files that were uploaded before the first step.
    pub files: Vec<File>,
    /// Provisioning steps, in order.
    pub steps: Vec<Step>,
    /// Files and directories that the template refers to, by the path in the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Source>,
    /// Settings for making the image, if they are not the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<FinishInputs>,
    /// Network access of the guest.
    pub network: Network,
    /// True if these inputs are complete, false if the network was open.
    pub hermetic: bool,
}

/// Name of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// Letters a to z, digits and `-`.
    #[cfg_attr(test, schemars(regex(pattern = r"^[a-z0-9-]+$")))]
    pub name: String,
    /// Free text for the user.
    pub description: String,
}

/// The template of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// SHA-256 of the text.
    pub digest: Digest,
    /// Text of the template.
    pub text: String,
}

/// Source of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SecretKind {
    /// From an environment variable.
    Env,
    /// From a local file.
    File,
}

/// The disk that a build started from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Source of the disk.
    pub kind: BaseKind,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size of the file in bytes (`ami`: of its root volume).
    pub size: u64,
    /// Format, as QEMU names it.
    pub format: String,
    /// URL of the download (`url`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Name of the distribution (`bootstrap`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// Code name of the release (`bootstrap`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// AWS region of the AMI (`ami`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Id of the AMI (`ami`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ami: Option<String>,
    /// Snapshot of its root volume (`ami`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

impl Base {
    /// Returns the record of an AMI as base. `size` is that of its root volume in bytes.
    #[must_use]
    pub fn of_ami(region: &str, ami: &str, snapshot: &str, size: u64) -> Self {
        Self {
            digest: Self::ami_digest(region, ami, snapshot),
            size,
            format: "raw".to_owned(),
            region: Some(region.to_owned()),
            ami: Some(ami.to_owned()),
            snapshot: Some(snapshot.to_owned()),
            ..Self::empty(BaseKind::Ami)
        }
    }

    /// Returns the digest that identifies an AMI. Only its owner can read its bytes, and AWS does not allow to change them, so
    /// the digest is that of its name.
    #[must_use]
    pub fn ami_digest(region: &str, ami: &str, snapshot: &str) -> Digest {
        Digest::of(format!("{region}/{ami}/{snapshot}").as_bytes())
    }

    pub(crate) fn empty(kind: BaseKind) -> Self {
        Self {
            kind,
            digest: Digest::of(b""),
            size: 0,
            format: String::new(),
            url: None,
            distribution: None,
            suite: None,
            region: None,
            ami: None,
            snapshot: None,
        }
    }
}

/// Source of a base.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BaseKind {
    /// Copied from a local file.
    File,
    /// Downloaded from a URL.
    Url,
    /// Installed from a package archive.
    Bootstrap,
    /// An image of the store.
    Manifest,
    /// An EC2 image. Only its owner can read its bytes, so its digest is that of the text `REGION/AMI/SNAPSHOT`.
    Ami,
}

/// Declared packages, by package manager.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Packages that apt installs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apt: Option<DeclaredPackages>,
    /// Packages that dnf installs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnf: Option<DeclaredPackages>,
}

/// Packages declared for one package manager.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeclaredPackages {
    /// Packages to install, as declared.
    pub install: Vec<String>,
    /// Packages to remove, as declared; apt also purges them.
    pub remove: Vec<String>,
    /// True if recommended packages were installed, too.
    pub recommends: bool,
    /// Package repositories besides those of the base.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
    /// Paths that maintainer scripts may make.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<AcceptedPath>,
}

/// A declared package repository.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Name in the template.
    pub name: String,
    /// URI of the repository.
    pub uri: String,
    /// Suites that were used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<String>,
    /// Components of the suites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// SHA-256 of its key file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
    /// True if it was used without a signature.
    pub trusted: bool,
    /// True if it stays configured in the image.
    pub keep: bool,
}

/// The lock file that packages were installed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// SHA-256 of the lock file.
    pub digest: Digest,
}

/// A file or directory that was uploaded to the guest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Path in the guest.
    pub destination: String,
    /// SHA-256 of the file, or of the listing of a directory.
    pub digest: Digest,
    /// Permission bits in octal. Absent for a directory, whose files keep their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Owner: `user` or `user:group`.
    pub owner: String,
}

/// A file or directory that a template refers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// SHA-256 of the file, or of the listing of a directory.
    pub digest: Digest,
    /// Kind of the file.
    pub kind: SourceKind,
}

/// Kind of a file that a template refers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// A file without executable bit.
    File,
    /// A file with executable bit.
    Executable,
    /// A directory with its content.
    Directory,
}

/// The `[finish]` table of a template.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FinishInputs {
    /// True if the file system was rewritten.
    pub rebuild: bool,
    /// Globs of paths to delete.
    pub drop: Vec<String>,
    /// Globs of paths to keep.
    pub keep: Vec<String>,
}

/// A step of a build.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Name of the step.
    pub name: String,
    /// Action of the step.
    pub action: Action,
    /// Globs of paths, and accounts, that the step declares to create.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub creates: Vec<Creates>,
}

/// Action of a step.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Runs a script in the guest.
    Shell {
        /// SHA-256 of the script, with `<secret NAME>` for each secret.
        script: Digest,
        /// Environment variables, with `<secret NAME>` for each secret.
        environment: BTreeMap<String, String>,
        /// Working directory, if it is not the user's home.
        #[serde(skip_serializing_if = "Option::is_none")]
        working_directory: Option<String>,
        /// User that runs the script.
        user: String,
        /// Exit codes that mean success.
        exit_codes: Vec<u32>,
    },
    /// Uploads a file or directory.
    File(File),
    /// Downloads files from the guest.
    Download {
        /// Paths in the guest.
        sources: Vec<String>,
    },
    /// Reboots the guest and reconnects.
    Reboot {},
    /// Waits for a fixed time.
    Pause {
        /// Duration of the wait in milliseconds.
        milliseconds: u64,
    },
}

/// Network access of the guest while it was provisioned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// True if the guest had unrestricted access.
    pub open: bool,
    /// Downloads that the template allows to a sealed guest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Allow>,
    /// Downloads that the guest made, sorted and without duplicates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
}

/// A download that a sealed guest may make.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// URL. One that ends with `/` includes all URLs below it.
    pub url: String,
    /// SHA-256 of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// A download that a sealed guest made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// URL of the download.
    pub url: String,
    /// HTTP status, if it was not 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// SHA-256 of the body. Absent for a HEAD request, and if the guest did not read all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Size of the body in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Outputs of a build.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Outputs {
    /// Processor architecture: `x86_64`, `aarch64`.
    pub arch: String,
    /// Firmware that boots the image: `bios`, `uefi`.
    pub firmware: String,
    /// The image file itself.
    pub image: Image,
    /// List of the files in the image, if its file system could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Tree>,
    /// SHA-256 of the stored explanation of the tree: the cause of each path, compressed with zstd. The scan of the build makes
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Digest>,
    /// Normalization of the disk into the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,
    /// Installed packages, sorted by name and architecture.
    pub packages: Vec<Package>,
}

/// Format, digests and sizes of an image file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Format of the file: `qcow2`, `raw`, `vmdk`, `vhd`.
    pub format: String,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size of the file in bytes.
    pub size: u64,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
    /// Digest of the disk that a guest sees, independent of the format of the file: the SHA-256 of the SHA-256 (32 bytes each) of
    /// every MiB, in order; the last one may be shorter. A single SHA-256 of a sparse disk of 20 GiB would take ten seconds,
    /// because holes must be hashed, too. README says how to compute this digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Digest>,
}

/// List of the files of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// SHA-256 of the listing: a line of canonical JSON for each path, sorted by bytes.
    pub digest: Digest,
    /// SHA-256 of the stored listing, which is compressed with zstd.
    pub listing: Digest,
}

/// Normalization of a disk into an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// True if the same inputs give the same bytes.
    pub reproducible: bool,
    /// Reason why they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// SHA-256 of the table of cleaning rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Digest>,
    /// Number of paths that each rule changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cleaned: BTreeMap<String, u64>,
}

/// A package that is installed in the image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Name of the package.
    pub name: String,
    /// Version that is installed.
    pub version: String,
    /// Architecture, as the package manager names it.
    pub arch: String,
    /// Reason why it is installed.
    pub origin: Origin,
    /// SHA-256 of the package file, if the lock file has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// Reason why a package is in an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It is part of the base.
    Base,
    /// The template names it.
    Declared,
    /// A declared package depends on it.
    Dependency,
}

/// Reason why a manifest is refused.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the message of a variant documents it")]
pub enum ManifestError {
    #[error("this is not a manifest")]
    Form(#[source] serde_json::Error),
    #[error("the manifest has the schema {0:?}, but this karat reads {SCHEMA:?}")]
    #[diagnostic(help("use the version of karat that made it, or a newer one"))]
    Schema(String),
    /// The same content in another form would have a second id.
    #[error("the manifest is not in canonical form")]
    NotCanonical,
    /// The name could not be that of a file or a channel.
    #[error("the manifest has an invalid image name {0:?}")]
    Name(String),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unrepresentable(#[from] Unrepresentable),
}

impl Manifest {
    /// Returns the manifest of these inputs and outputs.
    #[must_use]
    pub fn new(inputs: Inputs, outputs: Outputs) -> Self {
        let schema = SCHEMA.to_owned();
        Self {
            schema,
            inputs,
            outputs,
        }
    }

    /// Returns the canonical bytes, whose digest is the id.
    ///
    /// # Errors
    /// A value cannot be represented in canonical JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Unrepresentable> {
        super::canonical::to_bytes(self)
    }

    /// Parses a manifest strictly: refuses unknown and duplicate keys, and any form but the canonical one.
    ///
    /// # Errors
    /// The bytes are not a canonical manifest of a supported schema.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        /// Parsed first: another version may have other keys.
        #[derive(Deserialize)]
        struct Version {
            schema: String,
        }
        let version: Version = serde_json::from_slice(bytes).map_err(ManifestError::Form)?;
        if version.schema != SCHEMA {
            return Err(ManifestError::Schema(version.schema));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Form)?;
        // This also detects a duplicate key in a map, which parsing drops.
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
pub(crate) mod schema;
#[cfg(test)]
pub(crate) mod tests;
