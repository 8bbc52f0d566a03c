//! `karat sign`

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::shared::attestation;
use super::shared::key_args::{KeyArgs, NoConfiguration};
use super::shared::store_args::StoreArgs;
use crate::record::manifest::ManifestId;
use crate::sign::{MANIFEST, SignError, Signer, fingerprint};
use crate::store::{Store, StoreError};
use crate::ui::Ui;

/// Vouch for an image: sign its manifest
///
/// Builds sign by themselves when there is a key. A signature by hand is another person's: the approval that `verify
/// --require 2` asks for. The manifest is read and checked before it is signed, its image is not; see `karat verify`.
#[derive(Clone, Debug, Args)]
pub struct SignArgs {
    /// Sign the manifest with this id; its first 8 digits or more will do
    pub id: String,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub key: KeyArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Why a manifest was not signed.
#[derive(Debug, Error, Diagnostic)]
pub enum SigningError {
    /// The key.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sign(#[from] SignError),
    /// The place of the key.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NoConfiguration(#[from] NoConfiguration),
    /// There is nothing to state.
    #[error("{} was never scanned", .0.short())]
    #[diagnostic(help("`karat scan {}` does it", .0.short()))]
    NoScan(ManifestId),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl SigningError {
    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(error) => error.exit_code(),
            Self::NoConfiguration(_)
            | Self::NoScan(_)
            | Self::Sign(SignError::Read { .. } | SignError::Form { .. }) => 2,
            Self::Sign(_) => 1,
        }
    }
}

/// Signs a manifest.
///
/// # Errors
/// There is no such manifest or no key, or the store cannot be written.
pub async fn run(args: &SignArgs, ui: &Ui) -> Result<(), SigningError> {
    let store = args.store.open()?;
    let signer = Signer::from_file(&args.key.path()?)?;
    sign(store.resolve(&args.id)?, &signer, &store, ui).await?;
    attestation::checkpoint(&signer, &store).await?;
    Ok(())
}

/// Signs the bytes that are stored, and puts the signature beside them.
pub(super) async fn sign(
    id: ManifestId,
    signer: &Signer,
    store: &Store,
    ui: &Ui,
) -> Result<(), SigningError> {
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
