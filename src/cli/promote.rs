//! `karat promote`

use std::io::Write;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::shared::channel_move::{self, MoveArgs, MoveError};
use crate::record::channel::{ChannelName, Direction};
use crate::ui::Ui;

/// Let a channel point to an image, once everything about it is proved
///
/// Before it moves: every byte of the image and its manifest is read, the signatures are there that the channel asks for, and
/// its last scan found nothing that the policy refuses. A first promotion makes the channel.
#[derive(Clone, Debug, Args)]
pub struct PromoteArgs {
    /// The image: the first 8 digits or more of its id, or another channel that points to it
    #[arg(value_name = "ID|CHANNEL")]
    pub id: String,

    /// The channel, such as web/stable; its first part is the image's name
    #[arg(value_name = "CHANNEL")]
    pub channel: ChannelName,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub moving: MoveArgs,
}

/// Moves a channel forward.
///
/// # Errors
/// Something about the image is not proved, or the channel cannot be moved.
pub async fn run(
    args: &PromoteArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut dyn Write,
) -> Result<(), MoveError> {
    let store = args.moving.store.open()?;
    let id = store.resolve(&args.id)?;
    let wanted = channel_move::Wanted {
        name: &args.channel,
        id,
        direction: Direction::Promote,
    };
    channel_move::run(&store, wanted, &args.moving, ui, cancel, out).await
}
