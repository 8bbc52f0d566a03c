//! The half of a download that is on disk already: kept when the line drops, hashed again when it goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::os::atomic_file;
use crate::os::file_lock::FileLock;
use crate::os::hash_stream::Stop;

/// Bytes of a download so far, with their running digest.
///
/// It owns the lock on the cache entry: a write that is still under way when its download is cancelled keeps others out.
pub struct Partial {
    file: File,
    path: PathBuf,
    hasher: Sha256,
    size: u64,
    lock: FileLock,
}

impl Partial {
    /// Opens what is there, or starts empty.
    pub fn open(path: &Path, lock: FileLock, stop: &Stop) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)?;
        let mut hasher = Sha256::new();
        let mut block = vec![0; 1 << 20];
        let mut size = 0;
        loop {
            stop.check()?;
            match io::Read::read(&mut file, &mut block)? {
                0 => break,
                length => {
                    hasher.update(&block[..length]);
                    size += length as u64;
                }
            }
        }
        let path = path.to_owned();
        Ok(Self {
            file,
            path,
            hasher,
            size,
            lock,
        })
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the bytes so far are all there is to fetch. The digest decides, not what a server said about lengths.
    pub fn digest(&self) -> Digest {
        Digest::from_hasher(self.hasher.clone())
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Forgets all bytes.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Sha256::new();
        self.size = 0;
        Ok(())
    }

    /// Throws the download away.
    pub fn discard(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)?;
        self.lock.remove()
    }

    /// Puts the bytes under their final name. The caller has compared the digest.
    pub fn finish(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, target)?;
        atomic_file::sync_directory(atomic_file::directory_of(target))?;
        self.lock.remove()
    }
}
