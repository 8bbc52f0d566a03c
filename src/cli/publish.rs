//! `karat publish`

use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use serde_json::json;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::shared::attestation;
use super::shared::key_args::KeyArgs;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use super::{CommandError, ExistingOutput, ExitStatus, VariableArgs};
use crate::ec2::client::{Aws, Settings};
use crate::ec2::publish::{Publication, PublishJob, RegionOutcome, publication};
use crate::fetch::Cache;
use crate::plan::{self, LoadError, PublishEc2, is_region};
use crate::record::manifest::{Manifest, ManifestId};
use crate::sign::Signer;
use crate::store::Store;
use crate::store::predicate::PUBLICATION;
use crate::ui::Ui;

/// Help when the image is revoked.
const REVOKED_HELP: &str = "`--force` publishes it anyway";

/// Publish an image as AMIs, in every region that its template names
///
/// Writes the disk to an EBS snapshot block by block, without an instance. Skips zeros, and blocks that equal those of the
/// last published AMI, whose image must be in the store. A later run resumes an interrupted upload. An AMI that exists already
/// is not created again; it is read and compared, unless this store published it. Each AMI is recorded as a signed
/// attestation. A region that fails does not affect the others; another run publishes the rest.
#[derive(Clone, Debug, Args)]
pub(crate) struct PublishArgs {
    /// Image: 4 or more digits of its id, NAME, NAME@latest, or a channel that points at it
    #[arg(value_name = "ID|CHANNEL")]
    id: String,

    /// Use [publish.ec2] of this template, instead of the template that the image was built from
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,

    #[command(flatten)]
    variables: VariableArgs,

    /// Publish in this region, instead of the template's regions; may be repeated
    #[arg(long = "region", value_name = "REGION", value_parser = region)]
    regions: Vec<String>,

    /// Read every AMI back from AWS and compare it with the image
    #[arg(long)]
    verify: bool,

    /// Publish even if the image is revoked or its last scan is failing
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,

    #[command(flatten, next_help_heading = "Trust")]
    key: KeyArgs,
}

pub(super) fn region(text: &str) -> Result<String, String> {
    if is_region(text) {
        return Ok(text.to_owned());
    }
    Err("expected a region code such as eu-central-1".to_owned())
}

/// The image cannot be published. Nothing was done.
#[derive(Debug, Error, Diagnostic)]
enum RefusedError {
    #[error("{0} does not say where to publish images")]
    #[diagnostic(help(
        "add [publish.ec2] to the template, and name it with `--template FILE`; or name a `--region`"
    ))]
    NoTarget(String),
    #[error("the last scan of {} ({scanned}) has {failing} that the policy refuses", id.short())]
    #[diagnostic(help("scan it again (`karat scan {}`), or publish it anyway with `--force`", id.short()))]
    Scan {
        id: ManifestId,
        scanned: String,
        /// Number of findings.
        failing: usize,
    },
}

impl ExitStatus for RefusedError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::NoTarget(_) => 2,
            Self::Scan { .. } => 3,
        }
    }
}

/// Publishes an image. Returns the largest exit code of the regions.
pub(crate) async fn run(
    args: &PublishArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut Stdout,
) -> Result<u8, CommandError> {
    let store = args.store.open()?;
    let id = store.resolve(&args.id)?;
    let manifest = store.manifest(id)?.manifest;
    let settings = settings(args, &manifest)?;
    let signer = args.key.signer();
    let signer = signer.map_err(|error| CommandError::from(error).with_exit_code(2))?;
    if !args.force {
        store.allow(id, REVOKED_HELP)?;
        check_last_scan(&store, id)?;
    }
    let request = PublishRequest {
        id,
        manifest: &manifest,
        settings: &settings,
        store: &store,
        signer: signer.as_ref(),
        verify: args.verify,
    };
    let mut records = out.records(args.format.with_json_as(OutputFormat::Jsonl));
    let mut print = |ami: &Publication, existing: bool| {
        let mut line = json!(ami);
        line["id"] = json!(id);
        line["existing"] = json!(existing);
        records.add(&line, || format!("{:16} {}", ami.region, ami.image))
    };
    let code = publish(request, ui, cancel, &mut print).await;
    // Also after an error: the AMIs so far exist.
    records.finish()?;
    code
}

/// An image to publish.
pub(super) struct PublishRequest<'a> {
    pub(super) id: ManifestId,
    pub(super) manifest: &'a Manifest,
    pub(super) settings: &'a PublishEc2,
    pub(super) store: &'a Store,
    pub(super) signer: Option<&'a Signer>,
    /// Read every AMI back and compare it.
    pub(super) verify: bool,
}

/// Publishes in all regions and attests each AMI. Calls `published` with each AMI and whether it existed before. Returns the
/// largest exit code of the regions.
pub(super) async fn publish(
    request: PublishRequest<'_>,
    ui: &Ui,
    cancel: &CancellationToken,
    published: &mut dyn FnMut(&Publication, bool) -> Result<(), CommandError>,
) -> Result<u8, CommandError> {
    let PublishRequest {
        id,
        manifest,
        settings,
        store,
        signer,
        verify,
    } = request;
    let cache = Cache::of_user()?;
    let connection = Settings {
        profile: settings.profile.clone(),
        region: None,
    };
    let aws = Aws::connect(&connection).await?;
    let job = PublishJob {
        aws: &aws,
        store,
        cache: cache.root().to_owned(),
        id,
        manifest,
        settings,
        verify,
        ui,
        cancel,
    };
    let mut code = 0;
    for RegionOutcome { region, ended } in job.run().await? {
        match ended {
            Ok((ami, existing)) => {
                attest(&ami, id, manifest, signer, store).await?;
                published(&ami, existing)?;
            }
            Err(error) => {
                let error = CommandError::from(error);
                code = code.max(error.exit_code());
                ui.error(&format!("{region}: {error}"));
            }
        }
    }
    if let Some(signer) = signer {
        attestation::checkpoint(signer, store).await?;
    } else {
        ui.warn("the publication is not signed: there is no key (`karat keys generate`)");
    }
    ui.detail(&format!("{} calls to AWS", aws.calls()));
    Ok(code)
}

/// Returns the settings of the template, overridden by the command line.
fn settings(args: &PublishArgs, manifest: &Manifest) -> Result<PublishEc2, CommandError> {
    let (settings, name) = if let Some(path) = &args.template {
        let plan = plan::load(path, &args.variables.inputs(ExistingOutput::Refuse))?;
        (plan.publish, path.display().to_string())
    } else {
        let inputs = &manifest.inputs;
        let name = "the template that it was built from";
        let publish = plan::publication(Path::new(name), &inputs.template.text, &inputs.variables);
        (publish.map_err(LoadError::from)?, name.to_owned())
    };
    let mut settings = match settings {
        Some(settings) => settings,
        None if args.regions.is_empty() => return Err(RefusedError::NoTarget(name).into()),
        None => PublishEc2::default(),
    };
    if !args.regions.is_empty() {
        settings.regions.clone_from(&args.regions);
    }
    Ok(settings)
}

/// Refuses an image whose last scan has findings that the policy refuses.
fn check_last_scan(store: &Store, id: ManifestId) -> Result<(), CommandError> {
    match store.scans_of(id)?.last() {
        Some(scan) if scan.report.counts.failing > 0 => Err(RefusedError::Scan {
            id,
            scanned: scan.scanned.to_string(),
            failing: scan.report.counts.failing,
        }
        .into()),
        _ => Ok(()),
    }
}

/// Attests an AMI, unless the store has such an attestation.
pub(super) async fn attest(
    ami: &Publication,
    id: ManifestId,
    manifest: &Manifest,
    signer: Option<&Signer>,
    store: &Store,
) -> Result<(), CommandError> {
    let is_attested = publication::list(store, id)?.iter().any(|known| {
        let is_signed = !known.attestation.envelope.signatures.is_empty();
        known.publication == *ami && (is_signed || signer.is_none())
    });
    if is_attested {
        return Ok(());
    }
    let predicate = ami.predicate(&manifest.outputs.image.digest);
    attestation::attest(id, PUBLICATION, predicate, signer, store).await
}
