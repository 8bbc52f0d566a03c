//! Errors of launched guests.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

/// Failure to prepare a guest or to clean it up.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum GuestError {
    #[error("cannot prepare {}", path.display())]
    Prepare { path: PathBuf, source: io::Error },
    #[error("cannot prepare the build's SSH keys: {0}")]
    Key(String),
    #[error("cloud-init did not finish within {within:?}")]
    #[diagnostic(help("raise `ssh.timeout`, or read /var/log/cloud-init-output.log in the guest"))]
    CloudInitSlow { within: Duration },
    #[error("cloud-init failed in the guest: {problems}")]
    CloudInit { problems: String },
    #[error("the guest could not be cleaned up: {problem}")]
    CleanUp {
        /// Exit status of the script, with its last line of output.
        problem: String,
    },
}
