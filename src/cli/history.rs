//! `karat history`

use std::io::Write;

use clap::Args;

use super::shared::store_args::{StoreArgs, StoredError, plain};
use crate::record::channel::{ChannelName, Direction, Entry};
use crate::store::{Store, StoreError};

/// Show where a channel points and every move that it made, the last one first; without a channel, where each one points
#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// The channel, such as web/stable
    #[arg(value_name = "CHANNEL")]
    pub channel: Option<ChannelName>,

    /// Print one JSON object a move
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Prints moves.
///
/// # Errors
/// There is no such channel, or it was changed by hand.
pub fn run(args: &HistoryArgs, out: &mut dyn Write) -> Result<(), StoredError> {
    let store = args.store.open()?;
    let kept = match &args.channel {
        Some(name) => all(&store, name)?,
        None => heads(&store)?,
    };
    for kept in kept {
        let entry = &kept.entry;
        if args.json {
            let line = serde_json::to_string(entry).map_err(std::io::Error::other)?;
            writeln!(out, "{line}")?;
            continue;
        }
        let way = match entry.direction {
            Direction::Promote => "promote ",
            Direction::Rollback => "rollback",
        };
        writeln!(
            out,
            "{}  {:>4}  {way}  {}  {}  {}  {}",
            entry.channel,
            entry.number,
            entry.manifest.short(),
            entry.moved,
            plain(&entry.by),
            plain(&entry.reason)
        )?;
    }
    Ok(out.flush()?)
}

fn all(store: &Store, name: &ChannelName) -> Result<Vec<Entry>, StoreError> {
    let mut moves = store.channel(name)?.moves;
    if moves.is_empty() {
        return Err(StoreError::NoChannel(name.clone()));
    }
    moves.reverse();
    Ok(moves)
}

fn heads(store: &Store) -> Result<Vec<Entry>, StoreError> {
    let mut heads = Vec::new();
    for name in store.channels()? {
        heads.extend(store.channel(&name)?.moves.pop());
    }
    Ok(heads)
}
