//! Errors of lock files.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::SCHEMA;

/// A lock file that cannot be read, written or used.
#[derive(Debug, Error, Diagnostic)]
pub enum LockError {
    #[error("cannot read the lock file {}", path.display())]
    #[diagnostic(help("it is beside the template; `karat lock --update` writes a new one"))]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the lock file {}", path.display())]
    #[diagnostic(help(
        "the lock file is beside the template: make that directory writable, or copy the template"
    ))]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is not a lock file: {reason}", path.display())]
    #[diagnostic(help("restore it from version control, or delete it and run `karat lock`"))]
    Form {
        path: PathBuf,
        /// The problem and its line.
        reason: String,
    },
    #[error("{} has the schema {found:?}, but this karat reads {SCHEMA:?}", path.display())]
    #[diagnostic(help(
        "use the version of karat that wrote it, or delete it and run `karat lock`"
    ))]
    Schema { path: PathBuf, found: String },
    /// `--locked` without a lock file.
    #[error("lock file {} does not exist", .0.display())]
    #[diagnostic(help("run `karat lock {}` and commit the file, or build without `--locked`", template(.0)))]
    Missing(PathBuf),
    /// `--locked` with an outdated lock file.
    #[error("lock file {} does not match this template and base:\n  {}", path.display(), differences.join("\n  "))]
    #[diagnostic(help(
        "run `karat lock {}` and commit the file, or build without `--locked`",
        template(path)
    ))]
    Stale {
        path: PathBuf,
        differences: Vec<String>,
    },
    /// `--locked` for an existing host.
    #[error("an existing host has no lock file: its packages are resolved on every run")]
    #[diagnostic(help("leave `--locked` out, or build an image with `[builder.qemu]`"))]
    NoLock,
    /// `--update` of packages that are not locked.
    #[error("not in the lock file {}: {}", path.display(), names.join(", "))]
    #[diagnostic(help("`karat lock --update` updates all packages"))]
    NotLocked { path: PathBuf, names: Vec<String> },
    /// Paths that are accepted of packages that are not locked.
    #[error("`accept` in [packages] names packages that the lock file {} does not have: {}", path.display(), names.join(", "))]
    #[diagnostic(help(
        "give the package whose scripts make the path; `karat show ID --why PATH` names it"
    ))]
    NotAccepted { path: PathBuf, names: Vec<String> },
}

impl LockError {
    /// Returns the process exit code: 4 for a missing or outdated lock file, 2 for an invalid one.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Missing(_) | Self::Stale { .. } => 4,
            Self::Form { .. }
            | Self::Schema { .. }
            | Self::NoLock
            | Self::NotLocked { .. }
            | Self::NotAccepted { .. } => 2,
            Self::Read { .. } | Self::Write { .. } => 1,
        }
    }
}

/// Returns the path of the template that a lock file belongs to.
fn template(lock: &Path) -> String {
    let lock = lock.display().to_string();
    let stem = lock.strip_suffix(".lock.toml");
    stem.map_or_else(|| lock.clone(), |stem| format!("{stem}.toml"))
}
