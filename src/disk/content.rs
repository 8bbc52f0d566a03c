//! Digests of disk contents, which do not depend on the container format.

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// Bytes of a disk that are hashed by themselves.
pub const CHUNK: usize = 1 << 20;

/// Computes SHA-256 over the SHA-256 of every MiB of a disk; the last chunk may be shorter.
///
/// One hash over all of a disk of 20 GiB would take longer than everything else together, mostly for zeros. This one is
/// computed by all threads, and the digest of a MiB of zeros is known.
pub struct ContentHasher {
    hasher: Sha256,
    at: u64,
    size: u64,
    zeros: [u8; 32],
}

impl ContentHasher {
    /// Starts the digest of a disk of `size` bytes.
    #[must_use]
    pub fn new(size: u64) -> Self {
        let zeros = Sha256::digest(vec![0; CHUNK]).into();
        Self {
            hasher: Sha256::new(),
            at: 0,
            size,
            zeros,
        }
    }

    /// Adds the digest of the chunk at `offset`; chunks before it that were not added count as zeros.
    pub fn add(&mut self, offset: u64, digest: [u8; 32]) {
        self.skip_to(offset);
        self.hasher.update(digest);
        self.at += CHUNK as u64;
    }

    fn skip_to(&mut self, offset: u64) {
        while self.at + CHUNK as u64 <= offset {
            self.hasher.update(self.zeros);
            self.at += CHUNK as u64;
        }
    }

    /// Returns the digest; everything after the last added chunk counts as zeros.
    #[must_use]
    pub fn finish(mut self) -> Digest {
        self.skip_to(self.size);
        // The last chunk of a disk whose size is not a multiple of a MiB.

        if let Some(rest) = self.size.checked_sub(self.at)
            && let Ok(rest) = usize::try_from(rest)
            && rest > 0
        {
            self.hasher.update(Sha256::digest(vec![0; rest]));
        }
        Digest::from_hasher(self.hasher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_need_not_be_added() {
        let digest = |bytes: &[u8]| <[u8; 32]>::from(Sha256::digest(bytes));
        for size in [0, 5, CHUNK, 3 * CHUNK, 3 * CHUNK + 5] {
            let disk: Vec<u8> = (0..size).map(|at| u8::from(at / CHUNK == 1)).collect();
            let parts: Vec<_> = disk.chunks(CHUNK).map(digest).collect();
            let mut content = ContentHasher::new(size as u64);
            if let Some(part) = parts.get(1) {
                content.add(CHUNK as u64, *part);
            }
            assert_eq!(content.finish(), Digest::of(&parts.concat()), "{size}");
        }
    }
}
