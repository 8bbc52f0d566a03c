//! `karat lock`

use std::path::PathBuf;

use clap::Args;
use miette::Diagnostic;
use serde_json::json;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::shared::logged::{LoggedResult, logged};
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use super::{CommandError, ExistingOutput, ExitStatus, MirrorArgs, TemplateArgs};
use crate::fetch::Cache;
use crate::pipeline::{Job, OnError, RevokedBase, ScanSettings, Settings, Update};
use crate::plan;
use crate::record::lock::{self, Lock};
use crate::secret::Secrets;
use crate::ui::{BuildInfo, Ui};

/// Resolve a template's packages and write them to a lock file
///
/// Boots the base and asks its package manager, without installing anything. Fetches the packages into the cache, so that
/// a build no longer needs their archive. Prints each changed package as `name old -> new` on stdout. A lock file that is
/// up to date stays as it is.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    templates: TemplateArgs,

    /// Resolve all locked packages again
    // `uv lock` calls it `--upgrade`, and the next one `--upgrade-package`.
    #[arg(long, alias = "upgrade", short_alias = 'U')]
    update: bool,

    /// Resolve this locked package again, and what it needs; may be repeated
    #[arg(
        long = "package",
        short = 'P',
        alias = "upgrade-package",
        value_name = "PACKAGE",
        conflicts_with = "update"
    )]
    packages: Vec<String>,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    mirrors: MirrorArgs,

    #[command(flatten)]
    store: StoreArgs,
}

/// `karat lock --update nginx web.toml`, as the development version understood it.
#[derive(Debug, Error, Diagnostic)]
#[error("there is no template {0}")]
#[diagnostic(help("`-P {0}` instead of `--update {0}` resolves that package again"))]
struct PackageAsTemplate(String);

impl ExitStatus for PackageAsTemplate {
    const EXIT_CODE: u8 = 2;
}

/// Returns the argument after `--update` that can only be the name of a package.
fn package_among_templates(args: &LockArgs) -> Option<String> {
    let is_package = |path: &&PathBuf| {
        let is_path = path
            .extension()
            .is_some_and(|extension| extension == "toml")
            || path.components().count() > 1;
        !is_path && !path.exists() && plan::nearby_templates(path).is_empty()
    };
    let package = args.templates.templates.iter().find(is_package)?;
    args.update.then(|| package.display().to_string())
}

/// Locks the templates one after another. Stops at the first that fails. Returns the exit code.
pub(crate) async fn run(
    args: &LockArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut Stdout,
) -> Result<u8, CommandError> {
    if let Some(package) = package_among_templates(args) {
        return Err(PackageAsTemplate(package).into());
    }
    let plans = args.templates.load(ExistingOutput::Accept)?;
    let store = args.store.open()?;
    let cache = Cache::of_user()?;
    let settings = Settings {
        cache: &cache,
        store: &store,
        force: false,
        on_error: OnError::Cleanup,
        locked: false,
        mirrors: &args.mirrors.mirrors,
        twice: false,
        revoked_base: RevokedBase::Refuse,
        base: None,
        scan: &ScanSettings::default(),
    };
    let update = match &args.packages[..] {
        _ if args.update => Update::All,
        [] => Update::Keep,
        names => Update::Only(names.to_vec()),
    };
    let mut records = out.records(args.format.with_json_as(OutputFormat::Json));
    for plan in &plans {
        let info = BuildInfo {
            verb: "lock",
            image: &plan.image.name,
            template: &plan.template.path,
        };
        let logs = cache.logs();
        let locked = logged(ui, info, None, &logs, async |ui| {
            let job = Job {
                plan,
                secrets: &Secrets::default(),
                settings: &settings,
                ui,
                cancel,
            };
            Ok(job.lock(update.clone()).await?)
        });
        let (old, new) = match locked.await {
            Ok(locks) => locks,
            Err(code) => return Ok(code),
        };
        if old.as_ref() == Some(&new) {
            let path = Lock::path_of(&plan.template.path);
            ui.note(&format!("{} is up to date", path.display()));
            continue;
        }
        for change in changes(old.as_ref(), &new) {
            let template = plan.template.path.display().to_string();
            let lock::Change { name, old, new } = &change;
            let line = json!({"template": template, "name": name, "old": old, "new": new});
            records.add(&line, || change.to_string())?;
        }
    }
    records.finish()?;
    Ok(0)
}

impl LoggedResult for (Option<Lock>, Lock) {}

fn changes(old: Option<&Lock>, new: &Lock) -> Vec<lock::Change> {
    let empty = Lock {
        packages: Vec::new(),
        ..new.clone()
    };
    lock::diff(old.unwrap_or(&empty), new)
}
