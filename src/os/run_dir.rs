//! Run directories: where one build keeps its overlay, sockets, keys and logs, and how what a crash left is found.
//!
//! `<root>/<name>` is a run; `<root>/<name>.lock` is held by the process that owns it for as long as that lives.
//! The lock is outside and taken first, so a run directory never exists unlocked while its owner is alive.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::os::file_lock::FileLock;

/// A run directory of this process; removed when dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    lock: Option<FileLock>,
}

/// A run directory whose owner is gone. Nobody else can take it while this value lives.
#[derive(Debug)]
pub struct Leftover {
    path: PathBuf,
    lock: FileLock,
}

impl RunDir {
    /// Makes a new directory under `root` (made too when missing) that only this user can enter.
    ///
    /// # Errors
    /// `root` cannot be written.
    pub fn create(root: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        loop {
            let path = root.join(short_name());
            let Some(lock) = FileLock::try_exclusive(&lock_of(&path))? else {
                continue;
            };
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let lock = Some(lock);
                    return Ok(Self { path, lock });
                }
                // A leftover has this name; its lock file stays with it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    drop(lock.remove());
                    return Err(error);
                }
            }
        }
    }

    /// The directory. Its name is short: a Unix socket's path has at most 107 bytes.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory with all that is in it.
    ///
    /// # Errors
    /// Something in it cannot be removed; [`RunDir::leftovers`] finds it later.
    pub fn remove(mut self) -> io::Result<()> {
        let lock = self.lock.take();
        remove(&self.path, lock)
    }

    /// Leaves the directory in place and returns its path. It is a leftover from now on.
    #[must_use]
    pub fn keep(mut self) -> PathBuf {
        self.lock = None;
        std::mem::take(&mut self.path)
    }

    /// Finds the directories under `root` whose owner is gone.
    ///
    /// # Errors
    /// `root` cannot be read. A missing `root` has no leftovers.
    pub fn leftovers(root: &Path) -> io::Result<Vec<Leftover>> {
        let entries = match std::fs::read_dir(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut runs = std::collections::BTreeSet::new();
        for entry in entries {
            // A lock without a directory is a leftover too: its owner died between making the two.
            runs.insert(entry?.path().with_extension(""));
        }
        let mut leftovers = Vec::new();
        for path in runs {
            if let Some(lock) = FileLock::try_exclusive(&lock_of(&path))? {
                leftovers.push(Leftover { path, lock });
            }
        }
        Ok(leftovers)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            // Nothing can be reported from here; `leftovers` finds what stays.
            drop(remove(&self.path, Some(lock)));
        }
    }
}

impl Leftover {
    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory with all that is in it.
    ///
    /// # Errors
    /// Something in it cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        remove(&self.path, Some(self.lock))
    }
}

fn remove(path: &Path, lock: Option<FileLock>) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => lock.map_or(Ok(()), FileLock::remove),
    }
}

fn lock_of(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

/// Six characters out of the kernel's randomness, by way of the standard library's hasher keys.
fn short_name() -> String {
    use std::hash::{BuildHasher, RandomState};
    let number = RandomState::new().hash_one(std::process::id());
    data_encoding::BASE32_NOPAD.encode(&number.to_be_bytes()[..4])[..6].to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(root: &Path) -> usize {
        std::fs::read_dir(root).unwrap().count()
    }

    #[test]
    fn a_run_is_private_and_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("runs");
        let run = RunDir::create(&root).unwrap();
        let mode = run.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::create_dir(run.path().join("seed")).unwrap();
        std::fs::write(run.path().join("seed/key"), "key").unwrap();
        run.remove().unwrap();
        assert_eq!(names(&root), 0);
        drop(RunDir::create(&root).unwrap());
        assert_eq!(names(&root), 0);
    }

    #[test]
    fn only_runs_without_an_owner_are_leftovers() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("runs");
        assert!(RunDir::leftovers(&root).unwrap().is_empty());
        let alive = RunDir::create(&root).unwrap();
        let kept = RunDir::create(&root).unwrap().keep();
        std::fs::write(kept.join("disk"), "disk").unwrap();
        std::fs::write(root.join("lonely.lock"), "").unwrap();

        let leftovers = RunDir::leftovers(&root).unwrap();
        let mut paths: Vec<_> = leftovers.iter().map(Leftover::path).collect();
        paths.sort();
        let mut expected = vec![kept.clone(), root.join("lonely")];
        expected.sort();
        assert_eq!(paths, expected);
        // Whoever found them first has them.
        assert!(RunDir::leftovers(&root).unwrap().is_empty());
        for leftover in leftovers {
            leftover.remove().unwrap();
        }
        assert!(alive.path().is_dir() && !kept.exists());
        drop(alive);
        assert_eq!(names(&root), 0);
    }
}
