//! SSH errors with their causes and advice.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use super::Exit;
use crate::os::tail::said;

/// An error of an SSH connection, command or transfer.
#[derive(Debug, Error, Diagnostic)]
#[expect(
    missing_docs,
    reason = "the messages explain the variants and their fields"
)]
#[non_exhaustive]
pub enum SshError {
    /// The login timed out; the source is the last failure.
    #[error("could not log in to {login} over SSH within {}", seconds(*.within))]
    #[diagnostic(help("raise `ssh.timeout` if the machine just starts slowly"))]
    NoLogin {
        login: String,
        within: Duration,
        source: Box<SshError>,
    },
    #[error("cannot connect to {address}")]
    Unreachable { address: String, source: io::Error },
    #[error("{address} accepts connections, but no SSH server answered within {}", seconds(*.within))]
    Silent { address: String, within: Duration },
    #[error("the SSH handshake with {address} failed")]
    Handshake {
        address: String,
        source: Box<russh::Error>,
    },
    #[error("the SSH server at {address} stopped responding while {doing}")]
    Stalled {
        address: String,
        doing: &'static str,
    },
    #[error("{address} is not the expected host: its key is {found}, but {expected}")]
    #[diagnostic(help(
        "this may be a man-in-the-middle attack; if the host really has a new key, update the expected one"
    ))]
    HostKeyDiffers {
        address: String,
        found: String,
        expected: String,
    },
    #[error("{address} is not in {}", file.display())]
    #[diagnostic(help(
        "its key is {found}. If its owner confirms that, add this line to {}:\n{line}", file.display()
    ))]
    HostUnknown {
        address: String,
        found: String,
        file: PathBuf,
        line: String,
    },
    #[error("{address} uses a revoked key: {found}, see line {line} of {}", file.display())]
    #[diagnostic(help("do not use this host until its owner has replaced the key"))]
    HostKeyRevoked {
        address: String,
        found: String,
        file: PathBuf,
        line: usize,
    },
    /// The expected host key cannot be parsed.
    #[error("{text:?} is not a public host key")]
    #[diagnostic(help("write it as in /etc/ssh/ssh_host_ed25519_key.pub: `ssh-ed25519 AAAA…`"))]
    BadHostKey {
        text: String,
        source: russh::keys::ssh_key::Error,
    },
    #[error("cannot read {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot use the private key {}", path.display())]
    #[diagnostic(help(
        "an unencrypted OpenSSH or PEM private key is expected; for an encrypted one use `ssh.agent = true`"
    ))]
    BadKeyFile {
        path: PathBuf,
        source: Box<russh::keys::Error>,
    },
    #[error("cannot use the SSH agent: {problem}")]
    #[diagnostic(help(
        "start one with `eval $(ssh-agent)` and `ssh-add`, or name a key with `ssh.key_file`"
    ))]
    Agent { problem: String },
    /// Authentication failed. `offered` lists the server's methods, as in `publickey, password`.
    #[error("{address} rejected {tried} for user {user}; the server accepts only: {offered}")]
    #[diagnostic(help("add the public key to `~/.ssh/authorized_keys` of that user"))]
    Refused {
        address: String,
        user: String,
        tried: String,
        offered: String,
    },
    /// The connection to the jump host failed.
    #[error("cannot connect through the jump host {jump}")]
    Jump { jump: String, source: Box<SshError> },
    /// The jump host answers, but cannot open a connection to the target.
    #[error("the jump host {jump} cannot reach {address}")]
    Beyond {
        jump: String,
        address: String,
        source: Box<russh::Error>,
    },
    /// The proxy command failed before the server answered.
    #[error("the proxy command `{command}` failed: {problem}")]
    #[diagnostic(help("run it by hand; it needs the AWS CLI and the Session Manager plugin"))]
    Proxy { command: String, problem: String },
    #[error("the connection to {login} dropped: {reason}")]
    Disconnected { login: String, reason: String },
    #[error("{login} refused to start a command: {reason}")]
    NotStarted { login: String, reason: String },
    #[error("{login} refused to forward a port")]
    #[diagnostic(help("its sshd must allow it: `AllowTcpForwarding yes` in /etc/ssh/sshd_config"))]
    NoForward { login: String },
    /// A command exited with an error; `stderr` is the end of its output.
    #[error("`{command}` {exit}{}", said(.stderr))]
    Failed {
        command: String,
        exit: Exit,
        stderr: String,
    },
    #[error("cannot send {}", path.display())]
    Source { path: PathBuf, source: io::Error },
    #[error("cannot send {}: {problem}", path.display())]
    #[diagnostic(help(
        "links are followed, and only files and directories can be sent; fix or remove it"
    ))]
    Unsendable { path: PathBuf, problem: String },
    /// The remote side could not store the files.
    #[error("the upload to {destination} failed: {reason}")]
    #[diagnostic(help("no partial file was left there"))]
    Upload {
        destination: String,
        reason: String,
        /// Index of the item that failed, if the remote side named it.
        item: Option<usize>,
    },
    /// The remote side could not read the path.
    #[error("cannot download {path}: {reason}")]
    Download { path: String, reason: String },
    /// The server sent a path outside the requested one, or an unexpected file type.
    #[error("rejected the server's data for {path}: {problem}")]
    #[diagnostic(help(
        "a well-behaved server never sends this; nothing was written outside the destination"
    ))]
    Hostile { path: String, problem: String },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl SshError {
    /// Returns true if a retry cannot succeed.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::HostKeyDiffers { .. }
            | Self::HostUnknown { .. }
            | Self::HostKeyRevoked { .. }
            | Self::BadHostKey { .. }
            | Self::Unreadable { .. }
            | Self::BadKeyFile { .. }
            | Self::Agent { .. } => true,
            Self::Jump { source, .. } => source.is_final(),
            _ => false,
        }
    }

    /// Returns true if the server rejected our key.
    pub(super) fn is_rejection(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Jump { source, .. } => source.is_rejection(),
            _ => false,
        }
    }
}

/// Formats a duration: `300ms`, `2.5s`, `300s`.
fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1000 => format!("{millis}ms"),
        millis if millis % 1000 == 0 => format!("{}s", duration.as_secs()),
        _ => format!("{:.1}s", duration.as_secs_f64()),
    }
}
