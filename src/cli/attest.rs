//! `karat attest`

use clap::Args;

use super::shared::attestation;
use super::shared::key_args::KeyArgs;
use super::shared::store_args::{StoreArgs, plain};
use super::sign::SigningError;
use crate::sign::{Signer, fingerprint};
use crate::store::predicate;
use crate::ui::Ui;

/// Say something about an image, signed: what its last scan found, where it was published, where it comes from
///
/// Builds state where an image comes from by themselves when there is a key. A statement is an in-toto Statement v1 in a DSSE
/// envelope (attestations/ID/DIGEST.json in the store); `karat verify` says whose count.
#[derive(Clone, Debug, Args)]
#[group(id = "what", required = true, multiple = true, args = ["scan", "published", "provenance"])]
pub struct AttestArgs {
    /// The image: the first 8 digits or more of its id, or a channel that points to it
    #[arg(value_name = "ID|CHANNEL")]
    pub id: String,

    /// State what its last scan found
    #[arg(long)]
    pub scan: bool,

    /// State that the image was put here: a URL, the id of an AMI; may be given several times
    #[arg(long, value_name = "LOCATION")]
    pub published: Vec<String>,

    /// State where it comes from (SLSA provenance), by the record of its last build
    #[arg(long)]
    pub provenance: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub key: KeyArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Signs statements.
///
/// # Errors
/// There is no such manifest, no scan of it or no key, or the store cannot be written.
pub async fn run(args: &AttestArgs, ui: &Ui) -> Result<(), SigningError> {
    let store = args.store.open()?;
    let id = store.resolve(&args.id)?;
    let signer = Signer::from_file(&args.key.path()?)?;
    let mut done = Vec::new();
    if args.scan {
        let (scan, digest) = store.last_scan_of(id)?.ok_or(SigningError::NoScan(id))?;
        let said = predicate::scan(&scan, &digest);
        attestation::attest(id, predicate::SCAN, said, Some(&signer), &store).await?;
        done.push(format!("its scan of {}", scan.scanned));
    }
    for location in &args.published {
        let digest = store.manifest(id)?.manifest.outputs.image.digest;
        let said = predicate::publication(location, &digest);
        attestation::attest(id, predicate::PUBLICATION, said, Some(&signer), &store).await?;
        done.push(format!("that it is at {}", plain(location)));
    }
    if args.provenance {
        attestation::provenance(id, None, &signer, &store).await?;
        done.push("where it comes from".to_owned());
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
