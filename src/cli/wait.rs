//! `karat wait`

use std::io::Write;
use std::time::Duration;

use clap::Args;

use super::shared::channel_move::{MoveError, hook, print};
use super::shared::store_args::StoreArgs;
use crate::record::channel::ChannelName;
use crate::size::parse_duration;
use crate::ui::Ui;

/// How often the channel is looked at: a file of some KiB.
const POLL: Duration = Duration::from_millis(250);

/// Wait until a channel moves, and print the move
#[derive(Clone, Debug, Args)]
pub struct WaitArgs {
    /// The channel, such as web/stable
    #[arg(value_name = "CHANNEL")]
    pub channel: ChannelName,

    /// Wait for a move with a higher number than this one [default: that of the last move there is]
    #[arg(long, value_name = "NUMBER")]
    pub after: Option<u64>,

    /// Give up after this time, with exit code 1
    #[arg(long, value_name = "TIME", value_parser = |text: &str| parse_duration(text).map_err(|error| error.to_string()))]
    pub timeout: Option<Duration>,

    /// Run this command once the channel has moved, with the move as JSON on its stdin
    #[arg(long, value_name = "COMMAND")]
    pub exec: Option<String>,

    /// Print the move as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Waits for a move; the first after a number, when there were several.
///
/// # Errors
/// It did not move in time, or the channel cannot be read.
pub async fn run(args: &WaitArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), MoveError> {
    let store = args.store.open()?;
    let after = match args.after {
        Some(number) => number,
        None => store.channel(&args.channel)?.number(),
    };
    ui.note(&format!(
        "waiting for move {} of {}",
        after + 1,
        args.channel
    ));
    let moved = async {
        loop {
            let channel = store.channel(&args.channel)?;
            let mut moves = channel.moves.into_iter();
            if let Some(kept) = moves.find(|kept| kept.entry.number > after) {
                return Ok::<_, MoveError>(kept.entry);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let entry = match args.timeout {
        None => moved.await?,
        Some(timeout) => match tokio::time::timeout(timeout, moved).await {
            Ok(moved) => moved?,
            Err(_) => {
                return Err(MoveError::Stayed {
                    name: args.channel.clone(),
                    waited: timeout,
                });
            }
        },
    };
    print(&entry, args.json, out)?;
    match &args.exec {
        Some(command) => hook(command, &entry).await,
        None => Ok(()),
    }
}
