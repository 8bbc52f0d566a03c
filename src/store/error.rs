//! Errors of the store.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::RevokedImage;
use super::retention::{self, HeldImages};
use crate::digest::Digest;
use crate::record::attestation::AttestError;
use crate::record::audit::AuditError;
use crate::record::channel::{ChannelError, ChannelName, InvalidChannelName};
use crate::record::manifest::{IdPrefix, ManifestError, ManifestId, Unrepresentable};

/// Failure of a store operation.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the message of a variant documents it")]
pub enum StoreError {
    #[error("cannot locate the store: neither XDG_DATA_HOME nor HOME is set")]
    #[diagnostic(help("give its directory with `--store` or KARAT_STORE"))]
    NoPlace,
    #[error("cannot {action} {}", path.display())]
    #[diagnostic(help(
        "check its permissions and free space, or use another store with `--store`"
    ))]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} is not a store", .0.display())]
    #[diagnostic(help(
        "name the directory of a store with `--store` or KARAT_STORE; a new store needs a new or empty directory"
    ))]
    NotAStore(PathBuf),
    #[error("no image {text:?} in the store at {}", store.display())]
    #[diagnostic(help("{}", no_image_help(nearest.as_deref())))]
    Unknown {
        text: String,
        store: PathBuf,
        /// Name or channel that is similar to `text`.
        nearest: Option<String>,
    },
    #[error("{prefix} is ambiguous: it may be {}", list(matches))]
    #[diagnostic(help("give more digits"))]
    Ambiguous {
        prefix: IdPrefix,
        matches: Vec<ManifestId>,
    },
    #[error("{} was changed after it was stored: its digest is now {actual}", path.display())]
    #[diagnostic(help(
        "the file name is the SHA-256 of the original content; restore it from a backup, or delete it and build again"
    ))]
    Tampered { path: PathBuf, actual: Digest },
    /// The file has the expected digest, but its content cannot be parsed.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("{}", unreadable_help(source)))]
    Unreadable {
        path: PathBuf,
        source: ManifestError,
    },
    #[error("channel file {} failed verification", path.display())]
    #[diagnostic(help(
        "restore it from a backup; each move carries the digest of the move before, so an edit breaks the chain"
    ))]
    Channel { path: PathBuf, source: ChannelError },
    #[error("{} failed verification", path.display())]
    #[diagnostic(help(
        "restore it from a backup, or move it elsewhere as evidence: the next change then starts a new log"
    ))]
    Audit { path: PathBuf, source: AuditError },
    #[error("cannot read the attestation {}", path.display())]
    #[diagnostic(help("it was written by another version of karat, or by hand"))]
    Attestation { path: PathBuf, source: AttestError },
    /// Another process moved the channel first.
    #[error("channel {name} was moved meanwhile: move {number} by {by}")]
    #[diagnostic(help("see `karat history {name}` and decide again; nothing was changed"))]
    Moved {
        name: ChannelName,
        by: String,
        number: u64,
    },
    #[error("{invalid}")]
    #[diagnostic(help("{}", not_a_channel_help(invalid, similar)))]
    NotAChannel {
        invalid: InvalidChannelName,
        /// Channels that the text may mean.
        similar: Vec<ChannelName>,
    },
    #[error("no channel {name} in the store")]
    #[diagnostic(help("{}", no_channel_help(name, nearest.as_ref())))]
    NoChannel {
        name: ChannelName,
        /// Existing channel with a similar name.
        nearest: Option<ChannelName>,
    },
    #[error("other users can write to {} (mode {mode:04o})", path.display())]
    #[diagnostic(help(
        "run `chmod -R go-w` on the store, and check that it was not changed with `karat verify`"
    ))]
    Writable { path: PathBuf, mode: u32 },
    #[error("{} belongs to another user (uid {owner})", path.display())]
    #[diagnostic(help("use the store as its owner, or make it yours with `chown -R`"))]
    Foreign { path: PathBuf, owner: u32 },
    /// The second field tells how to proceed in spite of the revocation.
    #[error("{} was revoked by {} on {}: {}", .0.id.short(), .0.revocation.by, .0.revocation.revoked, .0.revocation.reason)]
    #[diagnostic(help("choose another image (`karat list`); {}", .1))]
    Revoked(Box<RevokedImage>, &'static str),
    #[error("cannot remove images that are in use:{}", retention::describe(.0))]
    #[diagnostic(help("nothing was removed"))]
    Held(HeldImages),
    #[error("the image {0} is not in the store")]
    #[diagnostic(help("build it again"))]
    NoImage(Digest),
    #[error("{} is missing: it is a chunk of the image {image}", path.display())]
    #[diagnostic(help("copy the file from another store that has it, or build the image again"))]
    MissingChunk { image: Digest, path: PathBuf },
    #[error("{} was changed after it was stored: its digest is now {actual}, and it is a chunk of the image {image}", path.display())]
    #[diagnostic(help("copy the file from another store that has it, or build the image again"))]
    DamagedChunk {
        image: Digest,
        path: PathBuf,
        actual: Digest,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unrepresentable(#[from] Unrepresentable),
    #[error("cannot export to {}", path.display())]
    #[diagnostic(help("check that its directory exists, is writable and has enough space"))]
    Export { path: PathBuf, source: io::Error },
    #[error("{} already exists", .0.display())]
    #[diagnostic(help("choose another name, or replace the file with `--force`"))]
    Exists(PathBuf),
}

impl StoreError {
    /// Returns the process exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotAChannel { .. }
            | Self::NoChannel { .. }
            | Self::NotAStore(_)
            | Self::Unknown { .. }
            | Self::Ambiguous { .. }
            | Self::Writable { .. }
            | Self::Foreign { .. }
            | Self::Exists(_) => 2,
            Self::Export { source, .. } if source.kind() == io::ErrorKind::NotFound => 2,
            Self::Revoked(..) | Self::Held(_) => 3,
            Self::Tampered { .. }
            | Self::Unreadable { .. }
            | Self::Channel { .. }
            | Self::Audit { .. }
            | Self::Attestation { .. }
            | Self::MissingChunk { .. }
            | Self::DamagedChunk { .. } => 4,
            _ => 1,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

fn no_image_help(nearest: Option<&str>) -> String {
    let list = "`karat list` lists the images";
    match nearest {
        Some(nearest) => format!("did you mean {nearest}? {list}"),
        None => {
            format!("name it by 4 or more digits of its id, NAME, NAME@latest or a channel; {list}")
        }
    }
}

fn not_a_channel_help(invalid: &InvalidChannelName, similar: &[ChannelName]) -> String {
    let names: Vec<String> = similar.iter().map(ToString::to_string).collect();
    match &names[..] {
        [] => invalid
            .help()
            .map(|help| help.to_string())
            .unwrap_or_default(),
        names => format!("did you mean {}?", names.join(" or ")),
    }
}

fn no_channel_help(name: &ChannelName, nearest: Option<&ChannelName>) -> String {
    match nearest {
        Some(nearest) => format!("did you mean {nearest}? `karat history` lists all channels"),
        None => format!("`karat promote ID {name}` creates it; `karat history` lists all channels"),
    }
}

/// Prefers the help of the source: that of a newer schema names the remedy.
fn unreadable_help(source: &ManifestError) -> String {
    source.help().map_or_else(
        || "it was written by another version of karat, or by hand".to_owned(),
        |help| help.to_string(),
    )
}

fn list(matches: &[ManifestId]) -> String {
    let ids: Vec<_> = matches.iter().map(ToString::to_string).collect();
    ids.join(" or ")
}
