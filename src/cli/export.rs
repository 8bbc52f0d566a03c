//! `karat export`

use std::path::PathBuf;

use clap::Args;

use super::CommandError;
use super::shared::store_args::StoreArgs;
use crate::ui::Ui;
use crate::ui::text::human_size;

/// Help when the image is revoked.
const REVOKED_HELP: &str = "`--allow-revoked` exports it anyway";

/// Copy an image out of the store, verifying every byte
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// Id of the image (first 8 digits or more), or a channel that points at it
    id: String,

    /// Write the image to this file
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Export the image even if it is revoked
    #[arg(long)]
    allow_revoked: bool,

    /// Replace the file if it exists
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) async fn run(args: &ExportArgs, ui: &Ui) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let stored = store.manifest(store.resolve(&args.id)?)?;
    if !args.allow_revoked {
        store.allow(stored.id, REVOKED_HELP)?;
    }
    let blob = store
        .export(&stored.manifest, &args.output, args.force, ui)
        .await?;
    ui.note(&format!(
        "wrote {} ({}, {})",
        args.output.display(),
        human_size(blob.size),
        blob.digest
    ));
    Ok(())
}
