//! Checksums of many files, by the algorithms that package databases use.

use std::collections::{HashMap, HashSet};
use std::fmt;

use md5::{Digest as _, Md5};
use rayon::prelude::*;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::{Root, ScanError};
use crate::disk::tree::Content;
use crate::scan::root::display_path;

/// Size of a read.
const CHUNK_SIZE: usize = 128 << 10;
/// Holes are hashed, too, half a GiB a second: a hostile disk could claim files of 16 TiB.
const MAX_BYTES: u64 = 64 << 30;

pub type Sum = [u8; 16];

/// Digest algorithm of a package database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    /// dpkg, and old RPM packages.
    Md5,
    Sha1,
    Sha256,
}

/// Digest of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Checksum {
    Md5(Sum),
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl Checksum {
    /// Returns `None` for bytes of another length than the algorithm's.
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Md5 => bytes.try_into().ok().map(Self::Md5),
            Algorithm::Sha1 => bytes.try_into().ok().map(Self::Sha1),
            Algorithm::Sha256 => bytes.try_into().ok().map(Self::Sha256),
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Md5(_) => Algorithm::Md5,
            Self::Sha1(_) => Algorithm::Sha1,
            Self::Sha256(_) => Algorithm::Sha256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
        })
    }
}

/// Returns the MD5 digest of each file of the tree in `wanted`.
pub fn md5_sums(
    root: &Root<'_>,
    wanted: Vec<usize>,
) -> Result<HashMap<usize, Checksum>, ScanError> {
    let wanted = wanted.into_iter().map(|file| (file, Algorithm::Md5));
    let sums = checksums(root, &wanted.collect())?.into_iter();
    Ok(sums.map(|((file, _), sum)| (file, sum)).collect())
}

/// Hashes each file of the tree in `wanted` with the given algorithm, on all processors.
pub fn checksums(
    root: &Root<'_>,
    wanted: &HashSet<(usize, Algorithm)>,
) -> Result<HashMap<(usize, Algorithm), Checksum>, ScanError> {
    let files = root.tree().files();
    let mut wanted: Vec<_> = wanted.iter().copied().collect();
    // Roughly the order on the disk.
    wanted.sort_by_key(|&(file, algorithm)| match files[file].content {
        Content::Inode { inode, .. } => (inode.0, file, algorithm),
        _ => (0, file, algorithm),
    });
    let total = wanted.iter().fold(0, |total: u64, &(file, _)| {
        total.saturating_add(files[file].content.size())
    });
    if total > MAX_BYTES {
        return Err(ScanError::TooLarge {
            path: display_path(b"/"),
            size: total,
        });
    }
    // A bridge hands files out one by one, which keeps their order; slices would be split in halves.
    let wanted = wanted.into_iter().par_bridge();
    let sums = wanted.map_init(
        || vec![0; CHUNK_SIZE],
        |buffer, (file, algorithm)| {
            let sum = checksum(root, file, algorithm, buffer)?;
            Ok(((file, algorithm), sum))
        },
    );
    sums.collect()
}

fn checksum(
    root: &Root<'_>,
    file: usize,
    algorithm: Algorithm,
    buffer: &mut [u8],
) -> Result<Checksum, ScanError> {
    let file = &root.tree().files()[file];
    let (mut hasher, mut offset) = (Hasher::new(algorithm), 0);
    loop {
        let filled = root.read_at(file, offset, buffer)?;
        hasher.update(&buffer[..filled]);
        offset += filled as u64;
        if filled < buffer.len() {
            return Ok(hasher.finish());
        }
    }
}

enum Hasher {
    Md5(Md5),
    Sha(Algorithm, Context),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Sha1 => Self::Sha(algorithm, Context::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            Algorithm::Sha256 => Self::Sha(algorithm, Context::new(&SHA256)),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(md5) => md5.update(bytes),
            Self::Sha(_, sha) => sha.update(bytes),
        }
    }

    fn finish(self) -> Checksum {
        match self {
            Self::Md5(md5) => Checksum::Md5(md5.finalize().into()),
            Self::Sha(algorithm, sha) => Checksum::new(algorithm, sha.finish().as_ref())
                .expect("a digest has the length of its algorithm"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::testing::Planted;

    #[test]
    fn files_of_every_length_have_the_checksum_of_their_bytes() {
        let sizes = (0..40).map(|size| size * 3).chain([
            CHUNK_SIZE - 1,
            CHUNK_SIZE,
            CHUNK_SIZE + 1,
            3 * CHUNK_SIZE,
        ]);
        let contents: Vec<_> = sizes
            .map(|size| "abcde".repeat(size / 5 + 1)[..size].to_owned())
            .collect();
        let mut tree = Planted::default();
        for (number, content) in contents.iter().enumerate() {
            tree = tree.file(&format!("/{number}"), 0o644, content.clone());
        }
        let root = tree.root();
        for algorithm in [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256] {
            let find = |number| root.tree().find(format!("/{number}").as_bytes()).unwrap();
            let wanted = (0..contents.len()).map(|number| (find(number), algorithm));
            let found = checksums(&root, &wanted.collect()).unwrap();
            for (number, content) in contents.iter().enumerate() {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(content.as_bytes());
                let length = content.len();
                let sum = found[&(find(number), algorithm)];
                assert_eq!(sum, hasher.finish(), "{algorithm} of {length} bytes");
            }
        }
    }
}
