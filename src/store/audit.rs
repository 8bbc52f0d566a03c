//! The audit log: `audit.jsonl`, which only grows, and the checkpoint that says how far it has come.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Store, StoreError, Writing, checksummed};
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::os::file_lock::FileLock;
use crate::os::user;
use crate::record::audit::{About, AuditError, Event, Line, Log, SignedCheckpoint};

/// Others may read it.
const MODE: u32 = 0o644;
/// Bytes that are read at first to find the last line; most lines have some hundred.
const TAIL: u64 = 4 << 10;
/// Whoever has the log's lock writes one line. It is never held so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often the lock is asked for.
const POLL: Duration = Duration::from_millis(5);

impl Store {
    /// The whole log, checked; an empty one where there is none.
    ///
    /// # Errors
    /// It cannot be read, or was changed.
    pub fn audit(&self) -> Result<Log, StoreError> {
        let path = self.audit_path();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Log::default()),
            read => read.map_err(StoreError::io("read", &path))?,
        };
        Log::from_bytes(&bytes).map_err(|source| StoreError::Audit { path, source })
    }

    /// Number and digest of the log's last line, without a look at those before.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn audit_head(&self) -> Result<Option<(u64, Digest)>, StoreError> {
        let path = self.audit_path();
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => {
                let mut file = opened.map_err(StoreError::io("read", &path))?;
                Ok(end(&mut file, &path)?.0)
            }
        }
    }

    /// The last checkpoint; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, StoreError> {
        checksummed::read(&self.checkpoint_path())
    }

    /// Moves of channels that the log does not have, and should: those since the first one that it has of a channel.
    ///
    /// # Errors
    /// The store cannot be read. A channel that is damaged is left out.
    pub fn unlogged(&self, log: &Log) -> Result<Vec<String>, StoreError> {
        let mut logged: BTreeMap<&str, BTreeSet<Digest>> = BTreeMap::new();
        for (line, _) in &log.lines {
            if let (Event::Promote | Event::Rollback, Some(name), Some(digest)) =
                (line.event, &line.subject, line.digest)
            {
                logged.entry(name).or_default().insert(digest);
            }
        }
        let mut missing = Vec::new();
        for name in self.channels()? {
            let Ok(channel) = self.channel(&name) else {
                continue;
            };
            let of_channel = logged.get(name.to_string().as_str());
            let mut has_begun = false;
            for kept in &channel.moves {
                let is_logged = of_channel
                    .is_some_and(|it| kept.digest().is_ok_and(|digest| it.contains(&digest)));
                has_begun |= is_logged;
                if has_begun && !is_logged {
                    let number = kept.entry.number;
                    missing.push(format!("{name}: move {number} is not in the audit log"));
                }
            }
        }
        Ok(missing)
    }

    /// How many lines each server was sent already.
    ///
    /// # Errors
    /// That cannot be read.
    pub fn forwarded(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        Ok(checksummed::read(&self.forwarded_path())?.unwrap_or_default())
    }

    fn forwarded_path(&self) -> PathBuf {
        self.root().join("audit.forwarded")
    }

    /// Where the log is.
    #[must_use]
    pub fn audit_path(&self) -> PathBuf {
        self.root().join("audit.jsonl")
    }

    /// Where the checkpoint is.
    #[must_use]
    pub fn checkpoint_path(&self) -> PathBuf {
        self.root().join("audit.checkpoint")
    }
}

/// Reads a checkpoint, also one that was kept elsewhere.
///
/// # Errors
/// It is none.
pub fn read_checkpoint(bytes: &[u8], path: &Path) -> Result<SignedCheckpoint, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Audit {
        path: path.to_owned(),
        source: AuditError::Checkpoint(error),
    })
}

impl Writing {
    /// Writes down what is about to be done.
    ///
    /// # Errors
    /// The log cannot be written, or its last line is none. Nothing may be done then.
    pub(super) fn log(&self, event: Event, about: About) -> Result<(), StoreError> {
        let path = self.store().audit_path();
        let _lock = lock(self.store())?;
        let is_new = !path.exists();
        let mut options = File::options();
        options.read(true).append(true).create(true).mode(MODE);
        let mut file = options
            .open(&path)
            .map_err(StoreError::io("write", &path))?;
        let (before, length) = end(&mut file, &path)?;
        let line = Line::after(before, &user::of_process(), event, about);
        let mut bytes = line.to_bytes()?;
        bytes.push(b'\n');
        let write = |file: &mut File| {
            // What a killed writer left of its line.
            file.set_len(length)?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            if is_new {
                atomic_file::sync_directory(self.store().root())?;
            }
            Ok(())
        };
        write(&mut file).map_err(|error: io::Error| {
            // Half a line would be taken away by the next writer all the same.
            let _ = file.set_len(length);
            StoreError::io("write", &path)(error)
        })
    }

    /// Remembers how many lines a server was sent.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn keep_forwarded(&self, server: &str, number: u64) -> Result<(), StoreError> {
        let _lock = lock(self.store())?;
        let mut forwarded = self.store().forwarded()?;
        let kept = forwarded.entry(server.to_owned()).or_default();
        *kept = number.max(*kept);
        checksummed::write(&self.store().forwarded_path(), &forwarded)
    }

    /// Keeps a checkpoint, unless there is one of a longer log.
    ///
    /// # Errors
    /// The store cannot be written, or the checkpoint that is there cannot be read.
    pub fn keep_checkpoint(&self, point: &SignedCheckpoint) -> Result<(), StoreError> {
        let _lock = lock(self.store())?;
        let kept = self.store().checkpoint()?;
        if kept.is_some_and(|kept| kept.checkpoint.number > point.checkpoint.number) {
            return Ok(());
        }
        checksummed::write(&self.store().checkpoint_path(), point)
    }
}

fn lock(store: &Store) -> Result<FileLock, StoreError> {
    let path = store.root().join("audit.lock");
    let began = Instant::now();
    loop {
        match FileLock::try_exclusive(&path).map_err(StoreError::io("lock", &path))? {
            Some(lock) => return Ok(lock),
            None if began.elapsed() < PATIENCE => std::thread::sleep(POLL),
            None => {
                let busy = io::Error::other("another process has it and does not go on");
                return Err(StoreError::io("lock", &path)(busy));
            }
        }
    }
}

/// Number and digest of the last whole line, and where it ends.
fn end(file: &mut File, path: &Path) -> Result<(Option<(u64, Digest)>, u64), StoreError> {
    let failed = |error| StoreError::io("read", path)(error);
    let length = file.metadata().map_err(failed)?.len();
    let mut span = TAIL;
    loop {
        let from = length.saturating_sub(span);
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut tail = Vec::new();
        let _ = file.take(span).read_to_end(&mut tail).map_err(failed)?;
        let Some(last) = tail.iter().rposition(|byte| *byte == b'\n') else {
            if from == 0 {
                return Ok((None, 0));
            }
            span *= 2;
            continue;
        };
        let first = tail[..last].iter().rposition(|byte| *byte == b'\n');
        if first.is_none() && from > 0 {
            span *= 2;
            continue;
        }
        let text = &tail[first.map_or(0, |at| at + 1)..last];
        let line = Line::from_bytes(text, 0).map_err(|_| whole(path))?;
        let end = from + last as u64 + 1;
        return Ok((Some((line.number, Digest::of(text))), end));
    }
}

/// What is wrong with a log whose last line is none, with the number of the first line that is not as it should be.
fn whole(path: &Path) -> StoreError {
    let path = path.to_owned();
    match fs::read(&path).map(|bytes| Log::from_bytes(&bytes)) {
        Ok(Err(source)) => StoreError::Audit { path, source },
        Ok(Ok(_)) => StoreError::io("read", &path)(io::Error::other("it changes")),
        Err(error) => StoreError::io("read", &path)(error),
    }
}
