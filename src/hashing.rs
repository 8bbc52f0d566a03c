//! SHA-256 of streams, off the main thread, with progress; stops soon after nobody waits for it any more.

use std::io::{self, Read, Write};
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
    let mut block = vec![0; BLOCK];
    let mut size = 0;
    loop {
        stop.check()?;
        let length = match from.read(&mut block) {
            Ok(0) => return Ok((Digest::from_hasher(hasher), size)),
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
