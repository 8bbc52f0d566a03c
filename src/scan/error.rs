use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use super::vulnerability::CheckError;
use crate::disk::DiskError;
use crate::disk::read::ReadError;

/// Why a scan cannot do its work. It never turns into "0 findings".
#[derive(Debug, Error, Diagnostic)]
pub enum ScanError {
    /// The disk or directory cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Read(ReadError),
    /// Whoever scans may not read all of it.
    #[error("cannot read {what}")]
    #[diagnostic(help(
        "scan as a user who may read everything, as root: what is not read may hold anything"
    ))]
    NotAllowed {
        /// The file.
        what: String,
        /// What the host says.
        source: io::Error,
    },
    /// The image is in a container that cannot be opened.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    /// Vulnerabilities cannot be checked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Vulnerability(#[from] CheckError),
    /// There is nothing to scan on a disk.
    #[error("{} has {found}: there is no root file system that karat can scan", path.display())]
    #[diagnostic(help(
        "mount it on a machine that can, and scan the directory; or give a disk whose root is ext4"
    ))]
    NoRoot {
        /// The image.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A file that a check must read is far larger than any of its kind.
    #[error("{} has {size} bytes, more than any file of its kind", path.display())]
    #[diagnostic(help("look at what wrote it, and mend or remove it"))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// A file that a check must understand is damaged.
    #[error("{}: {problem}", path.display())]
    #[diagnostic(help(
        "a scan that cannot read it would prove nothing; mend the file, and scan again"
    ))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl From<ReadError> for ScanError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io { what, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                Self::NotAllowed { what, source }
            }
            error => Self::Read(error),
        }
    }
}
