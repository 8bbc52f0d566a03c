//! `karat lock`

use std::io::Write;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::shared::store_args::StoreArgs;
use super::{Failed, MirrorArgs, TemplateArgs};
use crate::fetch::Cache;
use crate::pipeline::{self, OnError, RevokedBase, ScanSettings, Settings, Update};
use crate::record::lock::{self, Lock};
use crate::ui::Ui;

/// Write what a template's packages mean, exactly, to a lock beside it
///
/// Boots the base, asks its package manager, and installs nothing. The packages are fetched into the cache, so that a
/// build needs no archive any more. Prints each package that has changed, as `name old -> new`, on stdout. A lock that is
/// up to date stays as it is.
///
/// Exit codes: 0 done, 1 failed, 2 the template, the arguments or the lock are wrong, 130 cancelled.
#[derive(Debug, Args)]
pub struct LockArgs {
    #[command(flatten)]
    templates: TemplateArgs,

    /// Resolve anew what is locked: everything, or only these packages
    #[arg(long, num_args = 0.., value_name = "PACKAGE")]
    update: Option<Vec<String>>,

    #[command(flatten)]
    mirrors: MirrorArgs,

    #[command(flatten)]
    store: StoreArgs,
}

/// Locks the templates one after another.
///
/// # Errors
/// The first that fails ends it.
pub async fn run(
    args: &LockArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut dyn Write,
) -> Result<u8, Failed> {
    let mut inputs = args.templates.inputs();
    // An image that is there already is no obstacle.
    inputs.force = true;
    let plans = super::load_all(&args.templates.templates, &inputs)?;
    let store = args.store.open().map_err(Failed::new)?;
    let cache = Cache::of_user().map_err(Failed::new)?;
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
    let update = match &args.update {
        None => Update::Keep,
        Some(names) if names.is_empty() => Update::All,
        Some(names) => Update::Only(names.clone()),
    };
    for plan in &plans {
        let locked = pipeline::lock(plan, update.clone(), &settings, ui, cancel).await;
        let (old, new) = locked.map_err(|error| Failed::with(error.exit_code(), error))?;
        let path = Lock::path_of(&plan.template.path);
        if old.as_ref() == Some(&new) {
            ui.note(&format!("{} is up to date", path.display()));
            continue;
        }
        for change in changes(old.as_ref(), &new) {
            writeln!(out, "{change}").map_err(Failed::stdout)?;
        }
    }
    Ok(0)
}

fn changes(old: Option<&Lock>, new: &Lock) -> Vec<lock::Change> {
    let nothing = Lock {
        packages: Vec::new(),
        ..new.clone()
    };
    lock::diff(old.unwrap_or(&nothing), new)
}
