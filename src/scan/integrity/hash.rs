//! Checksums of many files, by the algorithms that databases of packages have.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::md5::Digest as _;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::md5::{LANES, Md5, padding};
use super::{Root, ScanError};
use crate::disk::tree::Content;
use crate::scan::root::shown;

/// Bytes that are read at once of a file.
const PIECE: usize = 128 << 10;
/// Holes are hashed, too, half a GiB a second: a hostile disk could claim files of 16 TiB.
const MOST_BYTES: u64 = 64 << 30;

/// Without the optimizer, what is compiled here takes twenty times as long as the crate, which always has it.
const OPTIMIZED: bool = !cfg!(debug_assertions);

/// An MD5.
pub type Sum = [u8; 16];

/// How a checksum is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    /// All that dpkg has, and old RPMs.
    Md5,
    /// Alpine's.
    Sha1,
    /// RPM's.
    Sha256,
}

/// What a file's content is known by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Checksum {
    /// MD5.
    Md5(Sum),
    /// SHA-1.
    Sha1([u8; 20]),
    /// SHA-256.
    Sha256([u8; 32]),
}

impl Checksum {
    /// `None` for bytes of another length than the algorithm's.
    #[must_use]
    pub fn new(algorithm: Algorithm, bytes: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Md5 => bytes.try_into().ok().map(Self::Md5),
            Algorithm::Sha1 => bytes.try_into().ok().map(Self::Sha1),
            Algorithm::Sha256 => bytes.try_into().ok().map(Self::Sha256),
        }
    }

    /// How it is made.
    #[must_use]
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

/// Reads each of these files of the tree once for each of its algorithms, which is one unless several databases have it.
pub fn checksums(
    root: &Root<'_>,
    wanted: &HashSet<(usize, Algorithm)>,
    threads: usize,
) -> Result<HashMap<(usize, Algorithm), Checksum>, ScanError> {
    let mut all = HashMap::with_capacity(wanted.len());
    for algorithm in [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256] {
        let files = wanted.iter().filter(|(_, by)| *by == algorithm);
        let files = files.map(|(file, _)| *file).collect();
        let sums = by(algorithm, root, files, threads)?;
        all.extend(sums.into_iter().map(|(file, sum)| ((file, algorithm), sum)));
    }
    Ok(all)
}

/// MD5 of each of these files.
pub fn sums(
    root: &Root<'_>,
    wanted: Vec<usize>,
    threads: usize,
) -> Result<HashMap<usize, Checksum>, ScanError> {
    by(Algorithm::Md5, root, wanted, threads)
}

fn by(
    algorithm: Algorithm,
    root: &Root<'_>,
    mut wanted: Vec<usize>,
    threads: usize,
) -> Result<HashMap<usize, Checksum>, ScanError> {
    let files = root.tree().files();
    // About the order in which they lie on the disk.
    wanted.sort_by_key(|&file| match files[file].content {
        Content::Inode { inode, .. } => (inode.0, file),
        _ => (0, file),
    });
    let all = wanted.iter().fold(0, |all: u64, &file| {
        all.saturating_add(files[file].content.size())
    });
    if all > MOST_BYTES {
        return Err(ScanError::TooLarge {
            path: shown(b"/"),
            size: all,
        });
    }
    let next = AtomicUsize::new(0);
    let next = || wanted.get(next.fetch_add(1, Ordering::Relaxed)).copied();
    let work = || {
        if OPTIMIZED && algorithm == Algorithm::Md5 {
            side_by_side(root, &next)
        } else {
            one_by_one(algorithm, root, &next)
        }
    };
    let mut sums = HashMap::with_capacity(wanted.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let done = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            sums.extend(done?);
        }
        Ok(sums)
    })
}

fn one_by_one(
    algorithm: Algorithm,
    root: &Root<'_>,
    next: &dyn Fn() -> Option<usize>,
) -> Result<Vec<(usize, Checksum)>, ScanError> {
    let mut done = Vec::new();
    while let Some(file) = next() {
        let mut lane = Lane::new(root, file);
        let mut hasher = Hasher::new(algorithm);
        while lane.read(root)? {
            hasher.update(&lane.buffer);
        }
        done.push((file, hasher.finish()));
    }
    Ok(done)
}

enum Hasher {
    Md5(::md5::Md5),
    Sha1(Context),
    Sha256(Context),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(::md5::Md5::new()),
            Algorithm::Sha1 => Self::Sha1(Context::new(&SHA1_FOR_LEGACY_USE_ONLY)),
            Algorithm::Sha256 => Self::Sha256(Context::new(&SHA256)),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(md5) => md5.update(bytes),
            Self::Sha1(sha) | Self::Sha256(sha) => sha.update(bytes),
        }
    }

    fn finish(self) -> Checksum {
        match self {
            Self::Md5(md5) => Checksum::Md5(md5.finalize().into()),
            Self::Sha1(sha) => {
                let mut sum = [0; 20];
                sum.copy_from_slice(sha.finish().as_ref());
                Checksum::Sha1(sum)
            }
            Self::Sha256(sha) => {
                let mut sum = [0; 32];
                sum.copy_from_slice(sha.finish().as_ref());
                Checksum::Sha256(sum)
            }
        }
    }
}

/// A file that is being read.
struct Lane<'a> {
    file: usize,
    content: &'a Content,
    offset: u64,
    buffer: Vec<u8>,
    /// What of the buffer is still to be taken.
    todo: Range<usize>,
    ended: bool,
}

/// Sums of what `next` gives, as many files at once as there are lanes.
fn side_by_side(
    root: &Root<'_>,
    next: &dyn Fn() -> Option<usize>,
) -> Result<Vec<(usize, Checksum)>, ScanError> {
    let mut lanes: [Option<Lane<'_>>; LANES] = Default::default();
    let (mut md5, mut done) = (Md5::default(), Vec::new());
    loop {
        let mut least = usize::MAX;
        for (number, lane) in lanes.iter_mut().enumerate() {
            loop {
                if lane.is_none() {
                    // Whatever was in it before.
                    md5.take(number);
                    *lane = next().map(|file| Lane::new(root, file));
                }
                let Some(open) = lane else {
                    break;
                };
                if open.fill(root)? {
                    least = least.min(open.todo.len());
                    break;
                }
                done.push((open.file, Checksum::Md5(md5.take(number))));
                *lane = None;
            }
        }
        if least == usize::MAX {
            return Ok(done);
        }
        // Lanes without a file go along with what others have.
        let some = lanes
            .iter()
            .flatten()
            .next()
            .map(Lane::rest)
            .unwrap_or_default();
        let rests = lanes
            .each_ref()
            .map(|lane| &lane.as_ref().map_or(some, Lane::rest)[..least]);
        md5.update(rests);
        for lane in lanes.iter_mut().flatten() {
            lane.todo.start += least;
        }
    }
}

impl<'a> Lane<'a> {
    fn new(root: &Root<'a>, file: usize) -> Self {
        let content = &root.tree().files()[file].content;
        Self {
            file,
            content,
            offset: 0,
            buffer: Vec::new(),
            todo: 0..0,
            ended: false,
        }
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.todo.clone()]
    }

    /// Reads on where all was taken, padding at the end: whole blocks. `false` where there are no more.
    fn fill(&mut self, root: &Root<'_>) -> Result<bool, ScanError> {
        if !self.todo.is_empty() {
            return Ok(true);
        }
        if self.ended {
            return Ok(false);
        }
        self.read(root)?;
        if self.buffer.len() < PIECE {
            self.ended = true;
            self.buffer.extend(padding(self.offset));
        }
        self.todo = 0..self.buffer.len();
        Ok(true)
    }

    /// Reads the next piece, a shorter one at the end; `false` where there is nothing.
    fn read(&mut self, root: &Root<'_>) -> Result<bool, ScanError> {
        let left = self.content.size().saturating_sub(self.offset);
        let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        self.buffer.resize(length, 0);
        let mut filled = 0;
        while filled < length {
            let from = self.offset + filled as u64;
            let rest = &mut self.buffer[filled..];
            match self.content.read_at(root.files(), from, rest)? {
                0 => break,
                count => filled += count,
            }
        }
        self.buffer.truncate(filled);
        self.offset += filled as u64;
        Ok(filled > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::testing::Planted;

    type Summing<'s> = &'s dyn Fn(
        &Root<'_>,
        &dyn Fn() -> Option<usize>,
    ) -> Result<Vec<(usize, Checksum)>, ScanError>;

    #[test]
    fn files_side_by_side_have_the_sums_that_they_have_alone() {
        let mut tree = Planted::default();
        for (number, size) in [
            (0..40).map(|it| it * 3).collect(),
            vec![PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5, 0, 2 * PIECE - 9],
        ]
        .concat()
        .into_iter()
        .enumerate()
        {
            tree = tree.file(
                &format!("/{number}"),
                0o644,
                "abcde".repeat(size / 5 + 1)[..size].to_owned(),
            );
        }
        let root = tree.root();
        let all = root.tree().files().len();
        let sums = |of: Summing<'_>| {
            let left = AtomicUsize::new(0);
            let next = || Some(left.fetch_add(1, Ordering::Relaxed)).filter(|it| *it < all);
            let mut sums = of(&root, &next).unwrap();
            sums.sort_unstable();
            sums
        };
        let alone = |root: &Root<'_>, next: &dyn Fn() -> Option<usize>| {
            one_by_one(Algorithm::Md5, root, next)
        };
        assert_eq!(sums(&side_by_side), sums(&alone));
        assert!(all > 40);
    }
}
