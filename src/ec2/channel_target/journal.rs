//! What a move at AWS is about to do, written down before it is done: whoever comes next ends it or puts it back.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Change;
use crate::os::atomic_file;
use crate::record::manifest::ManifestId;

/// Name and version of the form.
const SCHEMA: &str = "karat.ec2-move/1";

/// A move that has begun.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    schema: String,
    /// The move's number in the channel.
    pub number: u64,
    /// Where the channel goes.
    pub manifest: ManifestId,
    /// What is done at AWS.
    pub changes: Vec<Change>,
}

impl Journal {
    /// Of a move that begins now.
    #[must_use]
    pub fn new(number: u64, manifest: ManifestId, changes: Vec<Change>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            number,
            manifest,
            changes,
        }
    }

    /// The journal of a move that did not end; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read, or has another form.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let journal: Self = serde_json::from_slice(&bytes)?;
        if journal.schema != SCHEMA {
            let form = format!("its form is {:?}, not {SCHEMA:?}", journal.schema);
            return Err(io::Error::other(form));
        }
        Ok(Some(journal))
    }

    /// Writes it down, so that it is there whatever happens next.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self)?;
        atomic_file::make_directory(atomic_file::directory_of(path))?;
        atomic_file::write(path, 0o644, &bytes)
    }

    /// The move has ended.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn end(path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}
