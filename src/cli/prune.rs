//! `karat prune`

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Failed;
use super::shared::store_args::{StoreArgs, size};
use crate::ec2::machine;
use crate::fetch::Cache;
use crate::machine::qemu;
use crate::os::run_dir::RunDir;
use crate::record::manifest::ManifestId;
use crate::size::parse_duration;
use crate::store::{Keep, Pruning, StoreError};
use crate::time::Timestamp;
use crate::ui::Ui;

/// Remove images that nothing holds, in two steps; or what killed builds have left
///
/// An image is held by a channel that points to it or may go back to it, by a pin, by its age, by being the last of its name,
/// and by images that are built on it. What nothing holds is marked first, and removed by a later run once its time is over.
/// Manifests, signatures, inventories and the audit log are never removed. `karat store status` shows what holds what.
#[derive(Clone, Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub struct PruneArgs {
    /// Remove run directories whose karat is gone, and end their guests, instead
    #[arg(long, conflicts_with_all = ["grace", "dry_run", "json", "per_channel", "keep_within"])]
    pub(super) runs: bool,

    /// Look after what is at AWS instead: AMIs of images that nothing holds are deprecated, and removed with their snapshots once
    /// their time is over and nothing uses them; with --runs, what killed runs have left there
    #[arg(long)]
    pub(super) ec2: bool,

    /// Look in this region, too, besides those where images were published; may be given several times
    #[arg(long = "region", value_name = "REGION", requires = "ec2")]
    pub(super) regions: Vec<String>,

    #[command(flatten)]
    pub(super) keep: KeepArgs,

    /// Remove what was marked so long ago
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = duration)]
    pub(super) grace: Duration,

    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// What is kept.
#[derive(Clone, Copy, Debug, Args)]
pub struct KeepArgs {
    /// Keep so many images of each channel: where it points, and those that it may go back to
    #[arg(
        long = "keep",
        id = "per_channel",
        value_name = "N",
        default_value_t = 5
    )]
    per_channel: usize,

    /// Keep images that were built within this time
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration)]
    keep_within: Duration,
}

impl KeepArgs {
    /// As the store wants it.
    #[must_use]
    pub fn keep(&self) -> Keep {
        Keep {
            // Where a channel points is held in every case.
            per_channel: self.per_channel,
            within: self.keep_within,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// Removes what is no longer needed; prints what became of each image, or the path of each leftover.
///
/// # Errors
/// Names the first that could not be removed; or the store is damaged, so that it cannot be told what is needed.
pub async fn run(args: &PruneArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), Failed> {
    if args.runs {
        runs(args, ui, out).await?;
        if args.ec2 {
            return super::prune_ec2::runs(args, ui, out).await;
        }
        return Ok(());
    }
    if args.ec2 {
        return super::prune_ec2::run(args, ui, out).await;
    }
    let failed = |error: StoreError| Failed::with(error.exit_code(), error);
    let store = args.store.open().map_err(failed)?;
    let keep = args.keep.keep();
    let pruning = if args.dry_run {
        let now = Timestamp::now();
        let held = store.held(keep, now);
        held.and_then(|held| store.pruning(&held, args.grace, now))
    } else {
        let waiting = || ui.note("waiting for whoever writes to the store");
        store.prune(keep, args.grace, waiting).await
    };
    let pruning = pruning.map_err(failed)?;
    let names = |id: &ManifestId| {
        let stored = store.manifest(*id);
        stored.map_or_else(|_| String::new(), |it| it.manifest.inputs.image.name)
    };
    print(&pruning, names, args.json, out).map_err(Failed::stdout)?;
    if args.dry_run {
        ui.note("nothing was done (`--dry-run`)");
    }
    Ok(())
}

fn print(
    pruning: &Pruning,
    name: impl Fn(&ManifestId) -> String,
    json: bool,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let of = [
        ("removed", &pruning.removed),
        ("marked", &pruning.condemned),
        ("waiting", &pruning.waiting),
        ("kept", &pruning.spared),
    ];
    if json {
        let ids = |ids: &[ManifestId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut line = json!({"blobs": pruning.blobs.len(), "bytes": pruning.bytes});
        for (what, images) in of {
            line[what] = json!(ids(images));
        }
        writeln!(out, "{line}")?;
        return out.flush();
    }
    for (what, ids) in of {
        for id in ids {
            writeln!(out, "{what:8} {}  {}", id.short(), name(id))?;
        }
    }
    writeln!(
        out,
        "{:8} {} ({})",
        "freed",
        size(pruning.bytes),
        crate::scan::report::number(pruning.blobs.len(), "file")
    )?;
    out.flush()
}

async fn runs(args: &PruneArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), Failed> {
    let cache = Cache::of_user().map_err(Failed::new)?;
    let leftovers = RunDir::leftovers(&cache.runs())
        .map_err(|error| Failed::io("cannot look for run directories", error))?;
    for leftover in leftovers {
        let path = leftover.path().to_owned();
        if qemu::end_leftover(&path)
            .map_err(|error| Failed::io("cannot end a guest that was left over", error))?
        {
            ui.note(&format!("ended the guest of {}", path.display()));
        }
        let at_ec2 = machine::leftover(&path);
        let at_ec2 = at_ec2.map_err(|error| Failed::io("cannot read a run directory", error))?;
        if let Some(run) = at_ec2 {
            if !args.ec2 {
                // It is the only record of what may cost money.
                ui.warn(&format!(
                    "{} may have left something at EC2: `karat prune --runs --ec2` removes it",
                    path.display()
                ));
                continue;
            }
            let removed = run.remove(ui).await.map_err(Failed::new)?;
            super::prune_ec2::tell(run.region(), &removed, out)?;
        }
        leftover
            .remove()
            .map_err(|error| Failed::io("cannot remove a run directory", error))?;
        writeln!(out, "{}", path.display()).map_err(Failed::stdout)?;
    }
    Ok(())
}
