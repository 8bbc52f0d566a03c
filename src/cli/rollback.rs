//! `karat rollback`

use std::io::Write;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::shared::channel_move::{self, MoveArgs, MoveError};
use crate::record::channel::{ChannelName, Direction};
use crate::record::manifest::ManifestId;
use crate::store::{Store, StoreError};
use crate::ui::Ui;

/// Let a channel point to an earlier image again, once everything about it is proved
///
/// `karat rollback web/stable` goes back to the last image before that is not revoked; `karat rollback ID` to that one. Nothing of the network is needed.
/// With --check all of it is done but the move itself: a rehearsal for every night.
#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    /// The channel that goes back by one, or the image that it goes back to
    #[arg(value_name = "CHANNEL|ID")]
    pub to: String,

    /// The channel, where several have had the image
    #[arg(long, value_name = "CHANNEL")]
    pub channel: Option<ChannelName>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub moving: MoveArgs,
}

/// Moves a channel back.
///
/// # Errors
/// Something about the image is not proved, or the channel cannot be moved.
pub async fn run(
    args: &RollbackArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut dyn Write,
) -> Result<(), MoveError> {
    let store = args.moving.store.open()?;
    let (name, id) = target(args, &store)?;
    let wanted = channel_move::Wanted {
        name: &name,
        id,
        direction: Direction::Rollback,
    };
    channel_move::run(&store, wanted, &args.moving, ui, cancel, out).await
}

fn target(args: &RollbackArgs, store: &Store) -> Result<(ChannelName, ManifestId), MoveError> {
    if args.to.contains('/') {
        let name: ChannelName = args.to.parse().map_err(StoreError::from)?;
        let mut line = store.channel(&name)?.line();
        if line.pop().is_none() {
            return Err(StoreError::NoChannel(name).into());
        }
        for before in line.into_iter().rev() {
            if store.revoked(before)?.is_none() {
                return Ok((name, before));
            }
        }
        return Err(MoveError::NothingBefore(name));
    }
    let id = store.resolve(&args.to)?;
    if let Some(name) = &args.channel {
        return Ok((name.clone(), id));
    }
    let mut having = Vec::new();
    for name in store.channels()? {
        if store.channel(&name)?.had(id) {
            having.push(name);
        }
    }
    match &having[..] {
        [name] => Ok((name.clone(), id)),
        _ => Err(MoveError::WhichChannel { id, having }),
    }
}
