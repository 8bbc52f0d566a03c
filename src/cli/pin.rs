//! `karat pin` and `karat unpin`

use clap::Args;

use super::CommandError;
use super::shared::store_args::StoreArgs;
use crate::os::user;
use crate::store::Pin;
use crate::ui::Ui;
use crate::ui::text::terminal_safe;

/// Protect an image from pruning
#[derive(Clone, Debug, Args)]
pub(crate) struct PinArgs {
    /// Image: 4 or more digits of its id, NAME, NAME@latest, or a channel that points at it
    #[arg(value_name = "ID|CHANNEL")]
    id: String,

    /// Reason for keeping the image
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    reason: String,

    #[command(flatten)]
    pub(super) store: StoreArgs,
}

/// Remove all pins of an image
#[derive(Clone, Debug, Args)]
pub(crate) struct UnpinArgs {
    /// Image: 4 or more digits of its id, NAME, NAME@latest, or a channel that points at it
    #[arg(value_name = "ID|CHANNEL")]
    id: String,

    #[command(flatten)]
    pub(super) store: StoreArgs,
}

pub(crate) async fn pin(args: &PinArgs, ui: &Ui) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let id = store.resolve(&args.id)?;
    let pin = Pin::new(id, user::who(), terminal_safe(args.reason.trim()));
    store.begin().await?.pin(&pin)?;
    ui.note(&format!("{} is pinned", id.short()));
    Ok(())
}

pub(crate) async fn unpin(args: &UnpinArgs, ui: &Ui) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let id = store.resolve(&args.id)?;
    let state = if store.begin().await?.unpin(id)? {
        "is no longer pinned"
    } else {
        "was not pinned"
    };
    ui.note(&format!("{} {state}", id.short()));
    Ok(())
}
