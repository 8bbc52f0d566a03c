//! `karat attest`

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::shared::attestation;
use super::shared::key_args::KeyArgs;
use super::shared::store_args::StoreArgs;
use super::{CommandError, ExitStatus};
use crate::record::manifest::ManifestId;
use crate::sign::fingerprint;
use crate::store::predicate;
use crate::ui::Ui;
use crate::ui::text::terminal_safe;

/// Attest scan result, publication or provenance of an image
///
/// Builds attest the provenance of their images themselves if there is a key. An attestation is an in-toto Statement v1 in a
/// DSSE envelope (attestations/ID/DIGEST.json in the store). `karat verify` shows which ones are trusted.
#[derive(Clone, Debug, Args)]
#[group(id = "what", required = true, multiple = true, args = ["scan", "published", "provenance"])]
pub(crate) struct AttestArgs {
    /// Image: 4 or more digits of its id, NAME, NAME@latest, or a channel that points at it
    #[arg(value_name = "ID|CHANNEL")]
    id: String,

    /// Attest the result of the last scan
    #[arg(long)]
    scan: bool,

    /// Attest that the image was published here: a URL, or the id of an AMI; may be repeated
    #[arg(long, value_name = "LOCATION")]
    published: Vec<String>,

    /// Attest the provenance of the image (SLSA) from the record of its last build
    #[arg(long)]
    provenance: bool,

    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,
}

/// There is no scan to attest.
#[derive(Debug, Error, Diagnostic)]
#[error("{} was never scanned", .0.short())]
#[diagnostic(help("scan it with `karat scan {}`", .0.short()))]
struct NoScan(ManifestId);

impl ExitStatus for NoScan {
    const EXIT_CODE: u8 = 2;
}

pub(crate) async fn run(args: &AttestArgs, ui: &Ui) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let id = store.resolve(&args.id)?;
    let signer = args.key.required_signer()?;
    let mut done = Vec::new();
    if args.scan {
        let (scan, digest) = store.last_scan_of(id)?.ok_or(NoScan(id))?;
        let statement = predicate::scan(&scan, &digest);
        attestation::attest(id, predicate::SCAN, statement, Some(&signer), &store).await?;
        done.push(format!("its scan of {}", scan.scanned));
    }
    for location in &args.published {
        let digest = store.manifest(id)?.manifest.outputs.image.digest;
        let statement = predicate::publication(location, &digest);
        attestation::attest(id, predicate::PUBLICATION, statement, Some(&signer), &store).await?;
        done.push(format!("its publication at {}", terminal_safe(location)));
    }
    if args.provenance {
        attestation::provenance(id, None, &signer, &store).await?;
        done.push("its provenance".to_owned());
    }
    attestation::checkpoint(&signer, &store).await?;
    ui.note(&format!(
        "attested of {} with {}: {}",
        id.short(),
        fingerprint(signer.public()),
        done.join(", ")
    ));
    Ok(())
}
