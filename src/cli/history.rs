//! `karat history`

use clap::Args;

use super::CommandError;
use super::shared::channel_move::MoveLine;
use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::shared::store_args::StoreArgs;
use crate::record::channel::{ChannelName, Direction, Move, SignedMove};
use crate::store::{Store, StoreError};
use crate::ui::Ui;
use crate::ui::text::terminal_safe;

/// Show the moves of a channel, or the last move of each channel
///
/// The newest move comes first.
#[derive(Clone, Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The channel, such as web/stable
    #[arg(value_name = "CHANNEL")]
    channel: Option<String>,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) fn run(args: &HistoryArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let entries = match &args.channel {
        Some(name) => moves(&store, &store.channel_name(name, None)?)?,
        None => heads(&store)?,
    };
    if entries.is_empty() {
        let root = store.root().display();
        ui.note(&format!(
            "no channels in the store at {root}; `karat promote ID CHANNEL` creates one"
        ));
    }
    let mut records = out.records(args.format.with_json_as(OutputFormat::Jsonl));
    for SignedMove { entry, .. } in entries {
        records.add(&MoveLine::new(&entry), || text(&entry))?;
    }
    records.finish()
}

fn text(entry: &Move) -> String {
    let direction = match entry.direction {
        Direction::Promote => "promote ",
        Direction::Rollback => "rollback",
    };
    format!(
        "{}  {:>4}  {direction}  {}  {}  {}  {}",
        entry.channel,
        entry.number,
        entry.manifest.short(),
        entry.moved,
        terminal_safe(&entry.by),
        terminal_safe(&entry.reason)
    )
}

/// Returns the moves of a channel, newest first.
fn moves(store: &Store, name: &ChannelName) -> Result<Vec<SignedMove>, StoreError> {
    let mut moves = store.channel(name)?.moves;
    if moves.is_empty() {
        return Err(store.no_channel(name));
    }
    moves.reverse();
    Ok(moves)
}

/// Returns the last move of each channel.
fn heads(store: &Store) -> Result<Vec<SignedMove>, StoreError> {
    let mut heads = Vec::new();
    for name in store.channels()? {
        heads.extend(store.channel(&name)?.moves.pop());
    }
    Ok(heads)
}
