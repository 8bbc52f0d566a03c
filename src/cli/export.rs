//! `karat export`

use std::path::PathBuf;

use clap::Args;

use super::shared::store_args::{StoreArgs, StoredError};
use crate::ui::Ui;

/// How to copy an image that is forbidden.
const UNLESS: &str = "`--allow-revoked` copies this one all the same";

/// Copy an image out of the store, checking every byte
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Copy the image of the manifest with this id (its first 8 digits or more will do), or of the one that a channel points to
    pub id: String,

    /// Write the image to this file
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// Copy it although it was revoked
    #[arg(long)]
    pub allow_revoked: bool,

    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Copies an image.
///
/// # Errors
/// There is no such manifest, its image was tampered with, or the file is there already or cannot be written.
pub async fn run(args: &ExportArgs, ui: &Ui) -> Result<(), StoredError> {
    let store = args.store.open()?;
    let stored = store.manifest(store.resolve(&args.id)?)?;
    if !args.allow_revoked {
        store.allow(stored.id, UNLESS)?;
    }
    let blob = store
        .export(&stored.manifest, &args.output, args.force, ui)
        .await?;
    ui.note(&format!(
        "wrote {} ({}, {})",
        args.output.display(),
        super::shared::store_args::size(blob.size),
        blob.digest
    ));
    Ok(())
}
