//! Errors that keep a channel where it is, or that follow a move.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use crate::cli::ExitStatus;
use crate::ec2::client::AwsError;
use crate::record::channel::ChannelName;
use crate::record::manifest::ManifestId;
use crate::size::show_duration;

#[derive(Debug, Error, Diagnostic)]
pub(crate) enum MoveError {
    #[error("{} is an image of {image}, but {name} is a channel of {}", id.short(), name.image)]
    #[diagnostic(help("the first part of a channel is the name of its image: {image}/{}", name.channel))]
    WrongImage {
        id: ManifestId,
        image: String,
        name: ChannelName,
    },
    #[error("{0} has no earlier image to go back to")]
    #[diagnostic(help(
        "see `karat history {0}`; `karat rollback ID --channel {0}` goes to any image"
    ))]
    NothingBefore(ChannelName),
    #[error("{}", which(*id, candidates))]
    #[diagnostic(help("{}", which_help(*id, candidates)))]
    WhichChannel {
        id: ManifestId,
        candidates: Vec<ChannelName>,
    },
    #[error("{0} has moved, but the checkpoint of the audit log could not be signed")]
    #[diagnostic(help("sign it with `karat audit checkpoint`; the channel has moved"))]
    Checkpoint(ChannelName),
    #[error("verification of {} failed; {name} was not moved\n{}", id.short(), faults.join("\n"))]
    #[diagnostic(help("see `karat verify {}`", id.short()))]
    Unverified {
        id: ManifestId,
        name: ChannelName,
        faults: Vec<String>,
    },
    #[error("the policy of {name} refuses {}\n{}", id.short(), because.join("\n"))]
    #[diagnostic(help("scan it again (`karat scan {}`), or move the channel anyway with `--force --reason TEXT`", id.short()))]
    Refused {
        id: ManifestId,
        name: ChannelName,
        because: Vec<String>,
    },
    #[error("{0}: a reason is required")]
    #[diagnostic(help("give it with `--reason TEXT`; it is kept in the history"))]
    NoReason(String),
    #[error("moves of {0} must be signed, but there is no key")]
    #[diagnostic(help(
        "create one with `karat keys generate`, name one with `--key FILE`, or set `signed_moves = false` in the channel's policy"
    ))]
    NoKey(ChannelName),
    #[error("{name} did not move within {}", show_duration(*waited))]
    #[diagnostic(help("see `karat history {name}`, or wait longer with `--timeout`"))]
    Timeout { name: ChannelName, waited: Duration },
    #[error("{name} has moved, but `{command}` {problem}")]
    #[diagnostic(help("run the command again by hand; the channel has moved"))]
    Hook {
        name: ChannelName,
        command: String,
        problem: String,
    },
    #[error("{name} was not moved, and its targets at AWS were restored")]
    #[diagnostic(help("fix the cause, and move the channel again"))]
    Targets {
        name: ChannelName,
        source: Box<AwsError>,
    },
    #[error("{0} was not moved, but not all of its targets at AWS could be restored")]
    #[diagnostic(help(
        "the targets are listed above; the next `karat promote` or `karat rollback` of the channel tries again"
    ))]
    NotRestored(ChannelName),
    #[error("cannot write the journal of changes at AWS to {}", path.display())]
    #[diagnostic(help("check permissions and free space of the store"))]
    Journal { path: PathBuf, source: io::Error },
    #[error("cancelled; {0} was not moved")]
    Cancelled(ChannelName),
}

impl MoveError {
    pub(super) fn journal(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Journal { path, source }
    }
}

impl ExitStatus for MoveError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Timeout { .. }
            | Self::Hook { .. }
            | Self::Checkpoint(_)
            | Self::Targets { .. }
            | Self::NotRestored(_)
            | Self::Journal { .. } => 1,
            Self::WrongImage { .. }
            | Self::NothingBefore(_)
            | Self::WhichChannel { .. }
            | Self::NoReason(_)
            | Self::NoKey(_) => 2,
            Self::Refused { .. } => 3,
            Self::Unverified { .. } => 4,
            Self::Cancelled(_) => 130,
        }
    }
}

fn which_help(id: ManifestId, candidates: &[ChannelName]) -> String {
    if candidates.is_empty() {
        return format!(
            "`karat promote {} IMAGE/CHANNEL` points a channel at it",
            id.short()
        );
    }
    "name the channel with `--channel IMAGE/CHANNEL`".to_owned()
}

fn which(id: ManifestId, candidates: &[ChannelName]) -> String {
    let id = id.short();
    if candidates.is_empty() {
        return format!("no channel ever pointed at {id}");
    }
    let names: Vec<_> = candidates.iter().map(ToString::to_string).collect();
    format!(
        "several channels have pointed at {id}: {}",
        names.join(", ")
    )
}
