//! `karat pin` and `karat unpin`

use clap::Args;
use serde_json::json;

use super::CommandError;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
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
    format: FormatArgs,

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
    format: FormatArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,
}

pub(crate) async fn pin(args: &PinArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let id = store.resolve(&args.id)?;
    let pin = Pin::new(id, user::who(), terminal_safe(args.reason.trim()));
    store.begin().await?.pin(&pin)?;
    ui.note(&format!("{} is pinned", id.short()));
    let Pin {
        by, pinned, reason, ..
    } = &pin;
    let name = store.manifest(id)?.manifest.inputs.image.name;
    let line = json!({"id": id, "name": name, "by": by, "pinned": pinned, "reason": reason});
    out.document(
        args.format.with_json_as(OutputFormat::Json),
        &line,
        String::new,
    )
}

pub(crate) async fn unpin(args: &UnpinArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let id = store.resolve(&args.id)?;
    let was_pinned = store.begin().await?.unpin(id)?;
    let state = if was_pinned {
        "is no longer pinned"
    } else {
        "was not pinned"
    };
    ui.note(&format!("{} {state}", id.short()));
    let name = store.manifest(id)?.manifest.inputs.image.name;
    let line = json!({"id": id, "name": name, "was_pinned": was_pinned});
    out.document(
        args.format.with_json_as(OutputFormat::Json),
        &line,
        String::new,
    )
}
