//! Why a channel did not move.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use crate::cli::shared::key_args::NoConfiguration;
use crate::cli::sign::SigningError;
use crate::cli::verify::VerifyError;
use crate::ec2::client::AwsError;
use crate::record::channel::ChannelName;
use crate::record::manifest::ManifestId;
use crate::sign::{SignError, TrustError};
use crate::size::show_duration;
use crate::store::{PolicyError, StoreError};

/// Why a channel did not move.
#[derive(Debug, Error, Diagnostic)]
pub enum MoveError {
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// What could not be looked at.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Verify(#[from] VerifyError),
    /// Whose signatures count.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Trust(#[from] TrustError),
    /// The place of keys.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NoConfiguration(#[from] NoConfiguration),
    /// The key.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sign(#[from] SignError),
    /// The channel's own rules.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Policy(#[from] PolicyError),
    /// The image is another one's.
    #[error("{} is an image of {image}, and {name} is a channel of {}", id.short(), name.image)]
    #[diagnostic(help("a channel's first part is the image's name: {image}/{}", name.channel))]
    Image {
        /// The manifest.
        id: ManifestId,
        /// Its image's name.
        image: String,
        /// The channel.
        name: ChannelName,
    },
    /// There is nothing to go back to.
    #[error("{0} has no earlier image to go back to")]
    #[diagnostic(help(
        "see `karat history {0}`; `karat rollback ID --channel {0}` goes to any image"
    ))]
    NothingBefore(ChannelName),
    /// Several channels had the image, or none.
    #[error("{}", which(*id, having))]
    #[diagnostic(help("say which with `--channel IMAGE/CHANNEL`"))]
    WhichChannel {
        /// The image.
        id: ManifestId,
        /// Those that had it.
        having: Vec<ChannelName>,
    },
    /// The statement of how long the log is.
    #[error("{name} has moved, and the length of the audit log could not be signed")]
    #[diagnostic(help("`karat audit checkpoint` does it; the channel stays where it is now"))]
    Checkpoint {
        /// The channel.
        name: ChannelName,
        /// Why.
        source: Box<SigningError>,
    },
    /// Something is not as it was stored, or not signed as the channel asks for.
    #[error("{} is not proved; {name} stays where it is\n{}", id.short(), faults.join("\n"))]
    #[diagnostic(help("see `karat verify {}`", id.short()))]
    Unproved {
        /// The image.
        id: ManifestId,
        /// The channel.
        name: ChannelName,
        /// What is wrong.
        faults: Vec<String>,
    },
    /// The policy says no.
    #[error("the policy of {name} refuses {}\n{}", id.short(), because.join("\n"))]
    #[diagnostic(help("scan it again (`karat scan {}`), or move it all the same with `--force --reason TEXT`", id.short()))]
    Refused {
        /// The image.
        id: ManifestId,
        /// The channel.
        name: ChannelName,
        /// What it says.
        because: Vec<String>,
    },
    /// A reason is needed.
    #[error("{0}: a reason is needed")]
    #[diagnostic(help("say why with `--reason TEXT`; it is kept in the history"))]
    Reason(String),
    /// Moves of the channel are to be signed, and there is no key.
    #[error("moves of {0} are signed, and there is no key here")]
    #[diagnostic(help(
        "`karat keys generate` makes one, `--key FILE` names one; or write `signed_moves = false` in the channel's policy"
    ))]
    NoKey(ChannelName),
    /// It did not move.
    #[error("{name} did not move within {}", show_duration(*waited))]
    #[diagnostic(help("see `karat history {name}`, or wait longer with `--timeout`"))]
    Stayed {
        /// The channel.
        name: ChannelName,
        /// So long.
        waited: Duration,
    },
    /// The command afterwards failed.
    #[error("{name} has moved, and `{command}` {problem}")]
    #[diagnostic(help("run it again by hand; the channel stays where it is now"))]
    Hook {
        /// The channel.
        name: ChannelName,
        /// The command.
        command: String,
        /// How it ended.
        problem: String,
    },
    /// AWS.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Aws(#[from] AwsError),
    /// What moves with the channel at AWS could not be moved.
    #[error("{name} stays where it is, and so does what it moves at AWS")]
    #[diagnostic(help("mend that, and move it again"))]
    AtAws {
        /// The channel.
        name: ChannelName,
        /// Why.
        source: Box<AwsError>,
    },
    /// Something at AWS could not be put back.
    #[error("{0} stays where it is, but not all that it moves at AWS could be put back")]
    #[diagnostic(help(
        "what is not as it was is told above, and kept: the next `karat promote` or `karat rollback` of the channel tries again"
    ))]
    NotUndone(ChannelName),
    /// What is done at AWS cannot be written down.
    #[error("cannot keep what is done at AWS in {}", path.display())]
    #[diagnostic(help("check permissions and free space of the store"))]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The user ended it.
    #[error("cancelled; {0} stays where it is")]
    Cancelled(ChannelName),
    /// Standard output.
    #[error("cannot write to stdout")]
    Output(#[from] io::Error),
}

impl MoveError {
    pub(super) fn journal(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Journal { path, source }
    }

    /// The exit code. Whoever stopped reading standard output knows it, and that is no failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(error) => error.exit_code(),
            Self::Verify(error) => error.exit_code(),
            Self::Unproved { .. } => 4,
            Self::Refused { .. } => 3,
            Self::Cancelled(_) => 130,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Stayed { .. }
            | Self::Hook { .. }
            | Self::Checkpoint { .. }
            | Self::Sign(_)
            | Self::Aws(_)
            | Self::AtAws { .. }
            | Self::NotUndone(_)
            | Self::Journal { .. }
            | Self::Output(_) => 1,
            _ => 2,
        }
    }
}

fn which(id: ManifestId, having: &[ChannelName]) -> String {
    let id = id.short();
    match having {
        [] => format!("no channel ever pointed to {id}"),
        several => {
            let names: Vec<_> = several.iter().map(ToString::to_string).collect();
            format!(
                "several channels have pointed to {id}: {}",
                names.join(", ")
            )
        }
    }
}
