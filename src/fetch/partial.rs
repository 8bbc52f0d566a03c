//! A partial download on disk: kept when the connection drops, and hashed again when the download is resumed.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::os::atomic_file;
use crate::os::file_lock::FileLock;
use crate::os::hash_stream::{Stop, StreamHash};

/// The bytes received so far, with their running digest.
///
/// It owns the lock of the cache entry, so a write that outlives its cancelled download keeps other processes out.
pub struct Partial {
    file: File,
    path: PathBuf,
    hash: StreamHash,
    lock: FileLock,
}

impl Partial {
    /// Opens the file at `path` and hashes it, or creates it.
    pub fn open(path: &Path, lock: FileLock, stop: &Stop) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)?;
        let mut hash = StreamHash::default();
        hash.read(&mut file, stop, |_| {})?;
        let path = path.to_owned();
        Ok(Self {
            file,
            path,
            hash,
            lock,
        })
    }

    /// Returns the number of bytes so far.
    pub fn size(&self) -> u64 {
        self.hash.length()
    }

    /// Returns the digest of the bytes so far.
    pub fn digest(&self) -> Digest {
        self.hash.digest()
    }

    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        Ok(())
    }

    /// Drops all bytes received so far.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hash = StreamHash::default();
        Ok(())
    }

    /// Removes the file, and the lock.
    pub fn discard(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)?;
        self.lock.remove()
    }

    /// Renames the file to `target`. The caller has verified the digest.
    pub fn finish(self, target: &Path) -> io::Result<()> {
        atomic_file::publish(&self.file, &self.path, target)?;
        self.lock.remove()
    }
}
