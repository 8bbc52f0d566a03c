//! Undo journal of a channel move at AWS, written before the move begins: the next run completes the move or undoes it.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Change;
use crate::os::atomic_file;
use crate::record::manifest::ManifestId;

/// Name and version of the format.
const SCHEMA: &str = "karat.ec2-move/1";

/// Move that has begun.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    schema: String,
    /// Number of the move in the channel.
    pub number: u64,
    /// Manifest that the channel is to point at.
    pub manifest: ManifestId,
    /// Changes to make at AWS.
    pub changes: Vec<Change>,
}

impl Journal {
    pub fn new(number: u64, manifest: ManifestId, changes: Vec<Change>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            number,
            manifest,
            changes,
        }
    }

    /// Reads the journal of an unfinished move; `None` if there is none.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let journal: Self = serde_json::from_slice(&bytes)?;
        if journal.schema != SCHEMA {
            let problem = format!("its schema is {:?}, not {SCHEMA:?}", journal.schema);
            return Err(io::Error::other(problem));
        }
        Ok(Some(journal))
    }

    /// Writes and syncs the journal.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self)?;
        atomic_file::make_directory(atomic_file::directory_of(path))?;
        atomic_file::write(path, 0o644, &bytes)
    }

    /// Removes the journal of a finished move.
    pub fn end(path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}
