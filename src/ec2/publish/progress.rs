//! Progress of an upload, kept in a file, so that a later run resumes an upload that was killed.
//!
//! Lines are only appended: what is uploaded, the snapshot once it is known, each block that AWS has. A truncated line is
//! ignored; a block whose line is missing is sent again.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::PublishError;
use crate::ec2::client::ec2::Tags;
use crate::os::file_lock::FileLock;

/// Parameters that a snapshot is begun with: AWS returns the same snapshot for the same parameters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Beginning {
    pub(super) token: String,
    pub(super) tags: Tags,
    pub(super) size: u64,
    pub(super) parent: Option<String>,
    pub(super) encrypted: bool,
    pub(super) kms_key: Option<String>,
}

/// Exclusive right to upload an image to a region, among the processes that share a cache.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    lock: FileLock,
}

/// Upload that has begun.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) beginning: Beginning,
    pub(super) snapshot: Option<String>,
    done: HashSet<u64>,
    file: Mutex<File>,
    claim: Claim,
}

/// Returns the path of the progress file of an upload.
pub(super) fn path_of(cache: &Path, name: &str) -> PathBuf {
    cache.join("uploads").join(name)
}

impl Claim {
    /// Claims an upload; `None` while another process has it.
    pub(super) fn acquire(path: &Path) -> Result<Option<Self>, PublishError> {
        let failed = failed(path);
        let directory = path.parent().unwrap_or(path);
        fs::create_dir_all(directory).map_err(&failed)?;
        let lock = FileLock::try_exclusive(&path.with_extension("lock")).map_err(&failed)?;
        let path = path.to_owned();
        Ok(lock.map(|lock| Self { path, lock }))
    }

    /// Resumes the upload of a killed process, or begins one.
    pub(super) fn open(self, begin: impl FnOnce() -> Beginning) -> Result<Progress, PublishError> {
        let known = match fs::read_to_string(&self.path) {
            Ok(text) => read(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(&self.path)(error)),
        };
        let is_known = known.is_some();
        let (beginning, snapshot, done) = known.unwrap_or_else(|| (begin(), None, HashSet::new()));
        let mut file = OpenOptions::new();
        let file = file.create(true).append(true).open(&self.path);
        let progress = Progress {
            beginning,
            snapshot,
            done,
            file: Mutex::new(file.map_err(failed(&self.path))?),
            claim: self,
        };
        if !is_known {
            // The file, if it existed, is unusable.
            progress
                .file()
                .set_len(0)
                .map_err(failed(&progress.claim.path))?;
            let line = serde_json::to_string(&progress.beginning).expect("it is made of text");
            progress.add(&line)?;
        }
        Ok(progress)
    }

    /// Releases the claim, and removes the files of the upload.
    pub(super) fn end(self) -> Result<(), PublishError> {
        self.forget()?;
        let path = &self.path;
        self.lock.remove().map_err(failed(path))
    }

    fn forget(&self) -> Result<(), PublishError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&self.path)(error)),
            _ => Ok(()),
        }
    }
}

impl Progress {
    /// Opens an abandoned upload; `None` if another process continues it, or if there is none.
    pub(super) fn open_abandoned(path: &Path) -> Result<Option<Self>, PublishError> {
        if !path.exists() {
            return Ok(None);
        }
        let Some(claim) = Claim::acquire(path)? else {
            return Ok(None);
        };
        match fs::read_to_string(path) {
            Ok(text) if read(&text).is_some() => {
                claim.open(|| unreachable!("the file was read")).map(Some)
            }
            // It has not begun a snapshot.
            _ => claim.end().map(|()| None),
        }
    }

    /// Records the id of the snapshot.
    pub(super) fn set_snapshot(&mut self, snapshot: String) -> Result<(), PublishError> {
        self.add(&snapshot)?;
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// Returns whether AWS has a block.
    pub(super) fn has(&self, block: u64) -> bool {
        self.done.contains(&block)
    }

    /// Records that AWS has a block.
    pub(super) fn add_block(&self, block: u64) -> Result<(), PublishError> {
        self.add(&block.to_string())
    }

    /// Ends the upload; another one may begin with the claim.
    pub(super) fn end(self) -> Result<Claim, PublishError> {
        self.claim.forget()?;
        Ok(self.claim)
    }

    fn file(&self) -> std::sync::MutexGuard<'_, File> {
        self.file.lock().expect("no panic while the lock is held")
    }

    fn add(&self, line: &str) -> Result<(), PublishError> {
        let written = self.file().write_all(format!("{line}\n").as_bytes());
        written.map_err(failed(&self.claim.path))
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> PublishError {
    |source| PublishError::Progress {
        path: path.to_owned(),
        source,
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
        let path = path_of(scratch.path(), "one");
        let open = |token| {
            let claim = Claim::acquire(&path).unwrap()?;
            Some(claim.open(|| beginning(token)).unwrap())
        };
        let mut first = open("1").unwrap();
        assert!(open("2").is_none());
        first.set_snapshot("snap-1".to_owned()).unwrap();
        first.add_block(7).unwrap();
        first.add_block(12).unwrap();
        drop(first);
        // The last line was cut off.
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 1]).unwrap();
        let second = open("3").unwrap();
        assert_eq!(second.beginning, beginning("1"));
        assert_eq!(second.snapshot.as_deref(), Some("snap-1"));
        assert!(second.has(7) && !second.has(12) && !second.has(1));
        second.end().unwrap().end().unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        let third = open("4").unwrap();
        assert_eq!(
            (third.beginning.token.as_str(), &third.snapshot),
            ("4", &None)
        );
    }
}
