//! Plan of a build: the template with every value resolved, checked and defaulted.
//!
//! Making a plan touches no machine. `karat plan` shows exactly what `karat build` will do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::digest::Digest;
use crate::record::manifest::Creates;
use crate::secret::Text;
use crate::size::serialize_duration;

mod base_disk;
pub(crate) mod check;
mod creates;
mod ec2;
mod expressions;
mod finish;
mod glob;
mod lint;
mod load;
mod machine;
pub(crate) mod make;
mod nearby_templates;
mod network;
mod packages;
mod place;
mod policy;
mod publish;
pub(crate) mod secrets;
mod show;
mod step;
mod suites;

pub use base_disk::BaseInspection;
pub(crate) use base_disk::{INSTALLER_HELP, SYSTEM_DISK_HELP, grow_help};
pub(crate) use check::is_plain_name;
pub use ec2::{Ami, Ec2, Interface};
pub use lint::LintWarning;
pub use load::{Inputs, LoadError, load, publication, recorded_machine, template_of_lock};
pub(crate) use machine::default_machine;
pub use nearby_templates::nearby_templates;
pub use network::{AllowedUrl, Network, OnRefused};
pub use packages::{PackageSet, Repository};
pub use place::Place;
pub use policy::{DatabaseUpdates, Ignore, Policy, severity};
pub use publish::{BootMode, PublishEc2, is_region};

/// All inputs of one build.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Path, text and digest of the template.
    pub template: TemplateSource,
    /// Name and description of the image.
    pub image: Image,
    /// Values of the variables.
    pub variables: BTreeMap<String, String>,
    /// Origins of the secrets by name. Only `build` reads their values.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Disk to start from. `None` for a builder without a disk (`host`).
    pub base: Option<Base>,
    /// Kind of machine and its settings.
    pub builder: Builder,
    /// SSH connection to the machine.
    pub ssh: Ssh,
    /// Network access of the guest during provisioning.
    pub network: Network,
    /// Packages to install and remove.
    #[serde(serialize_with = "packages::serialize")]
    pub packages: Option<PackageSet>,
    /// Files to upload before the first step.
    pub files: Vec<Upload>,
    /// Steps in order, without those that `only` or `except` exclude for this builder.
    pub steps: Vec<Step>,
    /// Steps and steps of `on_error` that `only` or `except` exclude for this builder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutStep>,
    /// Steps to run after one of `steps` has failed, before the machine is destroyed.
    pub on_error: Vec<Step>,
    /// Commands to run in a temporary boot of the finished image.
    pub tests: Vec<Test>,
    /// Cleanup and normalization of the disk.
    pub finish: Finish,
    /// Findings that fail a scan of the image.
    pub policy: Policy,
    /// Format and path of the image file.
    pub output: Output,
    /// Cloud to publish the image to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<PublishEc2>,
    /// Host files and directories that go into the image: absolute path -> path in the template.
    #[serde(skip)]
    pub sources: BTreeMap<PathBuf, String>,
}

/// A template file as read.
#[derive(Clone, Debug, Serialize)]
pub struct TemplateSource {
    /// Path as given by the user.
    pub path: PathBuf,
    /// SHA-256 of the text.
    pub digest: Digest,
    /// Content of the file.
    #[serde(skip)]
    pub text: String,
}

/// Settings from the `[image]` table.
#[derive(Clone, Debug, Serialize)]
pub struct Image {
    /// Matches `[a-z0-9-]+`; names channels and artefacts.
    pub name: String,
    /// Free text for `karat show`.
    pub description: String,
}

/// Origin of a secret's value.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// A variable in karat's environment.
    Env(String),
    /// A file; one trailing newline is dropped.
    File(PathBuf),
}

/// Processor architecture of the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// 64-bit x86 (Debian: amd64).
    X86_64,
    /// 64-bit Arm (Debian: arm64).
    Aarch64,
}

/// The disk that a build starts from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// A local disk image in any format that qemu-img reads.
    File {
        /// Absolute path of the disk image.
        path: PathBuf,
        /// Expected digest, if the template gives one.
        sha256: Option<Digest>,
    },
    /// A disk image to download.
    Url {
        /// An `http`, `https` or `file` URL.
        url: String,
        /// Expected digest of the download.
        checksum: Checksum,
    },
    /// A Debian or Ubuntu disk built from a package archive with mmdebstrap.
    Bootstrap(Bootstrap),
    /// An image of the store, by a prefix of its manifest id or by channel.
    Manifest(String),
    /// An Amazon Machine Image.
    Ami(Ami),
}

/// Expected digest of a download.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// Digest in the template.
    Sha256(Digest),
    /// URL of a `SHA256SUMS` file that has a line for the download's file name.
    Sha256Url(String),
}

/// Settings from the `[base.bootstrap]` table.
#[derive(Clone, Debug, Serialize)]
pub struct Bootstrap {
    /// Either `debian` or `ubuntu`.
    pub distribution: String,
    /// Release code name, as in `bookworm`.
    pub suite: String,
    /// Package archive; `None` uses the host's own apt sources.
    pub mirror: Option<String>,
    /// Architecture of the builder.
    pub arch: Arch,
}

/// Kind of machine that a build provisions.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Builder {
    /// A QEMU guest on this host.
    Qemu(Qemu),
    /// An existing host: provisioned the same way, but gives no image.
    Host(Host),
    /// An EC2 instance; the image is a snapshot of its disk.
    Ec2(Box<Ec2>),
}

/// Settings from the `[builder.qemu]` table.
#[derive(Clone, Debug, Serialize)]
pub struct Qemu {
    /// Architecture of the guest. Default: the host's.
    pub arch: Arch,
    /// Virtual processors. Default 2.
    pub cpus: u32,
    /// Memory in bytes. Default 1 GiB.
    pub memory: u64,
    /// Size of the disk in bytes; `None` keeps the base's.
    pub disk_size: Option<u64>,
    /// Boot firmware. Default BIOS on `x86_64`, UEFI on `aarch64`.
    pub firmware: Firmware,
    /// QEMU machine type. Default `q35` on `x86_64`, `virt` on `aarch64`.
    pub machine: String,
    /// KVM, TCG, or karat's choice of the two.
    pub accelerator: Accelerator,
    /// Arguments appended to QEMU's command line.
    pub extra_args: Vec<String>,
}

/// Boot firmware of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// `SeaBIOS`, on x86 only.
    Bios,
    /// OVMF on x86, AAVMF on Arm.
    Uefi,
}

/// Accelerator that QEMU runs the guest with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    /// KVM if it works, else TCG.
    Auto,
    /// KVM, with an error if it does not work.
    Kvm,
    /// Software emulation, without KVM.
    Tcg,
}

/// Settings from the `[builder.host]` table.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Host name or IP address.
    pub address: String,
    /// TCP port. Default 22.
    pub port: u16,
    /// Key that the host must present.
    pub host_key: HostKey,
}

/// Expected host key of an existing host.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostKey {
    /// This public key, in OpenSSH's one-line form.
    Key(String),
    /// Keys in this `known_hosts` file. Default `~/.ssh/known_hosts`.
    KnownHosts(PathBuf),
}

/// Settings from the `[ssh]` table.
#[derive(Clone, Debug, Serialize)]
pub struct Ssh {
    /// Login name. Default `root`; another user needs passwordless sudo.
    pub user: String,
    /// Limit for the first login. Default 5 minutes.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// Private key file; `None` uses the build's own key (qemu) or the agent (host).
    pub key_file: Option<PathBuf>,
    /// Ask the SSH agent (`SSH_AUTH_SOCK`).
    pub agent: bool,
    /// Inclusive range for the forwarded host port; `None` lets the host choose.
    pub ports: Option<(u16, u16)>,
    /// Jump host to connect through.
    pub jump: Option<Jump>,
    /// Address type or service to reach an EC2 instance. Default its public address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<Interface>,
}

/// Settings from the `[ssh.jump]` table.
#[derive(Clone, Debug, Serialize)]
pub struct Jump {
    /// Host name or IP address.
    pub address: String,
    /// TCP port. Default 22.
    pub port: u16,
    /// Login name on the jump host.
    pub user: String,
    /// Private key file; `None` uses the agent.
    pub key_file: Option<PathBuf>,
    /// Key that the host must present.
    pub host_key: HostKey,
}

/// A table of `[[files]]`, or a `file` step.
#[derive(Clone, Debug, Serialize)]
pub struct Upload {
    /// Source of the content.
    pub source: UploadSource,
    /// Absolute path in the guest; a trailing `/` means a directory.
    pub destination: String,
    /// Permission bits; `None` means 0755 for an executable source, else 0644.
    #[serde(serialize_with = "serialize_mode")]
    pub mode: Option<u32>,
    /// Owner as `user` or `user:group`. Default `root:root`.
    pub owner: String,
    /// Place in the template.
    #[serde(skip)]
    pub place: Place,
}

/// Source of an upload's content.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadSource {
    /// Absolute path of a file or directory on the host.
    Path(PathBuf),
    /// A file that the host downloads.
    Url {
        /// An `http` or `https` URL.
        url: String,
        /// SHA-256 digest that the file must have.
        sha256: Digest,
    },
    /// Text in the template.
    Content(Text),
}

/// A step that does not run on the plan's builder. Written to JSON as its name.
#[derive(Clone, Debug, Serialize)]
#[serde(into = "String")]
pub struct LeftOutStep {
    /// Name for the user.
    pub name: String,
    /// Condition that excludes it, such as `only ec2`.
    pub reason: String,
}

impl From<LeftOutStep> for String {
    fn from(step: LeftOutStep) -> Self {
        step.name
    }
}

/// One `[[provision]]` or `[[on_error]]` step.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Name for the user. Default: derived from the action.
    pub name: String,
    /// Kind of the step and its settings.
    pub action: Action,
    /// Limit for each try. Default 30 minutes.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// Number of retries. Default 0.
    pub retries: u32,
    /// Pause before each try.
    #[serde(serialize_with = "serialize_duration")]
    pub pause_before: Duration,
    /// Globs of created paths, and accounts (`user:app`, `group:app`). A scan counts them as declared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub creates: Vec<Creates>,
    /// Place in the template.
    #[serde(skip)]
    pub place: Place,
}

/// Action of a step.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Runs a script in the guest.
    Shell(Shell),
    /// Copies a file or directory into the guest.
    File(Upload),
    /// Copies files or directories out of the guest.
    Download(Download),
    /// Restarts the machine and waits for a new boot id.
    Reboot,
    /// Waits for a fixed time.
    Pause(#[serde(serialize_with = "serialize_duration")] Duration),
}

/// Settings of a `shell` step.
#[derive(Clone, Debug, Serialize)]
pub struct Shell {
    /// Script to run in the guest.
    pub script: Script,
    /// Environment variables in addition to `KARAT_VAR_*`.
    pub environment: BTreeMap<String, Text>,
    /// Absolute path in the guest. Default: the user's home.
    pub working_directory: Option<String>,
    /// User that runs the script. Default root.
    pub user: String,
    /// Exit codes that mean success. Default `[0]`.
    pub exit_codes: Vec<u32>,
    /// Lets the connection drop without failing the step.
    pub expect_disconnect: bool,
}

/// Script of a shell step.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Script {
    /// Absolute path on the host. Runs with `/bin/sh -eu` unless it has a shebang.
    Path(PathBuf),
    /// Lines of the template. They run with `/bin/sh -eu`.
    Inline(Vec<Text>),
}

/// Settings of a `download` step.
#[derive(Clone, Debug, Serialize)]
pub struct Download {
    /// Absolute paths in the guest.
    pub sources: Vec<String>,
    /// Absolute path of a file or directory on the host.
    pub destination: PathBuf,
}

/// A table of `[[test]]`.
#[derive(Clone, Debug, Serialize)]
pub struct Test {
    /// Name for the user. Default: the command.
    pub name: String,
    /// Command to run with `/bin/sh -eu` as root.
    pub command: String,
    /// Limit for the command. Default 2 minutes.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// Place in the template.
    #[serde(skip)]
    pub place: Place,
}

/// Settings from the `[finish]` table.
#[derive(Clone, Debug, Serialize)]
pub struct Finish {
    /// Rewrite the file system, so that the same inputs give the same bytes. Default true.
    pub rebuild: bool,
    /// Paths to delete in addition to those that karat cleans up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<PathException>,
    /// Paths to keep although karat would clean them up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<PathException>,
}

/// A table of `[[finish.drop]]` or `[[finish.keep]]`.
#[derive(Clone, Debug, Serialize)]
pub struct PathException {
    /// Absolute path or glob in the image.
    pub path: String,
    /// Reason for readers of the template.
    pub reason: String,
}

/// Settings from the `[output]` table.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    /// Format of the image file. Default qcow2.
    pub format: Format,
    /// Path of an additional copy of the image; must not exist unless `--force` is given.
    pub path: Option<PathBuf>,
}

/// A disk image format that karat writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// QEMU's format, with zstd compression.
    Qcow2,
    /// Raw bytes in a sparse file.
    Raw,
    /// VMDK, the format of `VMware`.
    Vmdk,
    /// VHD, the format of Microsoft's older hypervisors (`vpc` in QEMU).
    Vhd,
}

/// Serializes permission bits as in `0644`.
#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives a reference to the field"
)]
fn serialize_mode<S: Serializer>(mode: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    let mode = mode.map(|bits| format!("{bits:04o}"));
    mode.serialize(serializer)
}

impl Arch {
    /// Returns the architecture of this host.
    #[must_use]
    pub fn of_host() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Aarch64
        } else {
            Self::X86_64
        }
    }

    /// Returns the name in templates and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

impl Firmware {
    /// Returns the name in templates and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        }
    }
}

impl Format {
    /// Returns the name in templates and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Vmdk => "vmdk",
            Self::Vhd => "vhd",
        }
    }
}

impl Plan {
    /// Returns every URL with a digest in the template: uploads, and the URLs that steps may fetch.
    pub fn downloads(&self) -> impl Iterator<Item = (&str, Digest)> {
        let uploads = self.uploads().filter_map(|upload| match &upload.source {
            UploadSource::Url { url, sha256 } => Some((url.as_str(), *sha256)),
            _ => None,
        });
        let allowed = self.network.allow.iter();
        uploads.chain(allowed.filter_map(|allow| Some((allow.url.as_str(), allow.sha256?))))
    }

    /// Returns every upload, by `[[files]]` or by a step.
    pub fn uploads(&self) -> impl Iterator<Item = &Upload> {
        let steps = self
            .steps
            .iter()
            .chain(&self.on_error)
            .filter_map(|step| match &step.action {
                Action::File(upload) => Some(upload),
                _ => None,
            });
        self.files.iter().chain(steps)
    }
}
