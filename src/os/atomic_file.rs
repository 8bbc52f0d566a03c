//! Files that appear whole or not at all: written beside their target, synced, then renamed.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// How the names of unfinished files begin, so that what a crash left can be told from the rest.
pub const UNFINISHED: &str = ".unfinished-";

/// A file that is not under its final name yet; removed when dropped.
#[derive(Debug)]
pub struct Unfinished {
    file: NamedTempFile,
    target: PathBuf,
}

impl Unfinished {
    /// Starts a file that will be `target`, with these permission bits.
    ///
    /// # Errors
    /// The directory of `target` cannot be written.
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

    /// The file to write to.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Where the bytes are for now.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Gives the file its name, in place of a file that has it already.
    ///
    /// # Errors
    /// Syncing or renaming failed; nothing is left.
    pub fn finish(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(&self.target)?;
        sync_directory(directory_of(&self.target))
    }

    /// Gives the file a name in the same directory that was not known when it was begun, such as its digest.
    ///
    /// # Errors
    /// Syncing or renaming failed; nothing is left.
    pub fn finish_as(mut self, target: &Path) -> io::Result<()> {
        target.clone_into(&mut self.target);
        self.finish()
    }

    /// Gives the file its name, unless a file has it already.
    ///
    /// # Errors
    /// The name is taken ([`io::ErrorKind::AlreadyExists`]), or syncing failed; nothing is left.
    pub fn finish_new(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist_noclobber(&self.target)?;
        sync_directory(directory_of(&self.target))
    }
}

/// Writes a small file whole.
///
/// # Errors
/// Writing failed; `target` is as it was.
pub fn write(target: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = Unfinished::create(target, mode)?;
    unfinished.file().write_all(bytes)?;
    unfinished.finish()
}

/// Syncs a file, and renames it to `target` in the same file system.
pub(crate) fn publish(file: &File, path: &Path, target: &Path) -> io::Result<()> {
    file.sync_all()?;
    std::fs::rename(path, target)?;
    sync_directory(directory_of(target))
}

/// Makes a directory and those above it that are missing; others cannot write to them, whatever the umask says.
///
/// # Errors
/// One cannot be made.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The directory cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// The directory that a path's last name is in.
#[must_use]
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
