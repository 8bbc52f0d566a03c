//! SSH to a machine: connect, run commands, move files. One connection, one session per step.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ui::Bar;

/// Where to connect and how both sides prove who they are.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name or address.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Login name.
    pub user: String,
    /// How karat proves who it is.
    pub auth: Auth,
    /// What the host must prove.
    pub host_key: crate::plan::HostKey,
    /// A host to go through first.
    pub jump: Option<Box<Target>>,
}

/// How karat proves who it is.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A private key file (OpenSSH or PEM).
    KeyFile(PathBuf),
    /// The agent at `SSH_AUTH_SOCK`.
    Agent,
}

/// An open connection; closing it ends what runs in it.
#[derive(Debug)]
pub struct Session;

/// Why SSH failed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("not written yet")]
pub struct SshError;

/// How a remote command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, unless a signal ended it.
    pub code: Option<u32>,
    /// The signal that ended it, as in `KILL`.
    pub signal: Option<String>,
}

/// One thing to put into the machine.
#[derive(Clone, Debug)]
pub struct Item {
    /// A local file or directory, or bytes in memory.
    pub source: ItemSource,
    /// Remote path; a trailing `/` or an existing directory means "into it".
    pub destination: String,
    /// Permission bits of files; `None` takes 0755 for an executable source, else 0644. Directories get 0755.
    pub mode: Option<u32>,
    /// `user` or `user:group`.
    pub owner: String,
}

/// Where an item's bytes are.
#[derive(Clone, Debug)]
pub enum ItemSource {
    /// A file or directory.
    Path(PathBuf),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Connects, trying again until `within` has passed; the error holds the reason of the last failure.
///
/// # Errors
/// Wrong key, changed host key, no answer in time. Dropping the future gives up at once.
pub async fn connect(_target: &Target, _within: Duration) -> Result<Session, SshError> {
    todo!()
}

impl Session {
    /// Runs a command as root (through `sudo -n` when the login is not root), feeds it `stdin`, and hands each line of stdout and
    /// stderr to `line` as it comes.
    ///
    /// # Errors
    /// The connection dropped. A command that ran and failed is an [`Exit`].
    pub async fn exec(
        &self,
        _command: &str,
        _stdin: &[u8],
        _line: &mut dyn FnMut(&str),
    ) -> Result<Exit, SshError> {
        todo!()
    }

    /// Runs a command as root and returns its stdout; any exit code but 0 is an error with the end of stderr.
    ///
    /// # Errors
    /// As said, and when the connection drops.
    pub async fn output(&self, _command: &str) -> Result<String, SshError> {
        todo!()
    }

    /// Puts files in place as one stream: parents made, contents checked by SHA-256 on the far side, then renamed into place,
    /// so that a broken transfer leaves no half file.
    ///
    /// # Errors
    /// Names the file and the reason (missing, broken link, link loop, disk full, connection dropped).
    pub async fn upload(&self, _items: &[Item], _bar: &Bar) -> Result<(), SshError> {
        todo!()
    }

    /// Copies a remote file or directory to `destination`.
    ///
    /// # Errors
    /// Missing remote path, a server that answers with a path outside, local disk full.
    pub async fn download(
        &self,
        _source: &str,
        _destination: &Path,
        _bar: &Bar,
    ) -> Result<(), SshError> {
        todo!()
    }

    /// Whether the connection is still up.
    #[must_use]
    pub fn is_open(&self) -> bool {
        todo!()
    }
}
