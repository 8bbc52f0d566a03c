//! `karat prune`

use std::io::Write;

use clap::Args;

use super::Failed;
use crate::builder::qemu;
use crate::fetch::Cache;
use crate::run::RunDir;
use crate::ui::Ui;

/// Remove what killed builds have left
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Remove run directories whose karat is gone, and end their guests
    #[arg(long, required = true)]
    runs: bool,
}

/// Removes every leftover; prints the path of each.
///
/// # Errors
/// Names the first that could not be removed.
pub fn run(_args: &PruneArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), Failed> {
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
        leftover
            .remove()
            .map_err(|error| Failed::io("cannot remove a run directory", error))?;
        writeln!(out, "{}", path.display()).map_err(Failed::stdout)?;
    }
    Ok(())
}
