//! Why there is no lock to be had from a file.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use super::SCHEMA;

/// Why a lock cannot be read, written or used.
#[derive(Debug, Error, Diagnostic)]
pub enum LockError {
    /// The file cannot be read.
    #[error("cannot read the lock {}", path.display())]
    #[diagnostic(help("it is beside the template; `karat lock --update` writes a new one"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the lock {}", path.display())]
    #[diagnostic(help(
        "the lock is kept beside the template: make that directory writable, or copy the template"
    ))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No TOML, or not of the right form.
    #[error("{} is not a lock: {reason}", path.display())]
    #[diagnostic(help("take it from version control again, or remove it and run `karat lock`"))]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
    /// The form of another version.
    #[error("{} has the form {found:?}, and this karat reads {SCHEMA:?}", path.display())]
    #[diagnostic(help(
        "use the version of karat that wrote it, or remove it and run `karat lock`"
    ))]
    Schema {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// `--locked`, and there is no lock.
    #[error("there is no lock {}", .0.display())]
    #[diagnostic(help("run `karat lock` and commit the file, or build without `--locked`"))]
    Missing(PathBuf),
    /// `--locked`, and the lock is of something else.
    #[error("the lock {} is not of this template and base:\n  {}", path.display(), differences.join("\n  "))]
    #[diagnostic(help("run `karat lock` and commit the file, or build without `--locked`"))]
    Stale {
        /// The file.
        path: PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// `--locked`, and nothing that has a lock.
    #[error("an existing host has no lock: its packages are resolved anew each time")]
    #[diagnostic(help("leave `--locked` out, or build an image with `[builder.qemu]`"))]
    NoLock,
    /// `--update` of something that is not there.
    #[error("not in the lock {}: {}", path.display(), names.join(", "))]
    #[diagnostic(help("`karat lock --update` without names brings everything up to date"))]
    NotLocked {
        /// The file.
        path: PathBuf,
        /// What is not in it.
        names: Vec<String>,
    },
}

impl LockError {
    /// The exit code: 4 when a lock is asked for and is not the right one, 2 when it cannot be understood.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Missing(_) | Self::Stale { .. } => 4,
            Self::Form { .. } | Self::Schema { .. } | Self::NoLock | Self::NotLocked { .. } => 2,
            Self::Read { .. } | Self::Write { .. } => 1,
        }
    }
}
