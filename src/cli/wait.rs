//! `karat wait`

use std::time::Duration;

use clap::Args;

use super::CommandError;
use super::shared::channel_move::{MoveError, print, run_hook};
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use crate::record::channel::{ChannelName, Move};
use crate::size::wait_argument;
use crate::store::{Store, StoreError};
use crate::ui::Ui;
use crate::ui::report::Report;

/// Time between two reads of the channel, a file of some KiB.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Wait until a channel moves, and print the move
#[derive(Clone, Debug, Args)]
pub(crate) struct WaitArgs {
    /// The channel, such as web/stable
    #[arg(value_name = "CHANNEL")]
    channel: String,

    /// Wait for a move with a number above this one [default: number of the last move]
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,

    /// Fail with exit code 1 after this time
    #[arg(long, value_name = "TIME", value_parser = wait_argument)]
    timeout: Option<Duration>,

    /// Run this shell command after the move, with the move as JSON on its stdin
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    store: StoreArgs,
}

/// Waits for the first move with a number above `--after`.
pub(crate) async fn run(args: &WaitArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let name = &store.channel_name(&args.channel, None)?;
    let number = store.channel(name)?.number();
    if number == 0
        && let Some(nearest) = store.nearest_channel(&args.channel)
    {
        ui.warn_of(&Report::new(
            format!("there is no channel {name} yet"),
            format!("did you mean {nearest}?"),
        ));
    }
    let after = args.after.unwrap_or(number);
    let remark = match number {
        0 => ", which has never moved",
        _ => "",
    };
    ui.note(&format!("waiting for move {} of {name}{remark}", after + 1));
    let moved = next_move(&store, name, after);
    let entry = match args.timeout {
        None => moved.await?,
        Some(timeout) => {
            tokio::time::timeout(timeout, moved)
                .await
                .map_err(|_| MoveError::Timeout {
                    name: name.clone(),
                    waited: timeout,
                })??
        }
    };
    print(&entry, args.format.with_json_as(OutputFormat::Jsonl), out)?;
    match &args.exec {
        Some(command) => run_hook(command, &entry).await,
        None => Ok(()),
    }
}

async fn next_move(store: &Store, name: &ChannelName, after: u64) -> Result<Move, StoreError> {
    loop {
        let mut moves = store.channel(name)?.moves.into_iter();
        if let Some(found) = moves.find(|found| found.entry.number > after) {
            return Ok(found.entry);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
