//! `karat pin` and `karat unpin`

use clap::Args;

use super::shared::store_args::{StoreArgs, StoredError, plain};
use crate::os::user;
use crate::store::Pin;
use crate::ui::Ui;

/// Keep an image: pruning never removes it
#[derive(Clone, Debug, Args)]
pub struct PinArgs {
    /// The image: the first 8 digits or more of its id, or a channel that points to it
    #[arg(value_name = "ID|CHANNEL")]
    pub id: String,

    /// What for
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Take the pins of an image away
#[derive(Clone, Debug, Args)]
pub struct UnpinArgs {
    /// The image: the first 8 digits or more of its id, or a channel that points to it
    #[arg(value_name = "ID|CHANNEL")]
    pub id: String,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Keeps an image.
///
/// # Errors
/// There is no such manifest, or the store cannot be written.
pub async fn pin(args: &PinArgs, ui: &Ui) -> Result<(), StoredError> {
    let store = args.store.open()?;
    let id = store.resolve(&args.id)?;
    let by = user::who();
    let pin = Pin::new(id, by, plain(args.reason.trim()));
    store.begin().await?.pin(&pin)?;
    ui.note(&format!("{} is kept until it is unpinned", id.short()));
    Ok(())
}

/// Takes pins away.
///
/// # Errors
/// There is no such manifest, or the store cannot be written.
pub async fn unpin(args: &UnpinArgs, ui: &Ui) -> Result<(), StoredError> {
    let store = args.store.open()?;
    let id = store.resolve(&args.id)?;
    let text = if store.begin().await?.unpin(id)? {
        "has no pin any more"
    } else {
        "had no pin"
    };
    ui.note(&format!("{} {text}", id.short()));
    Ok(())
}
