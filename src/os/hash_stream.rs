//! SHA-256 of streams, off the main thread, with progress; stops soon after nobody waits for it any more.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// Large enough that the cost of a read vanishes beside hashing it.
const BLOCK: usize = 1 << 20;

/// Tells blocking work that its result is no longer wanted.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Fails once the work is no longer wanted.
    ///
    /// # Errors
    /// Nobody waits any more.
    pub fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        Ok(())
    }
}

/// Runs blocking work beside the runtime. Dropping the future tells the work to stop: a runtime waits for its blocking
/// threads when it ends, so work that went on would hold up a cancelled build.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce(&Stop) -> T + Send + 'static) -> T {
    struct StopOnDrop(Stop);
    impl Drop for StopOnDrop {
        fn drop(&mut self) {
            self.0.0.store(true, Ordering::Relaxed);
        }
    }
    let guard = StopOnDrop(Stop::default());
    let stop = guard.0.clone();
    match tokio::task::spawn_blocking(move || work(&stop)).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Copies `from` to `to` and returns the digest and number of the bytes that went through.
///
/// # Errors
/// Reading or writing failed, or the work was told to stop.
pub fn copy(
    mut from: impl Read,
    mut to: impl Write,
    stop: &Stop,
    progress: impl Fn(u64),
) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let size = copy_into(&mut hasher, &mut from, &mut to, stop, progress)?;
    Ok((Digest::from_hasher(hasher), size))
}

/// Like [`copy`], but continues a hash. Returns the number of bytes.
pub(crate) fn copy_into(
    hasher: &mut Sha256,
    from: &mut impl Read,
    to: &mut impl Write,
    stop: &Stop,
    progress: impl Fn(u64),
) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut size = 0;
    loop {
        stop.check()?;
        let length = match from.read(&mut block) {
            Ok(0) => return Ok(size),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&block[..length]);
        to.write_all(&block[..length])?;
        size += length as u64;
        progress(length as u64);
    }
}

/// The digest and number of the bytes that are left in `from`.
///
/// # Errors
/// Reading failed, or the work was told to stop.
pub fn digest(from: impl Read, stop: &Stop, progress: impl Fn(u64)) -> io::Result<(Digest, u64)> {
    copy(from, io::sink(), stop, progress)
}

/// Blocks of zeros this large become holes: the cluster of qcow2, and a multiple of every file system's block.
const HOLE: usize = 1 << 16;

/// A new, empty file that is written from its start, with holes where there are only zeros.
pub struct Sparse<'f>(&'f mut File);

impl<'f> Sparse<'f> {
    /// Writes to this file.
    pub fn new(file: &'f mut File) -> Self {
        Self(file)
    }

    /// Gives the file its length: a hole at the end is not written by anything else.
    ///
    /// # Errors
    /// The file cannot be changed.
    pub fn finish(self) -> io::Result<()> {
        let end = self.0.stream_position()?;
        self.0.set_len(end)
    }
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let block = &bytes[..bytes.len().min(HOLE)];
        if block.iter().all(|byte| *byte == 0) {
            // At most HOLE, so it fits.
            self.0
                .seek(SeekFrom::Current(block.len().cast_signed() as i64))?;
            return Ok(block.len());
        }
        self.0.write(block)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_what_its_digest_says() {
        let bytes = vec![7; BLOCK + 1];
        let mut copied = Vec::new();
        let (digest, size) = copy(&bytes[..], &mut copied, &Stop::default(), |_| {}).unwrap();
        assert_eq!((digest, size), (Digest::of(&bytes), bytes.len() as u64));
        assert_eq!(copied, bytes);
    }

    #[test]
    fn a_sparse_copy_has_the_same_bytes_and_fewer_blocks() {
        use std::os::unix::fs::MetadataExt;
        let mut bytes = vec![0; (4 << 20) + 3];
        bytes[2 << 20] = 1;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut sparse = Sparse::new(file.as_file_mut());
        copy(&bytes[..], &mut sparse, &Stop::default(), |_| {}).unwrap();
        sparse.finish().unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), bytes);
        assert!(file.as_file().metadata().unwrap().blocks() * 512 < 1 << 20);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_stops() {
        let (ended, end) = std::sync::mpsc::channel();
        let endless = blocking(move |stop| {
            let error = digest(io::repeat(0), stop, |_| {}).unwrap_err();
            ended.send(error.to_string()).unwrap();
        });
        tokio::time::timeout(std::time::Duration::from_millis(20), endless)
            .await
            .unwrap_err();
        assert_eq!(end.recv().unwrap(), "cancelled");
    }
}
