//! `karat outdated`

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use super::{CommandError, ExitStatus};
use crate::fetch::Cache;
use crate::plan::{self, LoadError};
use crate::record::lock::{Lock, LockError};
use crate::record::manifest::ManifestId;
use crate::repository::{self, Outdated};
use crate::ui::Ui;
use crate::ui::text::terminal_safe;

/// List locked packages that have newer versions
///
/// Asks the archives in the lock file, without booting anything. Their signatures are not verified before
/// `karat lock --update` takes over a version.
#[derive(Debug, Args)]
pub(crate) struct OutdatedArgs {
    /// A template with a lock file, the lock file, or an image: 4 or more digits of its id, NAME, NAME@latest, or a channel
    #[arg(value_name = "TEMPLATE|ID")]
    what: String,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Error, Diagnostic)]
#[error("image {0} was built without a lock file")]
#[diagnostic(help("build it again: every build writes one now"))]
struct NoLock(ManifestId);

impl ExitStatus for NoLock {}

/// Prints the name, locked version and newest version of each outdated package.
pub(crate) async fn run(
    args: &OutdatedArgs,
    ui: &Ui,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    let lock = lock_of(args)?;
    let cache = Cache::of_user()?;
    let outdated = repository::outdated(&lock, &cache, ui).await?;
    let format = args.format.with_json_as(OutputFormat::Json);
    out.list(format, &outdated, || text(&outdated))?;
    if outdated.is_empty() {
        let count = lock.packages.len();
        ui.note(&format!("all {count} locked packages are up to date"));
    }
    Ok(())
}

/// Reads a lock file, or that of a template or a manifest. Names of images have no `.`.
fn lock_of(args: &OutdatedArgs) -> Result<Lock, CommandError> {
    let path = Path::new(&args.what);
    if path.is_file() || args.what.contains('.') {
        return super::lock_of(path);
    }
    let store = args.store.open()?;
    let id = store.resolve(&args.what).map_err(|error| {
        if plan::nearby_templates(path).is_empty() {
            return CommandError::from(error);
        }
        LoadError::missing(path).into()
    })?;
    let lock = store.manifest(id)?.manifest.inputs.lock;
    let path = store.blob(&lock.ok_or(NoLock(id))?.digest);
    Ok(Lock::read(&path)?.ok_or(LockError::Missing(path))?)
}

fn text(outdated: &[Outdated]) -> String {
    let width = |cell: fn(&Outdated) -> &str| {
        let lengths = outdated.iter().map(|package| cell(package).len());
        lengths.max().unwrap_or(0)
    };
    let (name, locked) = (
        width(|package| &package.name),
        width(|package| &package.locked),
    );
    let mut text = String::new();
    for package in outdated {
        let row = format!(
            "{:name$}  {:locked$} -> {}",
            package.name, package.locked, package.newest
        );
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", terminal_safe(&row));
    }
    text
}
