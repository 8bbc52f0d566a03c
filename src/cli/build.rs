//! `karat build`

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream;
use miette::Diagnostic;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::publish::{self, PublishRequest};
use super::shared::attestation;
use super::shared::image_line::ImageLine;
use super::shared::key_args::KeyArgs;
use super::shared::logged::{LoggedResult, logged};
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use super::{CommandError, ExistingOutput, ExitStatus, MirrorArgs, TemplateArgs, db, sign};
use crate::ec2::publish::Publication;
use crate::fetch::Cache;
use crate::os::environment;
use crate::pipeline::up_to_date::Verdict;
use crate::pipeline::{self, Built, Image, OnError, RevokedBase, ScanSettings, Settings, Update};
use crate::plan::{self, Builder, Plan, PublishEc2};
use crate::record::manifest::ManifestId;
use crate::scan::run::Check;
use crate::sign::Signer;
use crate::store::predicate;
use crate::store::{Store, StoredManifest};
use crate::ui::text::{human_duration, human_size};
use crate::ui::{BuildInfo, Ui};

/// Build images from templates and record them in the store
///
/// Prints the id of each new manifest on stdout. A build that fails does not affect the others; the exit code is the largest of
/// theirs.
///
/// Installs packages as `NAME.lock.toml` beside the template says. The first build writes that lock file, and so does a
/// build after a change of template or base, unless `--locked` forbids it.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    templates: TemplateArgs,

    /// Number of templates to build in parallel
    #[arg(long, short, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,

    /// Treatment of the machine after a failed step or test
    #[arg(long, value_enum, default_value_t, value_name = "ACTION")]
    on_error: OnError,

    /// Replace the file at `output.path`
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    format: FormatArgs,

    /// Fail if a template's lock file is missing or stale (for CI)
    #[arg(long, help_heading = "Lock")]
    locked: bool,

    /// Build only if template, files, base, lock file or package archives have changed
    ///
    /// Compares them with the newest image of that name, and prints its id if nothing has changed. Asks the archives for newer
    /// packages and updates the lock file; with --locked, does not ask. Does not notice changes of what steps download
    /// themselves, nor of the value of a secret.
    #[arg(long)]
    if_changed: bool,

    /// Build twice and compare before recording; a difference fails with exit code 4
    #[arg(long)]
    twice: bool,

    /// Allow a base image that is revoked
    #[arg(long, help_heading = "Trust")]
    allow_revoked: bool,

    /// Use this vulnerability database
    #[arg(
        long,
        value_name = "PATH",
        env = environment::DB.name,
        hide_env_values = true,
        help_heading = "Scan"
    )]
    db: Option<PathBuf>,

    /// Skip a check of the finished image; may be repeated
    #[arg(long, value_enum, value_name = "CHECK", help_heading = "Scan")]
    without: Vec<Check>,

    /// Keep an image that the policy refuses or whose test fails, as NAME.refused.FORMAT or NAME.failed.FORMAT in the current
    /// directory
    #[arg(long, help_heading = "Scan")]
    keep_failed: bool,

    #[command(flatten)]
    pub(super) store: StoreArgs,

    #[command(flatten, next_help_heading = "Lock")]
    mirrors: MirrorArgs,

    #[command(flatten, next_help_heading = "Trust")]
    key: KeyArgs,
}

#[derive(Debug, Error, Diagnostic)]
#[error("image {} is recorded, but not signed", .0.short())]
#[diagnostic(help("sign it when the key can be used: `karat sign {}`", .0.short()))]
struct NotSigned(ManifestId);

impl ExitStatus for NotSigned {}

#[derive(Debug, Error, Diagnostic)]
#[error("image {} is recorded, but not published in all regions", .0.short())]
#[diagnostic(help("see the errors of the regions above; `karat publish {}` publishes the rest", .0.short()))]
struct NotPublished(ManifestId);

impl ExitStatus for NotPublished {}

/// Builds all templates. A build that fails does not affect the others. Returns the largest exit code.
pub(crate) async fn run(
    args: &BuildArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut Stdout,
) -> Result<u8, CommandError> {
    let plans = args.templates.load(ExistingOutput::new(args.force))?;
    if args.on_error == OnError::Ask && !io::stdin().is_terminal() {
        ui.warn(
            "`--on-error ask` needs a terminal; the machine of a failed build will be destroyed",
        );
    }
    let signer = args.key.signer()?;
    let store = args.store.open()?;
    let records = |plan: &Plan| !matches!(plan.builder, Builder::Host(_));
    if plans.iter().any(records) {
        store.check_writable()?;
    }
    let cache = Cache::of_user()?;
    let scan = ScanSettings {
        database: args.db.clone(),
        without: args.without.clone(),
        keep_failed: args.keep_failed,
    };
    if !args.without.contains(&Check::Vulnerabilities) {
        let update = db::update_before_build(&plans, args.db.as_deref(), &cache, ui);
        match cancel.run_until_cancelled(update).await {
            Some(updated) => updated?,
            None => return Ok(130),
        }
    }
    let settings = settings(args, &cache, &store, &scan);
    let several = plans.len() > 1;
    let logs = cache.logs();
    let jobs = plans.iter().map(async |plan| {
        let info = BuildInfo {
            verb: "build",
            image: &plan.image.name,
            template: &plan.template.path,
        };
        let label = several.then_some(plan.image.name.as_str());
        let built = logged(ui, info, label, &logs, async |ui| {
            let job = BuildJob {
                plan,
                if_changed: args.if_changed,
                settings: &settings,
                signer: signer.as_ref(),
                ui,
                cancel,
            };
            job.run().await
        });
        match built.await {
            Ok(image) => (0, image),
            Err(code) => (code, None),
        }
    });
    let mut finished = stream::iter(jobs).buffer_unordered(usize::from(args.jobs));
    let mut records = out.records(args.format.with_json_as(OutputFormat::Jsonl));
    let mut code = 0;
    while let Some((job_code, image)) = finished.next().await {
        code = code.max(job_code);
        if let Some(image) = image {
            let line = ImageLine::new(image.id, &image.manifest);
            records.add(&line, || image.id.to_string())?;
        }
    }
    records.finish()?;
    Ok(code)
}

fn settings<'a>(
    args: &'a BuildArgs,
    cache: &'a Cache,
    store: &'a Store,
    scan: &'a ScanSettings,
) -> Settings<'a> {
    Settings {
        cache,
        store,
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
        scan,
    }
}

/// The build of one template.
struct BuildJob<'a> {
    plan: &'a Plan,
    if_changed: bool,
    settings: &'a Settings<'a>,
    signer: Option<&'a Signer>,
    ui: &'a Ui,
    cancel: &'a CancellationToken,
}

impl BuildJob<'_> {
    /// Builds, signs and publishes the image. Returns `None` for an existing host, which has no image.
    async fn run(&self) -> Result<Option<Image>, CommandError> {
        match self.build().await? {
            Built::Image(image) => {
                if let Some(signer) = self.signer {
                    self.sign(image.id, signer)
                        .await
                        .map_err(|cause| CommandError::caused(&NotSigned(image.id), &cause))?;
                }
                if let Some(ami) = &image.published {
                    self.publish(&image, ami).await?;
                }
                summarise(&image, self.ui, self.settings.store);
                Ok(Some(*image))
            }
            Built::Unchanged(stored) => {
                self.ui.note("unchanged");
                Ok(Some(Image {
                    id: stored.id,
                    manifest: stored.manifest,
                    phases: Vec::new(),
                    published: None,
                }))
            }
            Built::Host => {
                self.ui
                    .note(&format!("{}: provisioned", self.plan.image.name));
                Ok(None)
            }
        }
    }

    async fn build(&self) -> Result<Built, CommandError> {
        let Self {
            plan,
            settings,
            ui,
            cancel,
            ..
        } = *self;
        let secrets = plan::secrets::read(&plan.secrets, |name| std::env::var_os(name))?;
        ui.hide(&secrets);
        let job = pipeline::Job {
            plan,
            secrets: &secrets,
            settings,
            ui,
            cancel,
        };
        let mut update = Update::Keep;
        if self.if_changed {
            match cancel.run_until_cancelled(job.verdict()).await {
                Some(Verdict::Unchanged(stored)) => {
                    self.export_unchanged(&stored).await?;
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
        Ok(job.build(update).await?)
    }

    /// Exports an unchanged image to `output.path`, unless that file exists.
    async fn export_unchanged(&self, stored: &StoredManifest) -> Result<(), CommandError> {
        if let Some(path) = &self.plan.output.path
            && !path.exists()
        {
            let store = self.settings.store;
            store.export(&stored.manifest, path, false, self.ui).await?;
        }
        Ok(())
    }

    /// Signs a new image, and attests its provenance and the result of its scan.
    async fn sign(&self, id: ManifestId, signer: &Signer) -> Result<(), CommandError> {
        let store = self.settings.store;
        sign::sign(id, signer, store, self.ui).await?;
        attestation::provenance(id, Some(&self.plan.template.path), signer, store).await?;
        if let Some((scan, digest)) = store.last_scan_of(id)? {
            let statement = predicate::scan(&scan, &digest);
            attestation::attest(id, predicate::SCAN, statement, Some(signer), store).await?;
        }
        attestation::checkpoint(signer, store).await?;
        Ok(())
    }

    /// Attests the AMI of an image that was built on EC2, and publishes the image in the template's other regions.
    async fn publish(&self, image: &Image, ami: &Publication) -> Result<(), CommandError> {
        let Self { plan, ui, .. } = *self;
        let store = self.settings.store;
        publish::attest(ami, image.id, &image.manifest, self.signer, store).await?;
        let settings = plan.publish.clone().unwrap_or_default();
        let regions = settings.regions.iter();
        let regions = regions.filter(|region| **region != ami.region);
        let builder_profile = match &plan.builder {
            plan::Builder::Ec2(ec2) => ec2.profile.clone(),
            _ => None,
        };
        let settings = PublishEc2 {
            regions: regions.cloned().collect(),
            profile: settings.profile.clone().or(builder_profile),
            ..settings
        };
        if settings.regions.is_empty() {
            return Ok(());
        }
        let request = PublishRequest {
            id: image.id,
            manifest: &image.manifest,
            settings: &settings,
            store,
            signer: self.signer,
            verify: false,
        };
        // Stdout is for the ids of manifests only.
        let mut note = |ami: &Publication, _| {
            let line = format!("{:16} {}", ami.region, ami.image);
            ui.note(&format!("{:>10}  {line}", "ami"));
            Ok(())
        };
        match publish::publish(request, ui, self.cancel, &mut note).await? {
            0 => Ok(()),
            code => Err(CommandError::from(NotPublished(image.id)).with_exit_code(code)),
        }
    }
}

impl LoggedResult for Option<Image> {
    fn manifest(&self) -> Option<ManifestId> {
        self.as_ref().map(|image| image.id)
    }
}

/// Prints name, id, size, packages and the time of each phase.
fn summarise(image: &Image, ui: &Ui, store: &Store) {
    let outputs = &image.manifest.outputs;
    let mut rows = vec![
        ("image", image.manifest.inputs.image.name.clone()),
        ("manifest", image.id.to_string()),
        ("file", export_command(image, store)),
        (
            "size",
            format!(
                "{} ({} disk)",
                human_size(outputs.image.size),
                human_size(outputs.image.virtual_size)
            ),
        ),
        ("packages", outputs.packages.len().to_string()),
    ];
    if let Some(made) = &image.published {
        rows.push(("ami", format!("{} in {}", made.image, made.region)));
    }
    let total = image.phases.iter().map(|(_, took)| *took).sum();
    rows.push(("time", human_duration(total)));
    for (name, value) in rows {
        ui.note(&format!("{name:>10}  {value}"));
    }
    for (name, took) in &image.phases {
        ui.note(&format!("{:>10}  {:>9}  {name}", "", human_duration(*took)));
    }
}

/// Returns the command that exports the image, which the store keeps in chunks.
fn export_command(image: &Image, store: &Store) -> String {
    let (id, format) = (image.id.short(), &image.manifest.outputs.image.format);
    let name = &image.manifest.inputs.image.name;
    // Ignores KARAT_STORE, which may differ when the command is run.
    let is_default = Store::of_user().is_ok_and(|default| default.root() == store.root());
    let place = if is_default {
        String::new()
    } else {
        format!(" --store {}", store.root().display())
    };
    format!("karat export {id} -o {name}.{format}{place}")
}
