//! `karat remove`

use clap::Args;
use serde_json::json;

use super::CommandError;
use super::shared::single_image;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use crate::ui::Ui;
use crate::ui::text::{counted, human_size, terminal_safe};

/// Remove images from the store
///
/// Deletes the bytes that no other image needs, at once. Refuses, and removes nothing, if a channel points at an image or can
/// roll back to it, if it is pinned, or if an image in the store was built on it: names what holds it and how to release it.
/// Manifests, signatures, inventories and the audit log are never deleted.
#[derive(Clone, Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Images: 4 or more digits of an id, NAME if one image has it, NAME@latest, or a channel that points at it
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,

    /// Number of images to keep per channel: the current one and those it can roll back to
    #[arg(
        long = "keep",
        id = "per_channel",
        value_name = "N",
        default_value_t = 5
    )]
    per_channel: usize,

    /// Show what would be removed, but change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,
}

pub(crate) async fn run(args: &RemoveArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let ids = args.ids.iter();
    let ids = ids.map(|text| single_image::resolve(&store, text));
    let ids = ids.collect::<Result<_, _>>()?;
    let removal = if args.dry_run {
        store.removal(&ids, args.per_channel)?
    } else {
        let waiting = || ui.note("waiting for other processes to finish writing to the store");
        store.remove(&ids, args.per_channel, waiting).await?
    };
    for id in &ids {
        if !removal.removed.contains(id) {
            ui.note(&format!("{} was removed before", id.short()));
        }
    }
    let mut records = out.records(args.format.with_json_as(OutputFormat::Json));
    for &id in &removal.removed {
        let name = store.manifest(id)?.manifest.inputs.image.name;
        let text = || format!("{}  {}", id.short(), terminal_safe(&name));
        records.add(&json!({"id": id, "name": name}), text)?;
    }
    records.finish()?;
    let files = counted(removal.blobs.len(), "file");
    let verb = if args.dry_run { "would free" } else { "freed" };
    ui.note(&format!("{verb} {} ({files})", human_size(removal.bytes)));
    if args.dry_run {
        ui.note("dry run: nothing was changed");
    }
    Ok(())
}
