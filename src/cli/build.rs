//! `karat build`

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;

use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream;
use miette::Diagnostic;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::shared::attestation;
use super::shared::key_args::KeyArgs;
use super::shared::store_args::StoreArgs;
use super::sign::{self, SigningError};
use super::{Failed, MirrorArgs, TemplateArgs, publish};
use crate::fetch::Cache;
use crate::pipeline::up_to_date::{self, Verdict};
use crate::pipeline::{self, Built, Image, OnError, RevokedBase, ScanSettings, Settings, Update};
use crate::plan::{self, Plan, PublishEc2};
use crate::record::manifest::ManifestId;
use crate::scan::run::Check;
use crate::sign::Signer;
use crate::store::predicate;
use crate::store::{Store, StoreError, Stored};
use crate::ui::Ui;

/// Build images from templates and record them in the store
///
/// Prints the id of each new manifest on stdout. Exit codes: 0 built, 1 failed, 2 the template or the arguments are
/// wrong, 3 the policy refuses the image, 4 a digest or the lock was wrong or something undeclared, 130 cancelled; with several templates, the largest of theirs.
///
/// Packages are installed as `NAME.lock.toml` beside the template has them. The first build writes that file; so does a
/// build whose template or base has changed since, unless `--locked` forbids it.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct BuildArgs {
    #[command(flatten)]
    templates: TemplateArgs,

    /// Build so many templates at once
    #[arg(long, short, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,

    /// What to do with the machine when a step failed
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_error: OnError,

    /// Replace the file that `output.path` names
    #[arg(long)]
    force: bool,

    /// Print each manifest's id with image, size and digest as one line of JSON
    #[arg(long)]
    json: bool,

    /// Fail when a template's lock is missing or not of this template and base (for CI)
    #[arg(long)]
    locked: bool,

    #[command(flatten)]
    mirrors: MirrorArgs,

    /// Build only when template, files, base, lock or package archives have changed
    ///
    /// Compares them with the newest image of that name, and prints its id when nothing has. Archives are asked whether
    /// they have something new, and then the lock is brought up to date; with --locked they are not asked. Two changes
    /// are not seen: of what steps fetch by themselves, and of the value of a secret.
    #[arg(long)]
    if_changed: bool,

    /// Build twice and compare, before anything is recorded; a difference fails with exit code 4
    #[arg(long)]
    twice: bool,

    /// Build on an image that was revoked
    #[arg(long)]
    allow_revoked: bool,

    /// Look up vulnerabilities in this database
    #[arg(long, value_name = "PATH", env = "KARAT_DB", hide_env_values = true)]
    db: Option<PathBuf>,

    /// Leave a check of the finished image out; may be given several times
    #[arg(long, value_enum, value_name = "CHECK")]
    without: Vec<Check>,

    /// Keep an image that the policy refuses, as NAME.refused.FORMAT in this directory
    #[arg(long)]
    keep_failed: bool,

    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// An image that nobody has vouched for.
#[derive(Debug, Error, Diagnostic)]
#[error("the image {} is recorded, and not signed", .id.short())]
#[diagnostic(help("sign it once the key can be used: `karat sign {}`", .id.short()))]
struct NotSigned {
    id: ManifestId,
    source: SigningError,
}

/// An image that some region lacks.
#[derive(Debug, Error, Diagnostic)]
#[error("the image {} is recorded, and not published everywhere", .id.short())]
#[diagnostic(help("see what is told of each region above; `karat publish {}` goes on", .id.short()))]
struct NotEverywhere {
    id: ManifestId,
}

/// Builds all templates; one that fails does not disturb the others. Returns the exit code.
///
/// # Errors
/// What stops all of them before the first has begun.
pub async fn run(
    args: &BuildArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut dyn Write,
) -> Result<u8, Failed> {
    let mut inputs = args.templates.inputs();
    inputs.force = args.force;
    let plans = super::load_all(&args.templates.templates, &inputs)?;
    if args.on_error == OnError::Ask && !io::stdin().is_terminal() {
        ui.warn("`--on-error ask` needs a terminal to ask on; a failed machine will be destroyed");
    }
    let signer = args.key.signer().map_err(|error| {
        let error = SigningError::from(error);
        Failed::with(error.exit_code(), error)
    })?;
    let store = args.store.open().map_err(Failed::new)?;
    let cache = Cache::of_user().map_err(Failed::new)?;
    let settings = Settings {
        cache: &cache,
        store: &store,
        force: args.force,
        on_error: args.on_error,
        locked: args.locked,
        mirrors: &args.mirrors.mirrors,
        twice: args.twice,
        revoked_base: if args.allow_revoked {
            RevokedBase::Allow
        } else {
            RevokedBase::Refuse
        },
        base: None,
        scan: &ScanSettings {
            database: args.db.clone(),
            without: args.without.clone(),
            keep_failed: args.keep_failed,
        },
    };

    let several = plans.len() > 1;
    let jobs = plans.iter().map(async |plan| {
        let ui = if several {
            ui.for_job(&plan.image.name)
        } else {
            ui.clone()
        };
        let mut outcome = one(plan, args, &settings, &ui, cancel).await;
        if let (Ok(Built::Image(image)), Some(signer)) = (&outcome, &signer)
            && let Err(source) = vouch(image.id, plan, signer, &store, &ui).await
        {
            let id = image.id;
            outcome = Err(Failed::new(NotSigned { id, source }));
        }
        if let Ok(Built::Image(image)) = &outcome
            && let Some(made) = &image.published
        {
            let stated = publish::state(made, image.id, &image.manifest, signer.as_ref(), &store);
            let mut offered = stated.await;
            if offered.is_ok() {
                offered = elsewhere(image, plan, &store, signer.as_ref(), &ui, cancel).await;
            }
            if let Err(error) = offered {
                outcome = Err(error);
            }
        }
        report(plan, outcome, &ui, &store)
    });
    let mut finished = stream::iter(jobs).buffer_unordered(usize::from(args.jobs));
    let mut code = 0;
    while let Some((its_code, image)) = finished.next().await {
        code = code.max(its_code);
        if let Some(image) = image {
            let written = if args.json {
                print_json(out, &image)
            } else {
                writeln!(out, "{}", image.id)
            };
            written.and_then(|()| out.flush()).map_err(Failed::stdout)?;
        }
    }
    Ok(code)
}

/// Publishes an image that was built on EC2 in the other regions that its template names.
async fn elsewhere(
    image: &Image,
    plan: &Plan,
    store: &Store,
    signer: Option<&Signer>,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<(), Failed> {
    let home = image.published.as_ref().map(|made| &made.region);
    let settings = plan.publish.clone().unwrap_or_default();
    let regions = settings.regions.iter().filter(|it| Some(*it) != home);
    let of_builder = match &plan.builder {
        plan::Builder::Ec2(ec2) => ec2.profile.clone(),
        _ => None,
    };
    let settings = PublishEc2 {
        regions: regions.cloned().collect(),
        profile: settings.profile.clone().or(of_builder),
        ..settings
    };
    if settings.regions.is_empty() {
        return Ok(());
    }
    let wanted = publish::Wanted {
        id: image.id,
        manifest: &image.manifest,
        settings: &settings,
        verify: false,
    };
    // What is on stdout is the ids of manifests alone.
    let mut said = Vec::new();
    let published = publish::publish(wanted, store, signer, false, ui, cancel, &mut said);
    let code = published.await?;
    for line in String::from_utf8_lossy(&said).lines() {
        ui.note(&format!("{:>10}  {line}", "ami"));
    }
    if code == 0 {
        return Ok(());
    }
    Err(Failed::with(code, NotEverywhere { id: image.id }))
}

/// Signs a new image, and states where it comes from and what its scan found.
async fn vouch(
    id: ManifestId,
    plan: &Plan,
    signer: &Signer,
    store: &Store,
    ui: &Ui,
) -> Result<(), SigningError> {
    sign::sign(id, signer, store, ui).await?;
    attestation::provenance(id, Some(&plan.template.path), signer, store).await?;
    if let Some((scan, digest)) = store.last_scan_of(id)? {
        let said = predicate::scan(&scan, &digest);
        attestation::attest(id, predicate::SCAN, said, Some(signer), store).await?;
    }
    attestation::checkpoint(signer, store).await?;
    Ok(())
}

async fn one(
    plan: &Plan,
    args: &BuildArgs,
    settings: &Settings<'_>,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<Built, Failed> {
    let secrets = plan::secrets::read(&plan.secrets, |name| std::env::var_os(name))
        .map_err(|error| Failed::with(2, error))?;
    ui.hide(&secrets);
    let mut update = Update::Keep;
    if args.if_changed {
        let look = up_to_date::verdict(plan, settings, settings.locked, ui);
        match cancel.run_until_cancelled(look).await {
            Some(Verdict::Unchanged(stored)) => {
                put_out(plan, &stored, settings, ui).await?;
                return Ok(Built::Unchanged(stored));
            }
            Some(Verdict::Changed(reason)) => ui.note(&format!("building: {reason}")),
            Some(Verdict::Moved(reason)) => {
                ui.note(&format!("building: {reason}"));
                update = Update::All;
            }
            None => {}
        }
    }
    pipeline::build(plan, update, &secrets, settings, ui, cancel)
        .await
        .map_err(|error| Failed::with(error.exit_code(), error))
}

/// What was not built is put where `output.path` wants it all the same, unless something is there.
async fn put_out(
    plan: &Plan,
    stored: &Stored,
    settings: &Settings<'_>,
    ui: &Ui,
) -> Result<(), Failed> {
    match &plan.output.path {
        Some(path) if !path.exists() => {
            let export = settings.store.export(&stored.manifest, path, false, ui);
            let failed = |error: StoreError| Failed::with(error.exit_code(), error);
            export.await.map(drop).map_err(failed)
        }
        _ => Ok(()),
    }
}

fn report(
    plan: &Plan,
    outcome: Result<Built, Failed>,
    ui: &Ui,
    store: &Store,
) -> (u8, Option<Image>) {
    match outcome {
        Ok(Built::Image(image)) => {
            summarise(&image, ui, store);
            (0, Some(*image))
        }
        Ok(Built::Unchanged(stored)) => {
            ui.note("unchanged");
            let Stored { id, manifest, .. } = *stored;
            let phases = Vec::new();
            (
                0,
                Some(Image {
                    id,
                    manifest,
                    phases,
                    published: None,
                }),
            )
        }
        Ok(Built::Host) => {
            ui.note(&format!("{}: provisioned", plan.image.name));
            (0, None)
        }
        Err(failed) => {
            ui.error(&failed.to_string());
            (failed.code(), None)
        }
    }
}

/// Image, id, size, packages, time per phase.
fn summarise(image: &Image, ui: &Ui, store: &Store) {
    let outputs = &image.manifest.outputs;
    let size = |bytes| indicatif::HumanBytes(bytes).to_string();
    let mut rows = vec![
        ("image", image.manifest.inputs.image.name.clone()),
        ("manifest", image.id.to_string()),
        ("file", export(image, store)),
        (
            "size",
            format!(
                "{} ({} disk)",
                size(outputs.image.size),
                size(outputs.image.virtual_size)
            ),
        ),
        ("packages", outputs.packages.len().to_string()),
    ];
    if let Some(made) = &image.published {
        rows.push(("ami", format!("{} in {}", made.image, made.region)));
    }
    let total = image.phases.iter().map(|(_, took)| *took).sum();
    rows.push(("time", crate::ui::human(total)));
    for (name, value) in rows {
        ui.note(&format!("{name:>10}  {value}"));
    }
    for (name, took) in &image.phases {
        ui.note(&format!(
            "{:>10}  {:>9}  {name}",
            "",
            crate::ui::human(*took)
        ));
    }
}

/// How to get the image: the store has it in parts.
fn export(image: &Image, store: &Store) -> String {
    let (id, format) = (image.id.short(), &image.manifest.outputs.image.format);
    let name = &image.manifest.inputs.image.name;
    // Whatever the environment says: it may be another one when the line is used.
    let is_usual = Store::of_user().is_ok_and(|usual| usual.root() == store.root());
    let place = if is_usual {
        String::new()
    } else {
        format!(" --store {}", store.root().display())
    };
    format!("karat export {id} -o {name}.{format}{place}")
}

fn print_json(out: &mut dyn Write, image: &Image) -> io::Result<()> {
    let outputs = &image.manifest.outputs.image;
    let line = serde_json::json!({
        "id": image.id.to_string(),
        "image": image.manifest.inputs.image.name,
        "format": outputs.format,
        "size": outputs.size,
        "digest": outputs.digest.to_string(),
    });
    writeln!(out, "{line}")
}
