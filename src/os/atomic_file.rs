//! Files that appear whole or not at all: written beside their target, synced, then renamed.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Prefix of the names of unfinished files; leftovers of a crash are recognised by it.
pub const UNFINISHED: &str = ".unfinished-";

/// A file that does not have its final name yet; removed when dropped.
#[derive(Debug)]
pub struct Unfinished {
    file: NamedTempFile,
    target: PathBuf,
}

impl Unfinished {
    /// Creates an empty file beside `target`, with these permission bits.
    pub fn create(target: &Path, mode: u32) -> io::Result<Self> {
        let file =
            tempfile::Builder::new()
                .prefix(UNFINISHED)
                .make_in(directory_of(target), |path| {
                    let mut options = File::options();
                    options.read(true).write(true).create_new(true).mode(mode);
                    options.open(path)
                })?;
        let target = target.to_owned();
        Ok(Self { file, target })
    }

    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Path of the file until it is finished.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Syncs the file and renames it to its target, replacing a file of that name. An error removes it.
    pub fn finish(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(&self.target)?;
        sync_directory(directory_of(&self.target))
    }

    /// Renames into place; fails with [`io::ErrorKind::AlreadyExists`] if the target exists. An error removes the file.
    pub fn finish_new(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist_noclobber(&self.target)?;
        sync_directory(directory_of(&self.target))
    }
}

/// Writes a small file. After an error `target` is as it was.
pub fn write(target: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = Unfinished::create(target, mode)?;
    unfinished.file().write_all(bytes)?;
    unfinished.finish()
}

/// Writes a new file that only its owner can read. Fails if the file exists.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}

/// Syncs a file, and renames it to `target` in the same file system.
pub(crate) fn publish(file: &File, path: &Path, target: &Path) -> io::Result<()> {
    file.sync_all()?;
    std::fs::rename(path, target)?;
    sync_directory(directory_of(target))
}

/// Creates a directory and its missing parents. Other users cannot write to them, whatever the umask.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
}

/// Syncs a directory, so that the names in it survive a crash.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Returns the parent directory of a path: `.` for a bare name.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        let names = || std::fs::read_dir(directory.path()).unwrap().count();

        let mut dropped = Unfinished::create(&target, 0o600).unwrap();
        dropped.file().write_all(b"half").unwrap();
        assert!(!target.exists());
        drop(dropped);
        assert_eq!(names(), 0);

        write(&target, 0o640, b"one").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"one");
        let second = Unfinished::create(&target, 0o600).unwrap();
        let error = second.finish_new().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&target).unwrap(), b"one");
        assert_eq!(names(), 1);

        let nowhere = directory.path().join("none/file");
        let error = write(&nowhere, 0o600, b"").unwrap_err();
        assert_eq!(error.to_string(), "No such file or directory (os error 2)");
    }
}
