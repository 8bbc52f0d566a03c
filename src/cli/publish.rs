//! `karat publish`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use serde_json::json;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::shared::attestation;
use super::shared::failure::chain;
use super::shared::key_args::KeyArgs;
use super::shared::store_args::{StoreArgs, StoredError};
use super::sign::SigningError;
use super::{Failed, VariableArgs};
use crate::ec2::client::{Aws, Settings};
use crate::ec2::publish::{Job, Outcome, Publication, PublishError, publication};
use crate::fetch::Cache;
use crate::plan::{PublishEc2, is_region};
use crate::record::manifest::{Manifest, ManifestId};
use crate::sign::{SignError, Signer};
use crate::store::predicate::PUBLICATION;
use crate::store::{Store, StoreError};
use crate::template;
use crate::ui::Ui;

/// How to publish an image that is forbidden.
const UNLESS: &str = "`--force` publishes it all the same";

/// Make AMIs of an image, in every region that its template names
///
/// The disk is written as an EBS snapshot, block by block and without any instance: only what is not zeros, and only what
/// differs from the AMI that was published before, which must be in the store. An upload that was killed is taken up by the next run. What is there already is
/// not made again; it is read and compared, unless this store knows it. Each AMI is stated as a signed attestation. Regions do
/// not disturb each other: when one fails, the others are published, and another run does the rest.
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    /// The image: the first 8 digits or more of its id, or a channel that points to it
    #[arg(value_name = "ID|CHANNEL")]
    pub id: String,

    /// Do as [publish.ec2] of this template says, instead of the one that the image was built from
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub variables: VariableArgs,

    /// Publish in this region, instead of those of the template; may be given several times
    #[arg(long = "region", value_name = "REGION", value_parser = region)]
    pub regions: Vec<String>,

    /// Read every AMI back from AWS, and compare it with the image
    #[arg(long)]
    pub verify: bool,

    /// Publish although the image was revoked, or its last scan says no
    #[arg(long)]
    pub force: bool,

    /// Print one JSON object for each AMI
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub key: KeyArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

pub(super) fn region(text: &str) -> Result<String, String> {
    if is_region(text) {
        return Ok(text.to_owned());
    }
    Err("write a region's code, such as eu-central-1".to_owned())
}

/// Why an image cannot be published, before anything is done.
#[derive(Debug, Error, Diagnostic)]
pub enum RefusedError {
    /// Nothing says where to.
    #[error("{0} does not say where images are published")]
    #[diagnostic(help(
        "add [publish.ec2] to the template, and name it with `--template FILE`; or name a `--region`"
    ))]
    NoWhere(String),
    /// The last scan says no.
    #[error("the last scan of {} ({scanned}) has {failing} that the policy refuses", id.short())]
    #[diagnostic(help("scan it again (`karat scan {}`), or publish it all the same with `--force`", id.short()))]
    Scan {
        /// The image.
        id: ManifestId,
        /// When.
        scanned: String,
        /// So many findings.
        failing: usize,
    },
}

/// Publishes an image. Returns the exit code: that of the worst region.
///
/// # Errors
/// What stops all regions before the first has begun.
pub async fn run(
    args: &PublishArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut dyn Write,
) -> Result<u8, Failed> {
    let stored = |error: StoreError| Failed::with(error.exit_code(), error);
    let store = args.store.open().map_err(|error: StoreError| {
        let error = StoredError::from(error);
        Failed::with(error.exit_code(), error)
    })?;
    let id = store.resolve(&args.id).map_err(stored)?;
    let manifest = store.manifest(id).map_err(stored)?.manifest;
    let settings = settings(args, &manifest)?;
    let signer = args.key.signer();
    let signer = signer.map_err(|error: SignError| Failed::with(2, error))?;
    if !args.force {
        store.allow(id, UNLESS).map_err(stored)?;
        passed(&store, id)?;
    }
    publish(
        Wanted {
            id,
            manifest: &manifest,
            settings: &settings,
            verify: args.verify,
        },
        &store,
        signer.as_ref(),
        args.json,
        ui,
        cancel,
        out,
    )
    .await
}

/// An image to publish.
pub(super) struct Wanted<'a> {
    pub(super) id: ManifestId,
    pub(super) manifest: &'a Manifest,
    pub(super) settings: &'a PublishEc2,
    pub(super) verify: bool,
}

/// Publishes, states what was made, and prints it. Returns the exit code: that of the worst region.
pub(super) async fn publish(
    wanted: Wanted<'_>,
    store: &Store,
    signer: Option<&Signer>,
    json: bool,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut dyn Write,
) -> Result<u8, Failed> {
    let cache = Cache::of_user().map_err(Failed::new)?;
    let aws = connect(wanted.settings).await?;
    let Wanted {
        id,
        manifest,
        settings,
        verify,
    } = wanted;
    let job = Job {
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
    let outcomes = job.run().await;
    let outcomes =
        outcomes.map_err(|error: PublishError| Failed::with(error.exit_code(), error))?;
    let mut code = 0;
    for Outcome { region, ended } in outcomes {
        match ended {
            Ok((made, was_there)) => {
                state(&made, id, manifest, signer, store).await?;
                print(&made, was_there, json, out).map_err(Failed::stdout)?;
            }
            Err(error) => {
                code = code.max(error.exit_code());
                let help = error.help().map(|help| format!("\n  help: {help}"));
                let text = chain(&error, "\n  because: ");
                ui.error(&format!("{region}: {text}{}", help.unwrap_or_default()));
            }
        }
    }
    if let Some(signer) = signer {
        let point = attestation::checkpoint(signer, store).await;
        point.map_err(|error| Failed::with(error.exit_code(), error))?;
    } else {
        ui.warn("nobody has signed where the image is: there is no key (`karat keys generate`)");
    }
    ui.detail(&format!("{} calls to AWS", aws.calls()));
    Ok(code)
}

async fn connect(settings: &PublishEc2) -> Result<Aws, Failed> {
    let connect = Settings {
        profile: settings.profile.clone(),
        region: None,
    };
    let aws = Aws::connect(&connect).await;
    aws.map_err(Failed::new)
}

/// What the template says, or the command line.
fn settings(args: &PublishArgs, manifest: &Manifest) -> Result<PublishEc2, Failed> {
    let (found, name) = if let Some(path) = &args.template {
        let plan = template::load(path, &args.variables.inputs());
        let plan = plan.map_err(|error| super::Invalid(vec![error]))?;
        (plan.publish, path.display().to_string())
    } else {
        let recorded = &manifest.inputs.template.text;
        let name = "the template that it was built from";
        let found = template::publication(Path::new(name), recorded, &manifest.inputs.variables);
        let found = found.map_err(|errors| super::Invalid(vec![errors.into()]))?;
        (found, name.to_owned())
    };
    let mut settings = match found {
        Some(settings) => settings,
        None if args.regions.is_empty() => {
            return Err(Failed::with(2, RefusedError::NoWhere(name)));
        }
        None => PublishEc2::default(),
    };
    if !args.regions.is_empty() {
        settings.regions.clone_from(&args.regions);
    }
    Ok(settings)
}

/// The last scan must not say no.
fn passed(store: &Store, id: ManifestId) -> Result<(), Failed> {
    let scans = store.scans_of(id);
    let scans = scans.map_err(|error| Failed::with(error.exit_code(), error))?;
    match scans.last() {
        Some(scan) if scan.report.counts.failing > 0 => {
            let error = RefusedError::Scan {
                id,
                scanned: scan.scanned.to_string(),
                failing: scan.report.counts.failing,
            };
            Err(Failed::with(3, error))
        }
        _ => Ok(()),
    }
}

/// States where an image is, unless that is said already.
pub(super) async fn state(
    made: &Publication,
    id: ManifestId,
    manifest: &Manifest,
    signer: Option<&Signer>,
    store: &Store,
) -> Result<(), Failed> {
    let known = publication::of(store, id);
    let known = known.map_err(|error| Failed::with(error.exit_code(), error))?;
    let is_said = known.iter().any(|it| {
        let is_signed = !it.said.envelope.signatures.is_empty();
        it.publication == *made && (is_signed || signer.is_none())
    });
    if is_said {
        return Ok(());
    }
    let said = made.predicate(&manifest.outputs.image.digest);
    let stated = attestation::attest(id, PUBLICATION, said, signer, store).await;
    stated.map_err(|error: SigningError| Failed::with(error.exit_code(), error))
}

fn print(made: &Publication, was_there: bool, json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        let mut line = serde_json::to_value(made).map_err(io::Error::other)?;
        line["existing"] = json!(was_there);
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{:16} {}", made.region, made.image)?;
    }
    out.flush()
}
