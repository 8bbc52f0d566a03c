//! The audit log of a store (`audit.jsonl`), and the signed checkpoint of its length.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::checksummed::{self, REPLACEABLE};
use super::layout::read_optional;
use super::{Store, StoreError, Transaction};
use crate::digest::Digest;
use crate::os::file_lock::FileLock;
use crate::os::{atomic_file, if_exists, user};
use crate::record::audit::{
    AuditError, AuditEvent, AuditLog, AuditRecord, ChangeDetails, SignedCheckpoint,
};

/// Bytes that are read at first to find the last line. Most lines have a few hundred.
const TAIL_BYTES: u64 = 4 << 10;
/// The lock is held while one line is written, which takes far less time.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);
const LOCK_POLL: Duration = Duration::from_millis(5);

impl Store {
    /// Reads the log and verifies its chain. A missing log is empty.
    ///
    /// # Errors
    /// The log cannot be read, or its chain is broken.
    pub fn audit(&self) -> Result<AuditLog, StoreError> {
        let path = self.audit_path();
        match read_optional(&path)? {
            Some(bytes) => {
                AuditLog::from_bytes(&bytes).map_err(|source| StoreError::Audit { path, source })
            }
            None => Ok(AuditLog::default()),
        }
    }

    /// Returns number and digest of the log's last line. The lines before are not verified.
    pub(crate) fn audit_head(&self) -> Result<Option<(u64, Digest)>, StoreError> {
        let path = self.audit_path();
        match if_exists(File::open(&path)).map_err(StoreError::io("read", &path))? {
            Some(mut file) => Ok(read_last(&mut file, &path)?.0),
            None => Ok(None),
        }
    }

    /// Reads the last checkpoint.
    pub(crate) fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, StoreError> {
        checksummed::read(&self.checkpoint_path())
    }

    /// Returns the moves of channels that are missing in the log, a message each. The moves of a channel before its first move in
    /// the log are not expected there. Damaged channels are left out.
    pub(crate) fn unlogged(&self, log: &AuditLog) -> Result<Vec<String>, StoreError> {
        let mut logged: BTreeMap<&str, BTreeSet<Digest>> = BTreeMap::new();
        for (line, _) in &log.lines {
            if let (AuditEvent::Promote | AuditEvent::Rollback, Some(name), Some(digest)) =
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
            let logged = logged.get(name.to_string().as_str());
            let mut has_begun = false;
            for entry in &channel.moves {
                let is_logged = logged.is_some_and(|logged| {
                    entry.digest().is_ok_and(|digest| logged.contains(&digest))
                });
                has_begun |= is_logged;
                if has_begun && !is_logged {
                    let number = entry.entry.number;
                    missing.push(format!("{name}: move {number} is not in the audit log"));
                }
            }
        }
        Ok(missing)
    }

    /// Returns the number of lines that each syslog server was sent.
    pub(crate) fn forwarded(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        Ok(checksummed::read(&self.forwarded_path())?.unwrap_or_default())
    }
}

/// Parses a checkpoint, for example one that was kept outside the store.
pub(crate) fn read_checkpoint(bytes: &[u8], path: &Path) -> Result<SignedCheckpoint, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::Audit {
        path: path.to_owned(),
        source: AuditError::Checkpoint(error),
    })
}

impl Transaction {
    /// Appends a line for a change that is about to be made. If this fails, the change must not be made.
    pub(super) fn log(&self, event: AuditEvent, about: ChangeDetails) -> Result<(), StoreError> {
        let path = self.store().audit_path();
        let _lock = lock(self.store())?;
        let is_new = !path.exists();
        let mut options = File::options();
        options
            .read(true)
            .append(true)
            .create(true)
            .mode(REPLACEABLE);
        let mut file = options
            .open(&path)
            .map_err(StoreError::io("write", &path))?;
        let (before, length) = read_last(&mut file, &path)?;
        let line = AuditRecord::after(before, &user::of_process(), event, about);
        let mut bytes = line.to_bytes()?;
        bytes.push(b'\n');
        let write = |file: &mut File| {
            // Cut off the partial line of a killed writer.
            file.set_len(length)?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            if is_new {
                atomic_file::sync_directory(self.store().root())?;
            }
            Ok(())
        };
        write(&mut file).map_err(|error: io::Error| {
            // If this fails too, the next writer cuts the partial line off.
            let _ = file.set_len(length);
            StoreError::io("write", &path)(error)
        })
    }

    /// Records the number of lines that a syslog server was sent.
    pub fn keep_forwarded(&self, server: &str, number: u64) -> Result<(), StoreError> {
        let _lock = lock(self.store())?;
        let mut forwarded = self.store().forwarded()?;
        let kept = forwarded.entry(server.to_owned()).or_default();
        *kept = number.max(*kept);
        checksummed::write(&self.store().forwarded_path(), &forwarded)
    }

    /// Stores a checkpoint, unless the store has one of a longer log.
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
            None if began.elapsed() < LOCK_TIMEOUT => std::thread::sleep(LOCK_POLL),
            None => {
                let busy = io::Error::other("another process holds the lock and is stuck");
                return Err(StoreError::io("lock", &path)(busy));
            }
        }
    }
}

/// Reads the last complete line. Returns its number and digest, and the offset of its end.
fn read_last(file: &mut File, path: &Path) -> Result<(Option<(u64, Digest)>, u64), StoreError> {
    let failed = |error| StoreError::io("read", path)(error);
    let length = file.metadata().map_err(failed)?.len();
    let mut span = TAIL_BYTES;
    loop {
        let from = length.saturating_sub(span);
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut tail = Vec::new();
        let _ = file.take(span).read_to_end(&mut tail).map_err(failed)?;
        span *= 2;
        let Some(last) = tail.iter().rposition(|byte| *byte == b'\n') else {
            if from == 0 {
                return Ok((None, 0));
            }
            continue;
        };
        let first = tail[..last].iter().rposition(|byte| *byte == b'\n');
        if first.is_none() && from > 0 {
            continue;
        }
        let text = &tail[first.map_or(0, |at| at + 1)..last];
        let line = AuditRecord::from_bytes(text, 0).map_err(|_| find_fault(path))?;
        let end = from + last as u64 + 1;
        return Ok((Some((line.number, Digest::of(text))), end));
    }
}

/// Reads a log whose last line is invalid from its start, for an error with the number of the first invalid line.
fn find_fault(path: &Path) -> StoreError {
    let path = path.to_owned();
    match fs::read(&path).map(|bytes| AuditLog::from_bytes(&bytes)) {
        Ok(Err(source)) => StoreError::Audit { path, source },
        Ok(Ok(_)) => {
            StoreError::io("read", &path)(io::Error::other("it changed while it was read"))
        }
        Err(error) => StoreError::io("read", &path)(error),
    }
}
