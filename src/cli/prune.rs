//! `karat prune`

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::CommandError;
use super::prune_ec2::{self, Ec2Options};
use super::shared::stdout::{FormatArgs, OutputFormat, Records, Stdout};
use super::shared::store_args::StoreArgs;
use crate::ec2::machine;
use crate::fetch::Cache;
use crate::machine::qemu;
use crate::os::run_dir::RunDir;
use crate::record::manifest::ManifestId;
use crate::size::age_argument;
use crate::store::{Pruning, Retention, Store};
use crate::time::Timestamp;
use crate::ui::Ui;
use crate::ui::text::{counted, human_size};

/// Delete unreferenced images (mark, then sweep), or leftovers of killed builds
///
/// An image is kept while a channel points at it or can roll back to it, while it is pinned, while it is young, while it is
/// the last of its name, and while kept images are built on it. Other images are marked first, and deleted by a later run after
/// the grace period. Manifests, signatures, inventories and the audit log are never deleted. `karat store status` shows why
/// each image is kept.
#[derive(Clone, Debug, Args)]
pub(crate) struct PruneArgs {
    /// Delete run directories of killed builds and stop their guests, instead of images
    #[arg(long, conflicts_with_all = ["grace", "dry_run", "per_channel", "keep_within"])]
    runs: bool,

    /// Prune at AWS instead: deprecate AMIs of unreferenced images, and delete them with their snapshots after the grace period
    /// unless something uses them; with --runs, delete the leftovers of killed runs at AWS, too
    #[arg(long, help_heading = "AWS")]
    ec2: bool,

    /// Also prune in this region, besides those where images were published; may be repeated
    #[arg(
        long = "region",
        value_name = "REGION",
        requires = "ec2",
        help_heading = "AWS"
    )]
    regions: Vec<String>,

    /// Delete images that were marked at least this long ago
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = age_argument, help_heading = "Retention")]
    grace: Duration,

    /// Show what would be done, but change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    pub(super) store: StoreArgs,

    #[command(flatten, next_help_heading = "Retention")]
    keep: KeepArgs,
}

/// Retention rules.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct KeepArgs {
    /// Number of images to keep per channel: the current one and those it can roll back to
    #[arg(
        long = "keep",
        id = "per_channel",
        value_name = "N",
        default_value_t = 5
    )]
    per_channel: usize,

    /// Keep images that were built within this time
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = age_argument)]
    keep_within: Duration,
}

impl KeepArgs {
    pub(crate) fn keep(&self) -> Retention {
        Retention {
            // The store keeps the current image of a channel even with 0.
            per_channel: self.per_channel,
            within: self.keep_within,
        }
    }
}

pub(crate) async fn run(args: &PruneArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let format = args.format.with_json_as(OutputFormat::Jsonl);
    let options = Ec2Options {
        store: &args.store,
        regions: &args.regions,
        keep: args.keep.keep(),
        grace: args.grace,
        dry_run: args.dry_run,
        format,
    };
    let pruned = match (args.runs, args.ec2) {
        (false, false) => prune_store(args, ui, out).await,
        (false, true) => prune_ec2::prune_amis(&options, ui, out).await,
        (true, false) => {
            let mut records = out.records(format);
            prune_runs(RunsAtEc2::Keep, ui, &mut records).await?;
            records.finish()
        }
        (true, true) => {
            let mut records = out.records(format);
            prune_runs(RunsAtEc2::Remove, ui, &mut records).await?;
            prune_ec2::prune_runs(&options, ui, &mut records).await?;
            records.finish()
        }
    };
    if args.dry_run {
        ui.note("dry run: nothing was changed");
    }
    pruned
}

async fn prune_store(args: &PruneArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let keep = args.keep.keep();
    let pruning = if args.dry_run {
        let now = Timestamp::now();
        store.pruning(&store.held(keep, now)?, args.grace, now)?
    } else {
        let waiting = || ui.note("waiting for other processes to finish writing to the store");
        store.prune(keep, args.grace, waiting).await?
    };
    if !store.root().exists() {
        ui.note(&format!("no store at {}", store.root().display()));
    }
    let format = args.format.with_json_as(OutputFormat::Jsonl);
    out.document(format, &as_json(&pruning), || as_text(&pruning, &store))
}

/// Names the groups of images that pruning tells apart.
fn groups(pruning: &Pruning) -> [(&'static str, &[ManifestId]); 4] {
    [
        ("removed", &pruning.removed),
        ("marked", &pruning.condemned),
        ("waiting", &pruning.waiting),
        ("kept", &pruning.spared),
    ]
}

fn as_json(pruning: &Pruning) -> Value {
    let mut line = json!({"blobs": pruning.blobs.len(), "bytes": pruning.bytes});
    for (group, ids) in groups(pruning) {
        line[group] = ids.iter().map(ToString::to_string).collect();
    }
    line
}

fn as_text(pruning: &Pruning, store: &Store) -> String {
    let name = |id: ManifestId| {
        let stored = store.manifest(id);
        stored.map_or_else(
            |_| String::new(),
            |stored| stored.manifest.inputs.image.name,
        )
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    for (group, ids) in groups(pruning) {
        for id in ids {
            let _ = writeln!(text, "{group:8} {}  {}", id.short(), name(*id));
        }
    }
    let _ = writeln!(
        text,
        "{:8} {} ({})",
        "freed",
        human_size(pruning.bytes),
        counted(pruning.blobs.len(), "file")
    );
    text
}

/// Treatment of a killed run's resources at EC2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RunsAtEc2 {
    Keep,
    Remove,
}

/// Stops the guests of killed runs on this machine and removes their run directories. Prints the path of each.
async fn prune_runs(
    at_ec2: RunsAtEc2,
    ui: &Ui,
    records: &mut Records<'_>,
) -> Result<(), CommandError> {
    let cannot = |what: &'static str| move |error: io::Error| CommandError::io(what, &error);
    let cache = Cache::of_user()?;
    let leftovers =
        RunDir::leftovers(&cache.runs()).map_err(cannot("cannot list the run directories"))?;
    for leftover in leftovers {
        let path = leftover.path().to_owned();
        if qemu::end_leftover(&path).map_err(cannot("cannot stop the guest of a killed run"))? {
            ui.note(&format!("stopped the guest of {}", path.display()));
        }
        if let Some(run) =
            machine::read_leftover(&path).map_err(cannot("cannot read a run directory"))?
        {
            if at_ec2 == RunsAtEc2::Keep {
                // The run directory is the only record of resources that cost money.
                ui.warn(&format!(
                    "{} may have leftovers at EC2; remove them with `karat prune --runs --ec2`",
                    path.display()
                ));
                continue;
            }
            let removed = run.remove(ui).await?;
            prune_ec2::print_removed(run.region(), &removed, records)?;
        }
        leftover
            .remove()
            .map_err(cannot("cannot remove a run directory"))?;
        let path = path.display().to_string();
        records.add(&json!({"path": path}), || path.clone())?;
    }
    Ok(())
}
