//! `karat rollback`

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::CommandError;
use super::shared::channel_move::{self, MoveArgs, MoveError, MoveRequest};
use super::shared::stdout::Stdout;
use crate::record::channel::{ChannelName, Direction};
use crate::record::manifest::ManifestId;
use crate::store::Store;
use crate::ui::Ui;

/// Point a channel at an earlier image again after verifying it
///
/// `karat rollback web/stable` goes back to the last earlier image that is not revoked; `karat rollback ID` to that image.
/// Needs no network. --check does everything but the move itself, as a rehearsal.
#[derive(Clone, Debug, Args)]
pub(crate) struct RollbackArgs {
    /// Channel to roll back by one image, or the image to roll back to
    #[arg(value_name = "CHANNEL|ID")]
    to: String,

    /// Channel to roll back, if several have pointed at the image
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,

    #[command(flatten)]
    pub(super) channel_move: MoveArgs,
}

pub(crate) async fn run(
    args: &RollbackArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    let store = args.channel_move.store.open()?;
    let (name, id) = target(args, &store)?;
    let request = MoveRequest {
        name: &name,
        id,
        direction: Direction::Rollback,
    };
    channel_move::run(&store, request, &args.channel_move, ui, cancel, out).await
}

/// Returns the channel to roll back, and the image to roll it back to.
fn target(args: &RollbackArgs, store: &Store) -> Result<(ChannelName, ManifestId), CommandError> {
    if args.to.contains('/') {
        let name = store.channel_name(&args.to, None)?;
        let id = previous_image(store, &name)?;
        return Ok((name, id));
    }
    let id = store.resolve(&args.to)?;
    if let Some(name) = &args.channel {
        return Ok((store.channel_name(name, Some(id))?, id));
    }
    let mut candidates = Vec::new();
    for name in store.channels()? {
        if store.channel(&name)?.had(id) {
            candidates.push(name);
        }
    }
    match &candidates[..] {
        [name] => Ok((name.clone(), id)),
        _ => Err(MoveError::WhichChannel { id, candidates }.into()),
    }
}

/// Returns the last image before the current one that is not revoked.
fn previous_image(store: &Store, name: &ChannelName) -> Result<ManifestId, CommandError> {
    let mut images = store.channel(name)?.line();
    if images.pop().is_none() {
        return Err(store.no_channel(name).into());
    }
    let previous = store.last_allowed(&images)?;
    Ok(previous.ok_or_else(|| MoveError::NothingBefore(name.clone()))?)
}
