//! Why SSH failed: what, why, and how to mend it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use super::Exit;

/// Why SSH failed.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum SshError {
    /// The time for logging in ran out; the source is the last failure.
    #[error("no SSH login at {login} within {}", seconds(*.within))]
    #[diagnostic(help("raise `ssh.timeout` if the machine is only slow to start"))]
    NoLogin {
        /// `user@address:port`.
        login: String,
        /// How long was waited.
        within: Duration,
        /// The last failure.
        source: Box<SshError>,
    },
    /// TCP did not connect.
    #[error("cannot connect to {address}")]
    Unreachable {
        /// `address:port`.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The port is open, but nothing was said.
    #[error("{address} accepts connections, but no SSH server answered within {}", seconds(*.within))]
    Silent {
        /// `address:port`.
        address: String,
        /// How long was waited.
        within: Duration,
    },
    /// The handshake failed.
    #[error("the SSH handshake with {address} failed")]
    Handshake {
        /// `address:port`.
        address: String,
        /// Why.
        source: Box<russh::Error>,
    },
    /// The server greeted, then fell silent.
    #[error("the SSH server at {address} fell silent while {doing}")]
    Stalled {
        /// `address:port`.
        address: String,
        /// What was being done.
        doing: &'static str,
    },
    /// The host is not who it should be.
    #[error("{address} is not the expected host: its key is {found}, but {expected}")]
    #[diagnostic(help(
        "someone may be in between. If the host was really given a new key, correct the expected one"
    ))]
    HostKeyDiffers {
        /// `address:port`.
        address: String,
        /// Algorithm and fingerprint of the key shown.
        found: String,
        /// What was expected, and who says so.
        expected: String,
    },
    /// Nothing is known about the host.
    #[error("{address} is not in {}", file.display())]
    #[diagnostic(help(
        "its key is {found}. If its owner confirms that, add this line to {}:\n{line}", file.display()
    ))]
    HostUnknown {
        /// `address:port`.
        address: String,
        /// Algorithm and fingerprint of the key shown.
        found: String,
        /// The `known_hosts` file.
        file: PathBuf,
        /// The line that would make it known.
        line: String,
    },
    /// The host's key is marked as revoked.
    #[error("{address} uses a revoked key: {found}, see line {line} of {}", file.display())]
    #[diagnostic(help("do not use this host until its owner has given it a new key"))]
    HostKeyRevoked {
        /// `address:port`.
        address: String,
        /// Algorithm and fingerprint of the key shown.
        found: String,
        /// The `known_hosts` file.
        file: PathBuf,
        /// Where in it.
        line: usize,
    },
    /// The expected host key makes no sense.
    #[error("{text:?} is not a public host key")]
    #[diagnostic(help("write it as in /etc/ssh/ssh_host_ed25519_key.pub: `ssh-ed25519 AAAA…`"))]
    BadHostKey {
        /// What was given.
        text: String,
        /// Why.
        source: russh::keys::ssh_key::Error,
    },
    /// A file that is needed for logging in cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A private key that cannot be used.
    #[error("cannot use the private key {}", path.display())]
    #[diagnostic(help(
        "an unencrypted OpenSSH or PEM private key is expected; for an encrypted one use `ssh.agent = true`"
    ))]
    BadKeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<russh::keys::Error>,
    },
    /// The agent is missing or does not answer.
    #[error("the SSH agent cannot be used: {problem}")]
    #[diagnostic(help(
        "start one with `eval $(ssh-agent)` and `ssh-add`, or name a key with `ssh.key_file`"
    ))]
    Agent {
        /// What is wrong.
        problem: String,
    },
    /// The server does not let us in.
    #[error("{address} refused to let {user} in with {tried}; the server allows only: {offered}")]
    #[diagnostic(help("add the public key to `~/.ssh/authorized_keys` of that user"))]
    Refused {
        /// `address:port`.
        address: String,
        /// Login name.
        user: String,
        /// What was tried.
        tried: String,
        /// The methods that the server offered, as in `publickey, password`.
        offered: String,
    },
    /// The way through the jump host failed.
    #[error("cannot go through the jump host {jump}")]
    Jump {
        /// `user@address:port`.
        jump: String,
        /// Why.
        source: Box<SshError>,
    },
    /// The jump host is fine, but does not get further.
    #[error("the jump host {jump} cannot reach {address}")]
    Beyond {
        /// `user@address:port`.
        jump: String,
        /// `address:port`.
        address: String,
        /// Why.
        source: Box<russh::Error>,
    },
    /// The command that should lead there does not.
    #[error("`{command}` opens no way: {problem}")]
    #[diagnostic(help("run it by hand; it needs the AWS CLI and the Session Manager plugin"))]
    Proxy {
        /// The command.
        command: String,
        /// What it said.
        problem: String,
    },
    /// The connection was lost.
    #[error("the connection to {login} dropped: {reason}")]
    Disconnected {
        /// `user@address:port`.
        login: String,
        /// What is known about it.
        reason: String,
    },
    /// The server does not run commands for us.
    #[error("{login} refused to start a command: {reason}")]
    NotStarted {
        /// `user@address:port`.
        login: String,
        /// Why.
        reason: String,
    },
    /// The server does not open ports for us.
    #[error("{login} refused to forward a port")]
    #[diagnostic(help("its sshd must allow it: `AllowTcpForwarding yes` in /etc/ssh/sshd_config"))]
    NoForward {
        /// `user@address:port`.
        login: String,
    },
    /// A command whose output was needed failed.
    #[error("`{command}` {exit}{}", tail(.stderr))]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        exit: Exit,
        /// The end of its stderr.
        stderr: String,
    },
    /// A local file to send cannot be read.
    #[error("cannot send {}", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A local file to send is not what can be sent.
    #[error("cannot send {}: {problem}", path.display())]
    #[diagnostic(help(
        "links are followed, and only files and directories can be sent: mend or remove it"
    ))]
    Unsendable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The far side could not put things in place.
    #[error("the upload to {destination} failed: {reason}")]
    #[diagnostic(help("nothing half-written was left there"))]
    Upload {
        /// Remote path, or how many.
        destination: String,
        /// What the far side said.
        reason: String,
    },
    /// The far side could not read what was asked for.
    #[error("cannot download {path}: {reason}")]
    Download {
        /// Remote path.
        path: String,
        /// What the far side said.
        reason: String,
    },
    /// The server sent what was not asked for.
    #[error("refused what the server sent for {path}: {problem}")]
    #[diagnostic(help(
        "an honest server does not send this; nothing was written outside the destination"
    ))]
    Hostile {
        /// Remote path.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// A local file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SshError {
    /// Whether trying again cannot help.
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

    /// Whether the server did not accept our key.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Jump { source, .. } => source.is_refusal(),
            _ => false,
        }
    }
}

/// A duration for people: `300ms`, `2.5s`, `300s`.
fn seconds(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1000 => format!("{millis}ms"),
        millis if millis % 1000 == 0 => format!("{}s", duration.as_secs()),
        _ => format!("{:.1}s", duration.as_secs_f64()),
    }
}

fn tail(stderr: &str) -> String {
    match stderr.trim_end() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}
