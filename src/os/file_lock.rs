//! Locks between processes: `flock` on a file, freed by the kernel when its holder dies.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::if_exists;

/// Time between two attempts of a waiting task. A blocking `flock` could not be cancelled.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A lock on a file, held until it is dropped.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
}

impl FileLock {
    /// Takes the exclusive lock; returns `None` at once if another process holds the lock.
    pub fn try_exclusive(path: &Path) -> io::Result<Option<Self>> {
        Self::attempt(path, File::try_lock)
    }

    /// Takes a shared lock; returns `None` at once if another process holds the exclusive lock.
    pub fn try_shared(path: &Path) -> io::Result<Option<Self>> {
        Self::attempt(path, File::try_lock_shared)
    }

    /// Waits for the exclusive lock; calls `waiting` once if another process holds it.
    pub async fn exclusive(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        let mut waiting = Some(waiting);
        loop {
            if let Some(lock) = Self::try_exclusive(path)? {
                return Ok(lock);
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Releases the lock and removes its file.
    pub fn remove(self) -> io::Result<()> {
        // Removed while held: a waiting process finds the name gone or new, and starts over (see `attempt`).
        std::fs::remove_file(&self.path)
    }

    fn attempt(
        path: &Path,
        lock: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> io::Result<Option<Self>> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)?;
            match lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The holder before us may have removed the file after we opened it; a lock on it would exclude no other process.
            let held = file.metadata()?;
            let named = if_exists(std::fs::metadata(path))?;
            let is_held = |named: Metadata| (named.dev(), named.ino()) == (held.dev(), held.ino());
            if named.is_some_and(is_held) {
                let path = path.to_owned();
                return Ok(Some(Self { file, path }));
            }
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing would release it too, but not while a child that was just forked still has a copy of the descriptor.
        drop(self.file.unlock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_exclusive_holder_or_many_shared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let alone = FileLock::try_exclusive(&path).unwrap().unwrap();
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        assert!(FileLock::try_shared(&path).unwrap().is_none());
        drop(alone);
        let first = FileLock::try_shared(&path).unwrap().unwrap();
        let second = FileLock::try_shared(&path).unwrap().unwrap();
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        drop((first, second));
        FileLock::try_exclusive(&path)
            .unwrap()
            .unwrap()
            .remove()
            .unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_lock_that_is_removed_still_excludes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let holders = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Some(lock) = FileLock::try_exclusive(&path).unwrap() else {
                            continue;
                        };
                        let order = std::sync::atomic::Ordering::SeqCst;
                        assert_eq!(holders.fetch_add(1, order), 0);
                        std::thread::yield_now();
                        holders.fetch_sub(1, order);
                        lock.remove().unwrap();
                    }
                });
            }
        });
    }
}
