//! What a build will do: the template with every value resolved, checked and defaulted.
//!
//! A plan is made without touching any machine; `karat plan` shows exactly what `karat build` does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::digest::Digest;
use crate::secret::Text;
use crate::size::serialize_duration;

pub(crate) mod check;
mod ec2;
mod finish;
mod machine;
pub(crate) mod make;
mod network;
mod packages;
mod policy;
mod publish;
mod salt;
pub(crate) mod secrets;
mod show;
mod step;

pub use ec2::{Ami, Ec2, Interface};
pub use network::{Allow, Network, OnRefused};
pub use policy::{Ignore, Policy, severity};
pub use publish::{BootMode, PublishEc2, is_region};

/// Everything one build needs to know.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Where the template was read, its text and digest.
    pub template: Source,
    /// Name and description of the image.
    pub image: Image,
    /// Variables with the values that this build uses.
    pub variables: BTreeMap<String, String>,
    /// Secrets by name, with where each comes from. Values are read by `build` alone.
    pub secrets: BTreeMap<String, SecretSource>,
    /// The disk to start from. `None` for a builder without a disk (`host`).
    pub base: Option<Base>,
    /// What launches the machine.
    pub builder: Builder,
    /// How the machine is reached.
    pub ssh: Ssh,
    /// What the guest may reach while it is provisioned.
    pub network: Network,
    /// Packages to install and remove.
    pub packages: Packages,
    /// Files to put in place before the first step.
    pub files: Vec<Upload>,
    /// Steps in order; those that `only`/`except` leave out for this builder are gone.
    pub steps: Vec<Step>,
    /// Steps to run when one of `steps` failed, before the machine is destroyed.
    pub on_error: Vec<Step>,
    /// Commands to run in a throw-away boot of the finished image.
    pub tests: Vec<Test>,
    /// How the disk becomes an image.
    pub finish: Finish,
    /// What a scan must not find in the image.
    pub policy: Policy,
    /// The image file to make.
    pub output: Output,
    /// Where the image is put for those who launch it, besides the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<PublishEc2>,
    /// Files and directories of the host that go into the image, by path, with the path as the template has it.
    #[serde(skip)]
    pub sources: BTreeMap<PathBuf, String>,
}

/// A template file as it was read.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// The path that was given.
    pub path: PathBuf,
    /// SHA-256 of the text.
    pub digest: Digest,
    /// The text itself.
    #[serde(skip)]
    pub text: String,
}

/// `[image]`
#[derive(Clone, Debug, Serialize)]
pub struct Image {
    /// `[a-z0-9-]`, names channels and artefacts.
    pub name: String,
    /// Free text.
    pub description: String,
}

/// Where a secret's value comes from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// An environment variable of karat's own.
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
        /// The image.
        path: PathBuf,
        /// Expected digest, when the template names one.
        sha256: Option<Digest>,
    },
    /// A disk image to download.
    Url {
        /// `http`, `https` or `file` URL.
        url: String,
        /// What the download must hash to.
        checksum: Checksum,
    },
    /// A Debian or Ubuntu base made from a package archive with mmdebstrap.
    Bootstrap(Bootstrap),
    /// An image of the store: the beginning of its manifest's id, or the channel that points to it.
    Manifest(String),
    /// An image of EC2.
    Ami(Ami),
}

/// How a download is checked.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// The digest itself.
    Sha256(Digest),
    /// URL of a `SHA256SUMS` file that has a line for the download's file name.
    Sha256Url(String),
}

/// `[base.bootstrap]`
#[derive(Clone, Debug, Serialize)]
pub struct Bootstrap {
    /// `debian` or `ubuntu`.
    pub distribution: String,
    /// Release code name, as in `bookworm`.
    pub suite: String,
    /// Archive to use; `None` takes the machine's own apt sources.
    pub mirror: Option<String>,
    /// Architecture, the builder's.
    pub arch: Arch,
}

/// What launches the machine.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Builder {
    /// A QEMU guest on this host.
    Qemu(Qemu),
    /// An existing host: provisioned the same way, no image.
    Host(Host),
    /// An instance of EC2; the image is a snapshot of its disk.
    Ec2(Box<Ec2>),
}

/// `[builder.qemu]`
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
    /// How the machine boots. Default BIOS on `x86_64`, UEFI on `aarch64`.
    pub firmware: Firmware,
    /// QEMU machine type. Default `q35` on `x86_64`, `virt` on `aarch64`.
    pub machine: String,
    /// KVM, TCG, or the choice left to karat.
    pub accelerator: Accelerator,
    /// More arguments for QEMU, at the end of its command line.
    pub extra_args: Vec<String>,
}

/// How a machine boots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// `SeaBIOS`.
    Bios,
    /// OVMF or AAVMF.
    Uefi,
}

/// What runs the guest's instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    /// KVM where it works, else TCG.
    Auto,
    /// KVM or an error.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// `[builder.host]`
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Name or address.
    pub address: String,
    /// TCP port. Default 22.
    pub port: u16,
    /// How the host proves who it is.
    pub host_key: HostKey,
}

/// How an existing host proves who it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostKey {
    /// This public key, in OpenSSH's one-line form.
    Key(String),
    /// Whatever this `known_hosts` file says. Default `~/.ssh/known_hosts`.
    KnownHosts(PathBuf),
}

/// `[ssh]`
#[derive(Clone, Debug, Serialize)]
pub struct Ssh {
    /// Login name. Default `root`; another user needs passwordless sudo.
    pub user: String,
    /// How long to wait for the first login. Default 5 minutes.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// Private key file; `None` uses the build's own key (qemu) or the agent (host).
    pub key_file: Option<PathBuf>,
    /// Ask the SSH agent (`SSH_AUTH_SOCK`).
    pub agent: bool,
    /// Host ports to choose the forwarded port from, inclusive; `None` lets QEMU's host choose.
    pub ports: Option<(u16, u16)>,
    /// A host to go through.
    pub jump: Option<Jump>,
    /// By which way an instance of EC2 is reached. Default its public address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<Interface>,
}

/// `[ssh.jump]`
#[derive(Clone, Debug, Serialize)]
pub struct Jump {
    /// Name or address.
    pub address: String,
    /// TCP port. Default 22.
    pub port: u16,
    /// Login name there.
    pub user: String,
    /// Private key file; `None` uses the agent.
    pub key_file: Option<PathBuf>,
    /// How the jump host proves who it is.
    pub host_key: HostKey,
}

/// `[packages]`
#[derive(Clone, Debug, Default, Serialize)]
pub struct Packages {
    /// `[packages.apt]`
    pub apt: Option<Apt>,
    /// `[packages.dnf]`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dnf: Option<Dnf>,
}

/// `[packages.apt]`
#[derive(Clone, Debug, Serialize)]
pub struct Apt {
    /// Packages to install, `name` or `name=version`.
    pub install: Vec<String>,
    /// Packages to purge.
    pub remove: Vec<String>,
    /// Install recommended packages too. Default false.
    pub recommends: bool,
    /// Package sources besides those of the base.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
}

/// `[packages.dnf]`
#[derive(Clone, Debug, Serialize)]
pub struct Dnf {
    /// Packages to install, `name` or `name=version`.
    pub install: Vec<String>,
    /// Packages to remove.
    pub remove: Vec<String>,
    /// Install recommended packages (weak dependencies) too. Default false.
    pub recommends: bool,
    /// Package sources besides those of the base.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository>,
}

/// `[[packages.apt.repositories]]`; without suites and components also `[[packages.dnf.repositories]]`.
#[derive(Clone, Debug, Serialize)]
pub struct Repository {
    /// `[a-z0-9-]`, names its files in the image.
    pub name: String,
    /// `http` or `https` URI.
    pub uri: String,
    /// Suites; one that ends with `/` is a path without components.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<String>,
    /// Components of each suite.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// `OpenPGP` key that signs it, armored or binary.
    pub key: Option<PathBuf>,
    /// Believe it without a signature. Default false.
    pub trusted: bool,
    /// Leave it configured in the image. Default true.
    pub keep: bool,
}

/// `[[files]]`, and the `file` step.
#[derive(Clone, Debug, Serialize)]
pub struct Upload {
    /// What to put there.
    pub source: UploadSource,
    /// Absolute path in the guest; a trailing `/` means a directory.
    pub destination: String,
    /// Permission bits; `None` keeps the source's executable bit (0644 or 0755).
    #[serde(serialize_with = "serialize_mode")]
    pub mode: Option<u32>,
    /// Owner, `user` or `user:group`. Default `root:root`.
    pub owner: String,
}

/// Where the bytes of an upload come from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadSource {
    /// A file or directory on the host, absolute.
    Path(PathBuf),
    /// A download.
    Url {
        /// `http` or `https`.
        url: String,
        /// What it must hash to.
        sha256: Digest,
    },
    /// Text written in the template.
    Content(Text),
}

/// One `[[provision]]` or `[[on_error]]` step.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Shown to the user; made from the kind when not given.
    pub name: String,
    /// What the step does.
    pub action: Action,
    /// Longest time one try may take. Default 30 minutes.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// Tries after the first. Default 0.
    pub retries: u32,
    /// Wait before each try.
    #[serde(serialize_with = "serialize_duration")]
    pub pause_before: Duration,
    /// Globs of what the step makes, and accounts (`user:app`, `group:app`); a scan takes them for declared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub creates: Vec<String>,
}

/// What a step does.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Run a script.
    Shell(Shell),
    /// Put a file or directory into the guest.
    File(Upload),
    /// Copy a file or directory out of the guest.
    Download(Download),
    /// Restart the machine and wait for the new boot id.
    Reboot,
    /// Wait.
    Pause(#[serde(serialize_with = "serialize_duration")] Duration),
}

/// A `shell` step.
#[derive(Clone, Debug, Serialize)]
pub struct Shell {
    /// What to run.
    pub script: Script,
    /// Environment, besides `KARAT_VAR_*`.
    pub environment: BTreeMap<String, Text>,
    /// Where to run it. Default: the user's home.
    pub working_directory: Option<String>,
    /// Who runs it. Default root.
    pub user: String,
    /// Exit codes that mean success. Default `[0]`.
    pub exit_codes: Vec<u32>,
    /// The connection may drop without failing the step.
    pub expect_disconnect: bool,
}

/// The text of a shell step.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Script {
    /// A file on the host, absolute. Run as it is when it has a shebang, else with `/bin/sh -eu`.
    Path(PathBuf),
    /// Lines of the template, run with `/bin/sh -eu`.
    Inline(Vec<Text>),
}

/// A `download` step.
#[derive(Clone, Debug, Serialize)]
pub struct Download {
    /// Absolute paths in the guest.
    pub sources: Vec<String>,
    /// File or directory on the host, absolute.
    pub destination: PathBuf,
}

/// A `[[test]]`.
#[derive(Clone, Debug, Serialize)]
pub struct Test {
    /// Shown to the user; the command when not given.
    pub name: String,
    /// Run with `/bin/sh -eu` as root.
    pub command: String,
    /// Longest time it may take. Default 2 minutes.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
}

/// `[finish]`
#[derive(Clone, Debug, Serialize)]
pub struct Finish {
    /// Write the file system anew, the same for the same inputs. Default true.
    pub rebuild: bool,
    /// What goes, besides what karat knows of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<Exception>,
    /// What stays, whatever karat knows of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<Exception>,
}

/// `[[finish.drop]]` or `[[finish.keep]]`
#[derive(Clone, Debug, Serialize)]
pub struct Exception {
    /// Absolute path in the image, or a glob.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// `[output]`
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    /// Format of the image file. Default qcow2.
    pub format: Format,
    /// Also write the image here; must not exist yet unless `--force`.
    pub path: Option<PathBuf>,
}

/// A disk image format that karat writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// QEMU copy on write, zstd-compressed.
    Qcow2,
    /// Plain bytes, sparse.
    Raw,
    /// `VMware`.
    Vmdk,
    /// Microsoft (`vpc` in QEMU).
    Vhd,
}

/// Permission bits the way they are written: `0644`.
#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives a reference to the field"
)]
fn serialize_mode<S: Serializer>(mode: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    match mode {
        Some(bits) => serializer.serialize_some(&format!("{bits:04o}")),
        None => serializer.serialize_none(),
    }
}

impl Arch {
    /// The name in templates and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

impl Firmware {
    /// The name in templates and manifests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        }
    }
}

impl Format {
    /// The name in templates and manifests.
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
    /// Every URL whose digest the template names, with that digest: files that are put into the machine, and what its steps
    /// may get.
    pub fn downloads(&self) -> impl Iterator<Item = (&str, Digest)> {
        let uploads = self.uploads().filter_map(|upload| match &upload.source {
            UploadSource::Url { url, sha256 } => Some((url.as_str(), *sha256)),
            _ => None,
        });
        let allowed = self.network.allow.iter();
        uploads.chain(allowed.filter_map(|allow| Some((allow.url.as_str(), allow.sha256?))))
    }

    /// Every file that is put into the machine, by `[[files]]` or by a step.
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
