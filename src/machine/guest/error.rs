//! Why a guest could not be let in to, or left.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

/// Why a guest cannot be used.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum GuestError {
    /// A file of the run directory could not be written.
    #[error("cannot prepare {}", path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key could not be made or read.
    #[error("cannot prepare the build's SSH keys: {0}")]
    Key(String),
    /// cloud-init did not finish in time.
    #[error("cloud-init did not finish within {within:?}")]
    #[diagnostic(help("raise `ssh.timeout`, or read /var/log/cloud-init-output.log in the guest"))]
    CloudInitSlow {
        /// How long was waited.
        within: Duration,
    },
    /// cloud-init failed.
    #[error("cloud-init failed in the guest: {problems}")]
    CloudInit {
        /// What it says.
        problems: String,
    },
    /// The clean-up of the way in failed.
    #[error("the guest could not be cleaned up: {problem}")]
    CleanUp {
        /// How the script ended, and what it said last.
        problem: String,
    },
}

/// What a child said, for the end of a message.
pub(crate) fn said(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}
