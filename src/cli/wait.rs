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

/// Time between two reads of the channel, a file of some KiB.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Wait until a channel moves, and print the move
#[derive(Clone, Debug, Args)]
pub(crate) struct WaitArgs {
    /// The channel, such as web/stable
    #[arg(value_name = "CHANNEL")]
    channel: ChannelName,

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
    let after = match args.after {
        Some(number) => number,
        None => store.channel(&args.channel)?.number(),
    };
    let remark = match store.channel(&args.channel)?.number() {
        0 => ", which has never moved",
        _ => "",
    };
    ui.note(&format!(
        "waiting for move {} of {}{remark}",
        after + 1,
        args.channel
    ));
    let moved = next_move(&store, &args.channel, after);
    let entry = match args.timeout {
        None => moved.await?,
        Some(timeout) => {
            tokio::time::timeout(timeout, moved)
                .await
                .map_err(|_| MoveError::Timeout {
                    name: args.channel.clone(),
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
