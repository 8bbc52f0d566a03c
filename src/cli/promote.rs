//! `karat promote`

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::CommandError;
use super::shared::channel_move::{self, MoveArgs, MoveRequest};
use super::shared::stdout::Stdout;
use crate::record::channel::Direction;
use crate::ui::Ui;

/// Point a channel at an image after verifying it
///
/// Before the channel moves, karat reads every byte of the image and its manifest, checks the signatures that the channel
/// requires, and checks the last scan against the channel's policy. The first promotion creates the channel.
#[derive(Clone, Debug, Args)]
pub(crate) struct PromoteArgs {
    /// Image: 4 or more digits of its id, NAME, NAME@latest, or another channel that points at it
    #[arg(value_name = "ID|CHANNEL")]
    id: String,

    /// The channel, such as web/stable; its first part is the name of the image
    #[arg(value_name = "CHANNEL")]
    channel: String,

    #[command(flatten)]
    pub(super) channel_move: MoveArgs,
}

pub(crate) async fn run(
    args: &PromoteArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    let store = args.channel_move.store.open()?;
    let id = store.resolve(&args.id)?;
    let request = MoveRequest {
        name: &store.channel_name(&args.channel, Some(id))?,
        id,
        direction: Direction::Promote,
    };
    channel_move::run(&store, request, &args.channel_move, ui, cancel, out).await
}
