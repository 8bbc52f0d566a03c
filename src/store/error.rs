//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use super::Revoked;
use crate::digest::Digest;
use crate::record::attestation::AttestError;
use crate::record::audit::AuditError;
use crate::record::channel::{ChannelError, ChannelName, InvalidName};
use crate::record::manifest::{IdPrefix, InvalidId, ManifestError, ManifestId, Unrepresentable};

/// Why the store did not do what was asked.
#[derive(Debug, Error, Diagnostic)]
pub enum StoreError {
    /// There is no place for a store.
    #[error("no place for the store: neither XDG_DATA_HOME nor HOME is set")]
    #[diagnostic(help("give one with `--store` or KARAT_STORE"))]
    NoPlace,
    /// A file or directory of the store cannot be used.
    #[error("cannot {action} {}", path.display())]
    #[diagnostic(help(
        "check its permissions and free space, or use another store with `--store`"
    ))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is no id.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NotAnId(#[from] InvalidId),
    /// No manifest has an id like this.
    #[error("there is no manifest {prefix} in the store at {}", store.display())]
    #[diagnostic(help("see `karat list` for those that there are"))]
    Unknown {
        /// What was given.
        prefix: IdPrefix,
        /// Where it was looked for.
        store: PathBuf,
    },
    /// Several manifests have an id like this.
    #[error("{prefix} may be {}", list(matches))]
    #[diagnostic(help("give more digits"))]
    Ambiguous {
        /// What was given.
        prefix: IdPrefix,
        /// Ids that begin like it.
        matches: Vec<ManifestId>,
    },
    /// A file of the store is not what its name says.
    #[error("{} was changed after it was stored: it is {actual}", path.display())]
    #[diagnostic(help(
        "its name is the SHA-256 of what it held; restore it from a backup, or remove it and build again"
    ))]
    Tampered {
        /// The file.
        path: PathBuf,
        /// Its digest now.
        actual: Digest,
    },
    /// A file of the store is what its name says and still cannot be read.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("{}", mend(source)))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// A channel's file was changed by hand.
    #[error("{} is not as it was recorded", path.display())]
    #[diagnostic(help(
        "restore it from a backup; every move is chained to the one before, so that none can be changed"
    ))]
    Channel {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ChannelError,
    },
    /// The audit log was changed by hand.
    #[error("{} is not as it was recorded", path.display())]
    #[diagnostic(help(
        "nothing is changed without a line in it: restore it from a backup, or keep it elsewhere as evidence and take it away, and a new one begins"
    ))]
    Audit {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: AuditError,
    },
    /// A statement is what its name says and still cannot be read.
    #[error("cannot read the attestation {}", path.display())]
    #[diagnostic(help(
        "another version of karat may have written it, or it was put there by hand"
    ))]
    Attestation {
        /// The file.
        path: PathBuf,
        /// Why.
        source: AttestError,
    },
    /// Somebody else moved a channel first.
    #[error("{name} has moved meanwhile: move {number} by {by}")]
    #[diagnostic(help("see `karat history {name}`, and decide again; nothing was changed"))]
    Moved {
        /// The channel.
        name: ChannelName,
        /// Who.
        by: String,
        /// The number of the move.
        number: u64,
    },
    /// The text is no name of a channel.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NotAChannel(#[from] InvalidName),
    /// There is no such channel.
    #[error("there is no channel {0} in the store")]
    #[diagnostic(help(
        "`karat promote ID {0}` makes it; see `karat history` for those that there are"
    ))]
    NoChannel(ChannelName),
    /// Others can change the store.
    #[error("others can write to {} (mode {mode:04o})", path.display())]
    #[diagnostic(help(
        "`chmod -R go-w` the store, and think about whether somebody has changed it (`karat verify`)"
    ))]
    Writable {
        /// The file or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is somebody else's.
    #[error("{} belongs to another user (number {owner})", path.display())]
    #[diagnostic(help("use the store as its owner, or make it yours with `chown -R`"))]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The image is forbidden.
    #[error("{} was revoked by {} on {}: {}", .0.id.short(), .0.revocation.by, .0.revocation.revoked, .0.revocation.reason)]
    #[diagnostic(help("take another image (`karat list`); {}", .1))]
    Revoked(Box<Revoked>, &'static str),
    /// A manifest names an image that is not in the store.
    #[error("the image {0} is not in the store")]
    #[diagnostic(help("build it again"))]
    NoImage(Digest),
    /// A chunk of an image is gone.
    #[error("{} is missing, which is a part of the image {image}", path.display())]
    #[diagnostic(help("copy the file from another store that has it, or build the image again"))]
    MissingChunk {
        /// The image.
        image: Digest,
        /// The blob.
        path: PathBuf,
    },
    /// A chunk of an image has other bytes.
    #[error("{} was changed after it was stored: it is {actual}, and a part of the image {image}", path.display())]
    #[diagnostic(help("copy the file from another store that has it, or build the image again"))]
    DamagedChunk {
        /// The image.
        image: Digest,
        /// The blob.
        path: PathBuf,
        /// Its digest now.
        actual: Digest,
    },
    /// Something cannot be written down.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unrepresentable(#[from] Unrepresentable),
    /// The file to export to cannot be written.
    #[error("cannot export to {}", path.display())]
    #[diagnostic(help("check that its directory exists, can be written and has room"))]
    Export {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file to export to is there already.
    #[error("{} exists already", .0.display())]
    #[diagnostic(help("choose another name, or replace it with `--force`"))]
    Exists(PathBuf),
}

impl StoreError {
    /// The exit code when it is not 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotAnId(_)
            | Self::NotAChannel(_)
            | Self::NoChannel(_)
            | Self::Unknown { .. }
            | Self::Ambiguous { .. }
            | Self::Writable { .. }
            | Self::Foreign { .. }
            | Self::Exists(_) => 2,
            Self::Revoked(..) => 3,
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

/// A later form says itself what to do.
fn mend(source: &ManifestError) -> String {
    let default = "another version of karat may have written it, or it was put there by hand";
    let help = source.help().map(|help| help.to_string());
    help.unwrap_or_else(|| default.to_owned())
}

fn list(matches: &[ManifestId]) -> String {
    let ids: Vec<_> = matches.iter().map(ToString::to_string).collect();
    ids.join(" or ")
}
