//! A move as JSON.

use serde::Serialize;

use crate::record::channel::Move;
use crate::record::manifest::ManifestId;

/// The record of a move, with the image under the names that other verbs use.
#[derive(Serialize)]
pub(in crate::cli) struct MoveLine<'a> {
    id: ManifestId,
    name: &'a str,
    #[serde(flatten)]
    entry: &'a Move,
}

impl<'a> MoveLine<'a> {
    pub(in crate::cli) fn new(entry: &'a Move) -> Self {
        Self {
            id: entry.manifest,
            name: &entry.channel.image,
            entry,
        }
    }
}
