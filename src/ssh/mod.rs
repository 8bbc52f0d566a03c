//! SSH client: connects to a machine, runs commands, transfers files. One connection, one channel per command.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

mod auth;
mod connect;
mod download;
mod error;
mod exec;
mod host_key;
pub mod keys;
mod lines;
mod openssh;
mod proxy;
mod quote;
mod stream;
mod tunnel;
mod upload;

pub(crate) use connect::{RejectedKey, connect_with};
pub use error::SshError;
pub(crate) use lines::MAX_LINE_BYTES;
pub(crate) use openssh::ClientConfig;
pub(crate) use quote::quote;
pub use tunnel::{ForwardedPort, ForwardedStream};

/// Address of a machine and the keys of both sides.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host name or IP address.
    pub address: String,
    /// TCP port of the SSH server.
    pub port: u16,
    /// Login name on the machine.
    pub user: String,
    /// Key with which karat logs in.
    pub auth: Auth,
    /// Key that the host must present.
    pub host_key: crate::plan::HostKey,
    /// Jump host to connect through.
    pub jump: Option<Box<Target>>,
    /// Command whose stdin and stdout replace the TCP connection, as OpenSSH's `ProxyCommand`.
    pub proxy: Option<Vec<String>>,
}

/// Source of the key with which karat logs in.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A private key file (OpenSSH or PEM).
    KeyFile(PathBuf),
    /// The agent at `SSH_AUTH_SOCK`.
    Agent,
}

/// An open SSH connection. Closing it ends the commands that run in it.
pub struct Session {
    handle: connect::Connection,

    login: String,
    is_root: bool,
    farewell: connect::Farewell,
    forwards: tunnel::Asking,
    /// Connection to the jump host that carries this one.
    jump: Option<Box<Session>>,
    /// Closes the connection when the session is dropped.
    _cut: connect::Cut,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.login)
    }
}

impl Target {
    fn place(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    fn login(&self) -> String {
        format!("{}@{}", self.user, self.place())
    }
}

/// Exit status of a remote command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; `None` if a signal killed the command.
    pub code: Option<u32>,
    /// Name of the signal that killed the command, as in `KILL`.
    pub signal: Option<String>,
}

/// A file or directory to upload.
#[derive(Clone, Debug)]
pub struct UploadItem {
    /// Content of the item.
    pub source: UploadContent,
    /// Remote path; a trailing `/` or an existing directory means "into it".
    pub destination: String,
    /// Permission bits of files; `None` means 0755 for an executable source, else 0644. Directories get 0755.
    pub mode: Option<u32>,
    /// Owner of the remote file, `user` or `user:group`.
    pub owner: String,
}

/// Content of an [`UploadItem`].
#[derive(Clone, Debug)]
pub enum UploadContent {
    /// A local file or directory.
    Path(PathBuf),
    /// A local file that gets another name on the machine.
    Named {
        /// Path of the local file.
        path: PathBuf,
        /// File name used if the destination is a directory.
        name: String,
    },
    /// Content held in memory.
    Bytes(Vec<u8>),
}

/// Connects to a machine, with retries until `within` has passed. Dropping the future gives up at once.
///
/// # Errors
/// Fails at once on a bad key or host key, else with the last error when the time is over.
pub async fn connect(target: &Target, within: Duration) -> Result<Session, SshError> {
    connect_with(target, within, RejectedKey::MayBecomeValid).await
}

impl Session {
    /// Disconnects cleanly, within two seconds.
    pub async fn close(self) {
        let goodbye = self
            .handle
            .disconnect(russh::Disconnect::ByApplication, "", "");
        // A dead server must not delay us; dropping the session closes the connection anyway.
        let said = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
        if let Ok(Ok(())) = said {
            let _ended = tokio::time::timeout(Duration::from_secs(1), self.handle).await;
        }
    }

    /// Returns true while the connection, and that to the jump host, is up.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.handle.is_closed() && self.jump.as_ref().is_none_or(|jump| jump.is_open())
    }
}
