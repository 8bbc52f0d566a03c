//! Errors of disk images and of `qemu-img`.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::read::AMBIGUOUS_HELP;
use crate::os::requirement::MissingPrograms;
use crate::plan::{INSTALLER_HELP, SYSTEM_DISK_HELP, grow_help};
use crate::size::show_size;

/// An image file that cannot be inspected, converted or written.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages document the variants")]
#[non_exhaustive]
pub enum DiskError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    MissingPrograms(#[from] MissingPrograms),
    #[error("`qemu-img {action}` failed for {}: {problem}", path.display())]
    Failed {
        action: &'static str,
        path: PathBuf,
        /// The end of its stderr.
        problem: String,
    },
    #[error("`qemu-img {action}` failed for {}: no space left", path.display())]
    #[diagnostic(help(
        "free some space there, or choose another cache directory with KARAT_CACHE"
    ))]
    Full { action: &'static str, path: PathBuf },
    #[error("cannot run `qemu-img {action}`")]
    Run {
        action: &'static str,
        source: io::Error,
    },
    #[error("cannot parse the output of qemu-img for {}", path.display())]
    Answer {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not a disk image", .0.display())]
    #[diagnostic(help("give a qcow2, raw, vmdk or vhd file; unpack a compressed one first"))]
    NotADisk(PathBuf),
    #[error("{} is an ISO image, as installers are", .0.display())]
    #[diagnostic(help("{}", INSTALLER_HELP))]
    Iso(PathBuf),
    #[error("{} has neither a boot sector nor a partition table", .0.display())]
    #[diagnostic(help("{}; it must be a whole disk, not a partition", SYSTEM_DISK_HELP))]
    NotBootable(PathBuf),
    #[error("{} has no root file system: no partition has `/etc` and `/usr`", .0.display())]
    #[diagnostic(help("{}", SYSTEM_DISK_HELP))]
    NoRoot(PathBuf),
    /// The digest of such an image would not cover the other file.
    #[error("{} is not a whole disk: it needs {other}", path.display())]
    #[diagnostic(help("make it standalone: `qemu-img convert -O qcow2 {} standalone.qcow2`", path.display()))]
    NotStandalone { path: PathBuf, other: String },
    /// The digest of such an image would cover content that no check has read.
    #[error("{} holds more than its disk: {what}", path.display())]
    #[diagnostic(help(
        "it would leave this host unseen with each copy of the image; make a clean copy: `qemu-img convert -O qcow2 {} clean.qcow2`",
        path.display()
    ))]
    HiddenContent { path: PathBuf, what: String },
    #[error("the partition table of {} can be read in several ways: {problem}", path.display())]
    #[diagnostic(help("{}", AMBIGUOUS_HELP))]
    Ambiguous { path: PathBuf, problem: String },
    #[error("`disk_size` is {}, less than the {} of the base's disk", show_size(*wanted), show_size(*base))]
    #[diagnostic(help("{}", grow_help(*base)))]
    TooSmall { wanted: u64, base: u64 },
    #[error("cannot write the image {}", path.display())]
    #[diagnostic(help("free some space there, or choose another path"))]
    Write { path: PathBuf, source: io::Error },
    #[error("{} already exists", path.display())]
    #[diagnostic(help("move it away, or choose another path"))]
    Exists { path: PathBuf },
}

impl DiskError {
    /// Returns the process exit code: 2 for a file that cannot be used.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotADisk(_)
            | Self::Iso(_)
            | Self::NotBootable(_)
            | Self::NoRoot(_)
            | Self::NotStandalone { .. }
            | Self::HiddenContent { .. }
            | Self::Ambiguous { .. }
            | Self::TooSmall { .. } => 2,
            _ => 1,
        }
    }

    pub(super) fn read(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            Self::Read { path, source }
        }
    }

    pub(super) fn write(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            Self::Write { path, source }
        }
    }
}
