//! Run directories: one build's overlay, sockets, keys and logs; those of crashed builds are found again as leftovers.
//!
//! `<root>/<name>` is a run; `<root>/<name>.lock` is held by the process that owns it until that process ends.
//! The lock is outside and taken first, so a run directory never exists unlocked while its owner is alive.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::os::file_lock::FileLock;
use crate::os::if_exists;

/// A run directory that this process owns; removed when dropped.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    lock: Option<FileLock>,
}

/// A run directory whose owner is gone, locked against other processes that clean up.
#[derive(Debug)]
pub struct Leftover {
    path: PathBuf,
    lock: FileLock,
}

impl RunDir {
    /// Creates a directory under `root` that only this user can enter; `root` too if it is missing.
    pub fn create(root: &Path) -> io::Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.map_err(|error| {
            let text = format!("cannot create {}: {error}", root.display());
            io::Error::new(error.kind(), text)
        })?;
        loop {
            let path = root.join(short_name());
            let Some(lock) = FileLock::try_exclusive(&lock_of(&path))? else {
                continue;
            };
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    return Ok(Self {
                        path,
                        lock: Some(lock),
                    });
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

    /// Path with a short name: a Unix socket's path has at most 107 bytes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name of the directory.
    pub fn id(&self) -> String {
        id_of(&self.path)
    }

    /// Removes the directory and its contents. After an error, [`RunDir::leftovers`] finds the rest.
    pub fn remove(mut self) -> io::Result<()> {
        let lock = self.lock.take();
        remove(&self.path, lock)
    }

    /// Leaves the directory in place, as a leftover, and returns its path.
    #[cfg(test)]
    fn keep(mut self) -> PathBuf {
        self.lock = None;
        std::mem::take(&mut self.path)
    }

    /// Finds and locks the directories under `root` whose owner is gone. A missing `root` has no leftovers.
    pub fn leftovers(root: &Path) -> io::Result<Vec<Leftover>> {
        let Some(entries) = if_exists(std::fs::read_dir(root))? else {
            return Ok(Vec::new());
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

    /// Lists the directories under `root` whose owner lives.
    pub fn live(root: &Path) -> io::Result<Vec<PathBuf>> {
        let Some(entries) = if_exists(std::fs::read_dir(root))? else {
            return Ok(Vec::new());
        };
        let mut live = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let lock = lock_of(&path);
            // Checked first, because taking a lock creates its file. A shared lock does not pass for an owner.
            if path.is_dir() && lock.exists() && FileLock::try_shared(&lock)?.is_none() {
                live.push(path);
            }
        }
        Ok(live)
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            // `drop` cannot report an error; `leftovers` finds the rest.
            drop(remove(&self.path, Some(lock)));
        }
    }
}

impl Leftover {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn remove(self) -> io::Result<()> {
        remove(&self.path, Some(self.lock))
    }
}

fn remove(path: &Path, lock: Option<FileLock>) -> io::Result<()> {
    if_exists(std::fs::remove_dir_all(path))?;
    lock.map_or(Ok(()), FileLock::remove)
}

/// Returns the name of a run directory, which names the run.
pub(crate) fn id_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn lock_of(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

/// Six random characters: the standard library seeds its hasher keys from the kernel.
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
        assert!(RunDir::live(&root).unwrap().is_empty());
        let alive = RunDir::create(&root).unwrap();
        let kept = RunDir::create(&root).unwrap().keep();
        std::fs::write(kept.join("disk"), "disk").unwrap();
        std::fs::write(root.join("lonely.lock"), "").unwrap();

        std::fs::create_dir(root.join("unlocked")).unwrap();
        assert_eq!(RunDir::live(&root).unwrap(), [alive.path()]);
        std::fs::remove_dir(root.join("unlocked")).unwrap();
        let leftovers = RunDir::leftovers(&root).unwrap();
        let mut paths: Vec<_> = leftovers.iter().map(Leftover::path).collect();
        paths.sort();
        let mut expected = vec![kept.clone(), root.join("lonely")];
        expected.sort();
        assert_eq!(paths, expected);
        // The first finder holds their locks.
        assert!(RunDir::leftovers(&root).unwrap().is_empty());
        for leftover in leftovers {
            leftover.remove().unwrap();
        }
        assert!(alive.path().is_dir() && !kept.exists());
        drop(alive);
        assert_eq!(names(&root), 0);
    }
}
