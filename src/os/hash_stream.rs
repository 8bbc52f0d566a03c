//! SHA-256 of streams, on a blocking thread, with progress. Dropping the future stops the work.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// Bytes of one read: large enough that hashing them outweighs the system call.
const BLOCK_SIZE: usize = 1 << 20;

/// Flag that tells blocking work to stop.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Fails once the work was told to stop.
    ///
    /// # Errors
    /// The future that waited for the result was dropped.
    pub fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        Ok(())
    }
}

/// Runs blocking work beside the runtime. Dropping the future tells the work to stop: a runtime that shuts down waits for
/// its blocking threads, so running work would hold up a cancelled build.
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

/// Running SHA-256 and length of a stream.
#[derive(Clone, Default)]
pub struct StreamHash {
    hasher: Sha256,
    length: u64,
}

impl StreamHash {
    /// Adds bytes at the end.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Adds `count` zeros at the end.
    pub fn update_zeros(&mut self, count: u64) {
        zeros(count).for_each(|bytes| self.update(bytes));
    }

    /// Adds the rest of `from`; calls `progress` with the length of each block.
    ///
    /// # Errors
    /// Reading fails, or the work was told to stop.
    pub fn read(&mut self, from: impl Read, stop: &Stop, progress: impl Fn(u64)) -> io::Result<()> {
        self.copy(from, io::sink(), stop, progress)
    }

    fn copy(
        &mut self,
        mut from: impl Read,
        mut to: impl Write,
        stop: &Stop,
        progress: impl Fn(u64),
    ) -> io::Result<()> {
        let mut block = vec![0; BLOCK_SIZE];
        loop {
            stop.check()?;
            let length = match from.read(&mut block) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.update(&block[..length]);
            to.write_all(&block[..length])?;
            progress(length as u64);
        }
    }

    /// Returns the number of bytes so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the digest of the bytes so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::from_hasher(self.hasher.clone())
    }
}

/// Returns `count` zeros in parts.
pub(crate) fn zeros(count: u64) -> impl Iterator<Item = &'static [u8]> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    (0..count).step_by(ZEROS.len()).map(move |at| {
        let length = usize::try_from(count - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        &ZEROS[..length]
    })
}

/// Copies the rest of `from` to `to`; returns digest and number of the bytes. `progress` gets the length of each block.
///
/// # Errors
/// Reading or writing fails, or the work was told to stop.
pub fn copy(
    from: impl Read,
    to: impl Write,
    stop: &Stop,
    progress: impl Fn(u64),
) -> io::Result<(Digest, u64)> {
    let mut hash = StreamHash::default();
    hash.copy(from, to, stop, progress)?;
    Ok((hash.digest(), hash.length()))
}

/// Hashes the rest of `from`; returns digest and number of the bytes.
///
/// # Errors
/// Reading fails, or the work was told to stop.
pub fn digest(from: impl Read, stop: &Stop, progress: impl Fn(u64)) -> io::Result<(Digest, u64)> {
    copy(from, io::sink(), stop, progress)
}

/// Bytes of zeros that become a hole: the cluster of qcow2, and a multiple of every file system's block.
const HOLE_SIZE: usize = 1 << 16;

/// Writer that fills a new, empty file from its start, with holes in place of zeros.
pub struct Sparse<'f>(&'f mut File);

impl<'f> Sparse<'f> {
    /// Wraps a new, empty file.
    pub fn new(file: &'f mut File) -> Self {
        Self(file)
    }

    /// Sets the length of the file: a hole at the end is not written otherwise.
    ///
    /// # Errors
    /// The file cannot be resized.
    pub fn finish(self) -> io::Result<()> {
        let end = self.0.stream_position()?;
        self.0.set_len(end)
    }
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let block = &bytes[..bytes.len().min(HOLE_SIZE)];
        if block.iter().all(|byte| *byte == 0) {
            // At most HOLE_SIZE, so it fits.
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
        let bytes = vec![7; BLOCK_SIZE + 1];
        let mut copied = Vec::new();
        let (digest, size) = copy(&bytes[..], &mut copied, &Stop::default(), |_| {}).unwrap();
        assert_eq!((digest, size), (Digest::of(&bytes), bytes.len() as u64));
        assert_eq!(copied, bytes);
    }

    #[test]
    fn zeros_are_hashed_without_a_buffer_of_their_length() {
        let mut hash = StreamHash::default();
        hash.update(b"head");
        hash.update_zeros(200_000);
        hash.read(&b"tail"[..], &Stop::default(), |_| {}).unwrap();
        let bytes = [&b"head"[..], &vec![0; 200_000], b"tail"].concat();
        assert_eq!(hash.digest(), Digest::of(&bytes));
        assert_eq!(hash.length(), bytes.len() as u64);
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
    async fn work_stops_when_its_future_is_dropped() {
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
