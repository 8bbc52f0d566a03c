//! How far an upload is, kept in a file, so that the next run goes on where a killed one stopped.
//!
//! One line a fact, added at the end: what is uploaded, the snapshot once it is known, each block that AWS has. A line that was cut
//! off is of no use, and none of them is needed: without it, a block is sent once more.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::PublishError;
use crate::aws::ec2::Tags;
use crate::flock::FileLock;

/// What a snapshot is begun with: a second beginning with the same is the same snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Beginning {
    pub(super) token: String,
    pub(super) tags: Tags,
    pub(super) size: u64,
    pub(super) parent: Option<String>,
    pub(super) encrypted: bool,
    pub(super) kms_key: Option<String>,
}

/// An upload that has begun.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) beginning: Beginning,
    pub(super) snapshot: Option<String>,
    done: HashSet<u64>,
    file: Mutex<File>,
    path: PathBuf,
    lock: FileLock,
}

/// The files of uploads, among those of other regions and images.
pub(super) fn place(cache: &Path, name: &str) -> PathBuf {
    cache.join("uploads").join(name)
}

impl Progress {
    /// Takes up the upload of this name, or begins one. `None` while another process is at it.
    pub(super) fn open(
        path: &Path,
        begin: impl FnOnce() -> Beginning,
    ) -> Result<Option<Self>, PublishError> {
        let failed = |source| PublishError::Progress {
            path: path.to_owned(),
            source,
        };
        let directory = path.parent().unwrap_or(path);
        fs::create_dir_all(directory).map_err(failed)?;
        let lock = FileLock::try_exclusive(&path.with_extension("lock")).map_err(failed)?;
        let Some(lock) = lock else { return Ok(None) };
        let known = match fs::read_to_string(path) {
            Ok(text) => read(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let is_known = known.is_some();
        let (beginning, snapshot, done) = known.unwrap_or_else(|| (begin(), None, HashSet::new()));
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(failed)?;
        let progress = Self {
            beginning,
            snapshot,
            done,
            file: Mutex::new(file),
            path: path.to_owned(),
            lock,
        };
        if !is_known {
            // Whatever was there is of no use.
            progress.file().set_len(0).map_err(failed)?;
            let line = serde_json::to_string(&progress.beginning).expect("it is made of text");
            progress.add(&line)?;
        }
        Ok(Some(progress))
    }

    /// An upload that nobody goes on with; `None` while somebody does, or when there is none.
    pub(super) fn of_dead(path: &Path) -> Result<Option<Self>, PublishError> {
        match fs::read_to_string(path) {
            Ok(text) if read(&text).is_some() => {}
            // Nothing was begun with it.
            Ok(_) => {
                let _ = fs::remove_file(path);
                return Ok(None);
            }
            Err(_) => return Ok(None),
        }
        let nothing = || Beginning {
            token: String::new(),
            tags: Tags::default(),
            size: 0,
            parent: None,
            encrypted: false,
            kms_key: None,
        };
        Self::open(path, nothing)
    }

    /// The snapshot has this name.
    pub(super) fn begun(&mut self, snapshot: String) -> Result<(), PublishError> {
        self.add(&snapshot)?;
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// Whether AWS has a block.
    pub(super) fn has(&self, block: u64) -> bool {
        self.done.contains(&block)
    }

    /// AWS has a block.
    pub(super) fn put(&self, block: u64) -> Result<(), PublishError> {
        self.add(&block.to_string())
    }

    /// It is over.
    pub(super) fn end(self) -> Result<(), PublishError> {
        let removed = fs::remove_file(&self.path).and_then(|()| self.lock.remove());
        removed.map_err(|source| PublishError::Progress {
            path: self.path,
            source,
        })
    }

    fn file(&self) -> std::sync::MutexGuard<'_, File> {
        self.file.lock().expect("nobody panics with it")
    }

    fn add(&self, line: &str) -> Result<(), PublishError> {
        let written = self.file().write_all(format!("{line}\n").as_bytes());
        written.map_err(|source| PublishError::Progress {
            path: self.path.clone(),
            source,
        })
    }
}

fn read(text: &str) -> Option<(Beginning, Option<String>, HashSet<u64>)> {
    let whole = text.rfind('\n')?;
    let mut lines = text[..whole].lines();
    let beginning = serde_json::from_str(lines.next()?).ok()?;
    let snapshot = lines.next().map(str::to_owned);
    let done = lines.filter_map(|line| line.parse().ok()).collect();
    Some((beginning, snapshot, done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beginning(token: &str) -> Beginning {
        Beginning {
            token: token.to_owned(),
            tags: Tags::default(),
            size: 4,
            parent: None,
            encrypted: false,
            kms_key: None,
        }
    }

    #[test]
    fn an_upload_is_taken_up_where_it_stopped() {
        let scratch = tempfile::tempdir().unwrap();
        let path = place(scratch.path(), "one");
        let mut first = Progress::open(&path, || beginning("1")).unwrap().unwrap();
        assert!(Progress::open(&path, || beginning("2")).unwrap().is_none());
        first.begun("snap-1".to_owned()).unwrap();
        first.put(7).unwrap();
        first.put(12).unwrap();
        drop(first);
        // The last line was cut off.
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 1]).unwrap();
        let second = Progress::open(&path, || beginning("3")).unwrap().unwrap();
        assert_eq!(second.beginning, beginning("1"));
        assert_eq!(second.snapshot.as_deref(), Some("snap-1"));
        assert!(second.has(7) && !second.has(12) && !second.has(1));
        second.end().unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        let third = Progress::open(&path, || beginning("4")).unwrap().unwrap();
        assert_eq!(
            (third.beginning.token.as_str(), &third.snapshot),
            ("4", &None)
        );
    }
}
