//! `karat rebuild`

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::shared::logged::{LoggedResult, logged};
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use super::{CommandError, MirrorArgs};
use crate::fetch::Cache;
use crate::os::run_dir::RunDir;
use crate::pipeline::compare::{Compared, Comparison, Level, compare};
use crate::pipeline::rebuild::materials;
use crate::pipeline::{BuildError, Job, OnError, RevokedBase, ScanSettings, Settings};
use crate::plan;
use crate::record::manifest::ManifestId;
use crate::store::{Store, StoredManifest};
use crate::ui::{BuildInfo, Ui};

/// Build a recorded image again and compare the result
///
/// Needs the store, not the template's directory: template, files, lock file, packages and base are in the store or the
/// cache. Prints the level of reproducibility (L0 recorded, L1 inputs locked, L2 same packages, L3 same tree, L4 same
/// bytes) and the first differences, and fails with exit code 4 if the level that the manifest claims was not reached. Records
/// nothing.
#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// Image: 4 or more digits of its id, NAME, NAME@latest, or a channel that points at it
    id: String,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    mirrors: MirrorArgs,

    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    id: ManifestId,
    claimed: Level,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

/// Builds the image again and compares it with the record. Returns the exit code.
pub(crate) async fn run(
    args: &RebuildArgs,
    ui: &Ui,
    cancel: &CancellationToken,
    out: &mut Stdout,
) -> Result<u8, CommandError> {
    let store = args.store.open()?;
    let cache = Cache::of_user()?;
    let stored = store.manifest(store.resolve(&args.id)?)?;
    let inputs = &stored.manifest.inputs;
    let info = BuildInfo {
        verb: "rebuild",
        image: &inputs.image.name,
        template: Path::new(&args.id),
    };
    let logs = cache.logs();
    let rebuilt = logged(ui, info, None, &logs, async |ui| {
        rebuild(args, &stored, &store, &cache, ui, cancel).await
    });
    let rebuilt = match rebuilt.await {
        Ok(rebuilt) => rebuilt,
        Err(code) => return Ok(code),
    };
    let report = Report {
        id: stored.id,
        claimed: rebuilt.claimed,
        comparison: &rebuilt.comparison,
    };
    let format = args.format.with_json_as(OutputFormat::Json);
    out.document(format, &report, || text(&report))?;
    Ok(rebuilt.code())
}

/// Levels of reproducibility that were reached and claimed.
struct Rebuilt {
    claimed: Level,
    comparison: Comparison,
}

impl LoggedResult for Rebuilt {
    fn code(&self) -> u8 {
        if self.comparison.level < self.claimed {
            4
        } else {
            0
        }
    }
}

async fn rebuild(
    args: &RebuildArgs,
    stored: &StoredManifest,
    store: &Store,
    cache: &Cache,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<Rebuilt, CommandError> {
    let run = RunDir::create(&cache.runs())
        .map_err(|error| CommandError::io("cannot create a run directory in the cache", &error))?;
    let found = materials(&stored.manifest, store, cache, run.path()).await?;
    let secrets = plan::secrets::read(&found.plan.secrets, |name| std::env::var_os(name))?;
    ui.hide(&secrets);
    let settings = Settings {
        cache,
        store,
        force: true,
        on_error: OnError::Cleanup,
        locked: true,
        mirrors: &args.mirrors.mirrors,
        twice: false,
        // The result is compared, not kept.
        revoked_base: RevokedBase::Allow,
        base: Some(&found.base),
        // An image that is not recorded needs no scan.
        scan: &ScanSettings::default(),
    };
    let job = Job {
        plan: &found.plan,
        secrets: &secrets,
        settings: &settings,
        ui,
        cancel,
    };
    let made = job.again().await.map_err(BuildError::without_position)?;
    let recorded = Compared {
        manifest: &stored.manifest,
        listing: found.listing.as_ref(),
    };
    Ok(Rebuilt {
        claimed: Level::claimed(&stored.manifest),
        comparison: compare(recorded, made.compared(), |path| made.owner(path)),
    })
}

fn text(report: &Report<'_>) -> String {
    let Report {
        id,
        claimed,
        comparison,
    } = report;
    let mut text = format!("{} ({})\n", comparison.level, id.short());
    // Writing to a String cannot fail.
    if comparison.level < *claimed {
        let _ = writeln!(text, "the manifest claims {claimed}");
    }
    if !comparison.differences.is_empty() {
        let _ = writeln!(text, "{}", comparison.told());
    }
    text
}
