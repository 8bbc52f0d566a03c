//! `karat sign`

use clap::Args;
use serde_json::json;

use super::CommandError;
use super::shared::attestation;
use super::shared::key_args::KeyArgs;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use crate::record::manifest::ManifestId;
use crate::sign::{MANIFEST, Signer, fingerprint};
use crate::store::Store;
use crate::ui::Ui;

/// Sign the manifest of an image
///
/// Builds sign their images themselves if there is a key. A signature by hand is the approval of another person, which
/// `verify --require 2` asks for. karat checks the manifest before signing it, but does not read the image; see `karat verify`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SignArgs {
    /// Image: 4 or more digits of its id, NAME, NAME@latest, or a channel that points at it
    id: String,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,
}

pub(crate) async fn run(args: &SignArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let signer = args.key.required_signer()?;
    let id = store.resolve(&args.id)?;
    sign(id, &signer, &store, ui).await?;
    attestation::checkpoint(&signer, &store).await?;
    let name = store.manifest(id)?.manifest.inputs.image.name;
    let line = json!({"id": id, "name": name, "key": fingerprint(signer.public())});
    out.document(
        args.format.with_json_as(OutputFormat::Json),
        &line,
        String::new,
    )
}

/// Signs the stored bytes of a manifest, and stores the signature beside them.
pub(super) async fn sign(
    id: ManifestId,
    signer: &Signer,
    store: &Store,
    ui: &Ui,
) -> Result<(), CommandError> {
    let stored = store.manifest(id)?;
    let signature = signer.sign(MANIFEST, &stored.bytes).await?;
    store.begin().await?.add_signature(id, &signature)?;
    ui.note(&format!(
        "signed {} with {}",
        id.short(),
        fingerprint(signer.public())
    ));
    Ok(())
}
