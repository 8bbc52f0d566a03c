use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use super::root::display_path;
use super::vulnerability::CheckError;
use crate::disk::DiskError;
use crate::disk::read::ReadError;

/// Failure of a check. It never turns into "0 findings".
#[derive(Debug, Error, Diagnostic)]
pub enum ScanError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Read(ReadError),
    #[error("cannot read {what}")]
    #[diagnostic(help(
        "scan as a user with access to every file, such as root: an unread file may hold anything"
    ))]
    NotAllowed { what: String, source: io::Error },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Vulnerability(#[from] CheckError),
    /// A package of the lock file cannot be read.
    #[error("cannot read the package {name}, {}", path.display())]
    #[diagnostic(help("delete the file: the next build fetches the package again"))]
    Package {
        path: PathBuf,
        name: String,
        source: io::Error,
    },
    #[error("cannot compress the explanation of the image's files")]
    Explain(#[source] io::Error),
    #[error("{} has no root file system that karat can scan: found {found}", path.display())]
    #[diagnostic(help(
        "mount it and scan the directory, or use a disk whose root file system is ext4"
    ))]
    NoRoot { path: PathBuf, found: String },
    #[error("{} is not the root of a system: it has no `/etc` and no `/usr`", .0.display())]
    #[diagnostic(help("give the directory that a root file system is unpacked or mounted in"))]
    NotARoot(PathBuf),
    /// A file that a check must read is far larger than any file of its kind.
    #[error("{} is too large to scan: {size} bytes", path.display())]
    #[diagnostic(help("find out what wrote the file, then fix or remove it"))]
    TooLarge { path: PathBuf, size: u64 },
    /// A file that a check must parse is invalid.
    #[error("{}: {problem}", path.display())]
    #[diagnostic(help(
        "a scan without this file would prove nothing; repair the file and scan again"
    ))]
    Damaged { path: PathBuf, problem: String },
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

impl ScanError {
    /// Returns the error that a file of the image is invalid.
    pub fn damaged(path: &[u8], problem: impl Into<String>) -> Self {
        Self::Damaged {
            path: display_path(path),
            problem: problem.into(),
        }
    }
}
