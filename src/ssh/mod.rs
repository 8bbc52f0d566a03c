//! SSH to a machine: connect, run commands, move files. One connection, one session per step.

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
mod proxy;
mod quote;
mod stream;
mod tunnel;
mod upload;

pub(crate) use connect::{Refusal, connect_with};
pub use error::SshError;
pub use quote::quote;
pub use tunnel::{Forward, Stream};

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
    /// A command whose standard input and output lead there, instead of a TCP connection.
    pub proxy: Option<Vec<String>>,
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
pub struct Session {
    handle: connect::Connection,
    /// `user@address:port`, for messages.
    login: String,
    is_root: bool,
    farewell: connect::Farewell,
    forwards: tunnel::Asking,
    /// The connection that this one goes through.
    jump: Option<Box<Session>>,
    /// Cuts the connection when the session is dropped.
    _cut: connect::Cut,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.login)
    }
}

impl Target {
    /// `address:port`, for messages.
    fn place(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    /// `user@address:port`, for messages.
    fn login(&self) -> String {
        format!("{}@{}", self.user, self.place())
    }
}

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
    /// A file, under another name than it has here.
    Named {
        /// The file.
        path: PathBuf,
        /// Its name in a destination that is a directory.
        name: String,
    },
    /// Bytes.
    Bytes(Vec<u8>),
}

/// Connects, trying again until `within` has passed; the error holds the reason of the last failure.
///
/// # Errors
/// Wrong key, changed host key, no answer in time. Dropping the future gives up at once.
pub async fn connect(target: &Target, within: Duration) -> Result<Session, SshError> {
    connect_with(target, within, Refusal::MayPass).await
}

impl Session {
    /// Says goodbye and closes the connection.
    pub async fn close(self) {
        let goodbye = self
            .handle
            .disconnect(russh::Disconnect::ByApplication, "", "");
        // A server that does not listen any more must not hold us up; dropping the session cuts the line anyway.
        let said = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
        if let Ok(Ok(())) = said {
            let _ended = tokio::time::timeout(Duration::from_secs(1), self.handle).await;
        }
    }

    /// Whether the connection is still up.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.handle.is_closed() && self.jump.as_ref().is_none_or(|jump| jump.is_open())
    }
}
