//! `karat outdated`

use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::Failed;
use super::shared::store_args::{StoreArgs, plain};
use crate::fetch::Cache;
use crate::record::lock::{Lock, LockError};
use crate::record::manifest::ManifestId;
use crate::repository::{self, Outdated};
use crate::store::StoreError;
use crate::ui::Ui;

/// List locked packages that have newer versions
///
/// Asks the archives that the lock names, without booting anything. Their signatures are checked later, when
/// `karat lock --update` takes a version over.
#[derive(Debug, Args)]
pub struct OutdatedArgs {
    /// A template that has a lock, or the id of a manifest
    #[arg(value_name = "TEMPLATE|ID")]
    what: String,

    /// Print one array of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    store: StoreArgs,
}

/// A manifest of an image that was made without a lock.
#[derive(Debug, Error, Diagnostic)]
#[error("the image {0} was made without a lock")]
#[diagnostic(help("build it again: every build has one now"))]
struct NoLock(ManifestId);

/// Prints name, locked and newest version of each.
///
/// # Errors
/// There is no lock, or an archive does not answer.
pub async fn run(args: &OutdatedArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), Failed> {
    let lock = lock_of(args)?;
    let cache = Cache::of_user().map_err(Failed::new)?;
    let outdated = repository::outdated(&lock, &cache, ui).await;
    let outdated = outdated.map_err(Failed::new)?;
    print(args.json, &outdated, out).map_err(Failed::stdout)?;
    if outdated.is_empty() {
        let count = lock.packages.len();
        ui.note(&format!(
            "no locked package has a newer version ({count} locked)"
        ));
    }
    Ok(())
}

/// What looks like a file is one: an id is hex digits alone.
fn lock_of(args: &OutdatedArgs) -> Result<Lock, Failed> {
    let template = Path::new(&args.what);
    if template.is_file() || args.what.contains(['.', '/']) {
        return super::lock_of(template);
    }
    let failed = |error: StoreError| Failed::with(error.exit_code(), error);
    let store = args.store.open().map_err(failed)?;
    let id = store.resolve(&args.what).map_err(failed)?;
    let stored = store.manifest(id).map_err(failed)?;
    let digest = stored.manifest.inputs.lock.map(|lock| lock.digest);
    let digest = digest.ok_or_else(|| Failed::new(NoLock(id)))?;
    let path = store.blob(&digest);
    let lock = Lock::read(&path).and_then(|lock| lock.ok_or(LockError::Missing(path)));
    lock.map_err(|error| Failed::with(error.exit_code(), error))
}

fn print(json: bool, outdated: &[Outdated], out: &mut dyn Write) -> io::Result<()> {
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(outdated)?)?;
        return out.flush();
    }
    let width = |text: fn(&Outdated) -> &str| {
        let lengths = outdated.iter().map(|one| text(one).len());
        lengths.max().unwrap_or(0)
    };
    let (name, locked) = (width(|one| &one.name), width(|one| &one.locked));
    for one in outdated {
        let row = format!(
            "{:name$}  {:locked$} -> {}",
            one.name, one.locked, one.newest
        );
        writeln!(out, "{}", plain(&row))?;
    }
    out.flush()
}
