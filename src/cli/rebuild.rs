//! `karat rebuild`

use std::io::Write;

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::shared::store_args::StoreArgs;
use super::{Failed, MirrorArgs};
use crate::fetch::Cache;
use crate::os::run_dir::RunDir;
use crate::pipeline::compare::{Compared, Comparison, Level, compare};
use crate::pipeline::rebuild::materials;
use crate::pipeline::{self, OnError, RevokedBase, ScanSettings, Settings};
use crate::plan;
use crate::record::manifest::ManifestId;
use crate::ui::Ui;

/// Build a recorded image again and compare
///
/// Needs the store, not the template's directory: template, files, lock, packages and base are in the store, or in the
/// cache. Prints the level that was reached: L0 recorded, L1 inputs locked, L2 same packages, L3 same tree, L4 same bytes;
/// and the first differences. Records nothing.
///
/// Exit codes: 0 the level that the manifest claims was reached, 1 the build failed, 4 it was not reached, 130 cancelled.
#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// Rebuild the image of the manifest with this id; its first 8 digits or more will do
    id: String,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    mirrors: MirrorArgs,

    #[command(flatten)]
    store: StoreArgs,
}

/// What is printed.
#[derive(Serialize)]
struct Report<'a> {
    id: ManifestId,
    claimed: Level,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

/// Builds again and tells how far it is the same.
///
/// # Errors
/// There is no such manifest, something that it names is missing, or the build failed.
pub async fn run(
    args: &RebuildArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut dyn Write,
) -> Result<u8, Failed> {
    let store = args.store.open().map_err(Failed::new)?;
    let cache = Cache::of_user().map_err(Failed::new)?;
    let stored = store
        .resolve(&args.id)
        .and_then(|id| store.manifest(id))
        .map_err(|error| Failed::with(error.exit_code(), error))?;
    let run = RunDir::create(&cache.runs())
        .map_err(|error| Failed::io("cannot use a run directory in the cache", error))?;
    let found = materials(&stored.manifest, &store, &cache, run.path()).await;
    let found = found.map_err(Failed::new)?;
    let secrets = plan::secrets::read(&found.plan.secrets, |name| std::env::var_os(name))
        .map_err(|error| Failed::with(2, error))?;
    ui.hide(&secrets);
    let settings = Settings {
        cache: &cache,
        store: &store,
        force: true,
        on_error: OnError::Cleanup,
        locked: true,
        mirrors: &args.mirrors.mirrors,
        twice: false,
        // What comes of it is compared, and not kept.
        revoked_base: RevokedBase::Allow,
        base: Some(&found.base),
        // Nothing is recorded, so nothing is judged.
        scan: &ScanSettings::default(),
    };
    let made = pipeline::again(&found.plan, &secrets, &settings, ui, cancel).await;
    let made = made.map_err(|error| Failed::with(error.exit_code(), error))?;
    let recorded = Compared {
        manifest: &stored.manifest,
        listing: found.listing.as_ref(),
    };
    let comparison = compare(recorded, made.compared(), |path| made.owner(path));
    drop(run);
    let claimed = Level::claimed(&stored.manifest);
    let report = Report {
        id: stored.id,
        claimed,
        comparison: &comparison,
    };
    print(&report, args.json, out).map_err(Failed::stdout)?;
    Ok(if comparison.level < claimed { 4 } else { 0 })
}

fn print(report: &Report<'_>, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if json {
        serde_json::to_writer_pretty(&mut *out, report)?;
        writeln!(out)?;
        return out.flush();
    }
    writeln!(out, "{} ({})", report.comparison.level, report.id.short())?;
    if report.comparison.level < report.claimed {
        writeln!(out, "the manifest claims {}", report.claimed)?;
    }
    if !report.comparison.differences.is_empty() {
        writeln!(out, "{}", report.comparison.told())?;
    }
    out.flush()
}
