//! The contents of a tree's files: their digests, and which of their blocks are not zero.
//!
//! A second reading of the same tree only has to prove equal bytes, and no adversary acts between the two readings:
//! [`ContentChecks`] are CRC-32C, which takes a seventh of the time of SHA-256.

use crc32c::crc32c_append;
use sha2::{Digest as _, Sha256};

use super::{Content, Tree};
use crate::digest::Digest;
use crate::disk::read::{FileSystem, FileType, ReadError};
use crate::os::hash_stream::Stop;
use crate::os::ordered::for_each;

const READ_BYTES: usize = 1 << 20;
/// Holes are hashed, too, some GiB a second: a hostile disk could claim files of 16 TiB.
const MAX_TOTAL_BYTES: u64 = 2 << 40;
/// The largest block size of ext4.
const MAX_BLOCK_BYTES: usize = 1 << 16;
static ZEROS: [u8; READ_BYTES] = [0; READ_BYTES];
/// Offset of the magic of a swap file, at the end of its first page.
const SWAP_MAGIC: std::ops::Range<usize> = 4086..4096;

/// Digests, checksums and data runs of the regular files of a tree, each in a column of its own: [`Contents::only_runs`]
/// drops the columns that are no longer needed, and a tree can have hundreds of thousands of files.
#[derive(Clone, Debug)]
pub struct Contents {
    digests: Vec<Option<Digest>>,
    checks: ContentChecks,
    /// Blocks that are not zero.
    runs: Vec<Runs>,
}

struct FileContents {
    digest: Digest,
    check: u32,
    runs: Runs,
}

/// Data runs of one file. Most files have no block of zeros, and so need no list.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Runs {
    /// Number of blocks of a file without zero blocks.
    All(u64),
    Some(Box<[BlockRun]>),
}

/// Consecutive blocks of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRun {
    /// Number of the first block.
    pub first: u64,
    /// Number of consecutive blocks.
    pub blocks: u64,
}

/// CRC-32C of the regular files of a tree.
#[derive(Clone, Debug)]
pub struct ContentChecks(Vec<Option<u32>>);

/// Cancellation and progress of long work.
#[derive(Clone, Copy)]
pub struct Monitor<'a> {
    /// Set when the work is cancelled.
    pub stop: &'a Stop,
    /// Called by any thread with the number of bytes processed since the last call.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl Monitor<'_> {
    /// Fails once the work is cancelled.
    ///
    /// # Errors
    /// The work was cancelled.
    pub fn check(&self) -> Result<(), ReadError> {
        self.stop.check().map_err(|source| ReadError::Io {
            what: "the guest's disk".to_owned(),
            source,
        })
    }
}

impl Contents {
    /// Reads every regular file once, on several threads.
    ///
    /// # Errors
    /// The file system is damaged or cannot be read, or the work was cancelled.
    pub fn read(
        tree: &Tree,
        files: &dyn FileSystem,
        block_size: usize,
        threads: usize,
        monitor: Monitor<'_>,
    ) -> Result<Self, ReadError> {
        let count = tree.files.len();
        let mut all = Self {
            digests: vec![None; count],
            checks: ContentChecks(vec![None; count]),
            runs: vec![Runs::All(0); count],
        };
        let work =
            |reader: &mut Reader<'_>, content: &Content| reader.contents(content, block_size);
        read_each(tree, files, (threads, monitor), work, |file, contents| {
            all.digests[file] = Some(contents.digest);
            all.checks.0[file] = Some(contents.check);
            all.runs[file] = contents.runs;
        })?;
        Ok(all)
    }

    /// Returns the SHA-256 of a regular file of the tree.
    #[must_use]
    pub fn digest(&self, file: usize) -> Option<&Digest> {
        self.digests.get(file)?.as_ref()
    }

    /// Returns the blocks of a regular file that are not zero: runs in order, with zeros between them.
    pub fn runs(&self, file: usize) -> impl Iterator<Item = BlockRun> {
        let (all, some) = match self.runs.get(file) {
            Some(Runs::All(blocks)) => (*blocks, &[][..]),
            Some(Runs::Some(runs)) => (0, &runs[..]),
            None => (0, &[][..]),
        };
        let all = (all > 0).then_some(BlockRun {
            first: 0,
            blocks: all,
        });
        all.into_iter().chain(some.iter().copied())
    }

    /// Returns the checksums that [`ContentChecks::read`] of the same files gives.
    #[must_use]
    pub fn checks(&self) -> &ContentChecks {
        &self.checks
    }

    /// Drops everything but the data runs, the only part that laying files out needs.
    #[must_use]
    pub fn only_runs(self) -> Self {
        Self {
            digests: Vec::new(),
            checks: ContentChecks(Vec::new()),
            runs: self.runs,
        }
    }
}

impl ContentChecks {
    /// Reads every regular file once, on several threads.
    ///
    /// # Errors
    /// The file system is damaged or cannot be read, or the work was cancelled.
    pub fn read(
        tree: &Tree,
        files: &dyn FileSystem,
        threads: usize,
        monitor: Monitor<'_>,
    ) -> Result<Self, ReadError> {
        let mut all = vec![None; tree.files.len()];
        let work = |reader: &mut Reader<'_>, content: &Content| reader.check(content);
        read_each(tree, files, (threads, monitor), work, |file, check| {
            all[file] = Some(check);
        })?;
        Ok(Self(all))
    }

    /// Returns the checksum of a regular file of the tree.
    #[must_use]
    pub fn get(&self, file: usize) -> Option<u32> {
        self.0.get(file).copied().flatten()
    }
}

/// Passes every regular file of a tree to `work` on several threads, and the results to `take` in any order.
fn read_each<T: Send>(
    tree: &Tree,
    files: &dyn FileSystem,
    (threads, monitor): (usize, Monitor<'_>),
    work: impl Fn(&mut Reader<'_>, &Content) -> Result<T, ReadError> + Sync,
    mut take: impl FnMut(usize, T) + Send,
) -> Result<(), ReadError> {
    // Files whose paths were removed are not among them.
    let mut order: Vec<_> = tree.paths().map(|(_, file)| file).collect();
    order.retain(|file| tree.files[*file].kind == FileType::File);
    order.sort_unstable();
    order.dedup();
    // Roughly their order on the disk.
    order.sort_by_key(|file| match tree.files[*file].content {
        Content::Inode { inode, .. } => inode.0,
        _ => 0,
    });
    let total = order.iter().fold(0_u64, |total, file| {
        total.saturating_add(tree.files[*file].content.size())
    });
    if total > MAX_TOTAL_BYTES {
        let problem = format!("its files have {total} bytes in total, holes included");
        return Err(ReadError::too_large(super::PART, problem));
    }
    let reader = || Reader {
        files,
        monitor,
        buffer: vec![0; READ_BYTES],
    };
    for_each(
        &order,
        threads,
        reader,
        |reader, file| Ok((*file, work(reader, &tree.files[*file].content)?)),
        |(file, result)| take(file, result),
    )
}

/// A thread's buffer and access to the files.
struct Reader<'a> {
    files: &'a dyn FileSystem,
    monitor: Monitor<'a>,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    fn contents(
        &mut self,
        content: &Content,
        block_size: usize,
    ) -> Result<FileContents, ReadError> {
        let mut state = ContentsState {
            hasher: Sha256::new(),
            check: 0,
            block_size,
            runs: Vec::new(),
        };
        let mut is_swap = false;
        self.read_all(content, |at, bytes, origin| {
            if origin == Origin::Disk {
                let magic = bytes.get(SWAP_MAGIC);
                is_swap |= at == 0 && magic.is_some_and(|magic| magic == b"SWAPSPACE2");
                state.find_runs(at, bytes);
            }
            state.hasher.update(bytes);
            state.check = crc32c_append(state.check, bytes);
        })?;
        let blocks = content.size().div_ceil(block_size as u64);
        let runs = match state.runs[..] {
            // The kernel swaps to blocks past the file system, and refuses files with holes.
            _ if is_swap => Runs::All(blocks),
            [run] if run.first == 0 && run.blocks == blocks => Runs::All(blocks),
            _ => Runs::Some(state.runs.into()),
        };
        Ok(FileContents {
            digest: Digest::from_hasher(state.hasher),
            check: state.check,
            runs,
        })
    }

    fn check(&mut self, content: &Content) -> Result<u32, ReadError> {
        let mut check = 0;
        self.read_all(content, |_, bytes, _| check = crc32c_append(check, bytes))?;
        Ok(check)
    }

    /// Passes all of a file to `take`, in order: offset, bytes, and their origin.
    fn read_all(
        &mut self,
        content: &Content,
        mut take: impl FnMut(u64, &[u8], Origin),
    ) -> Result<(), ReadError> {
        let (mut at, size) = (0, content.size());
        let room =
            |left: u64| usize::try_from(left).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        let zeros = |at: &mut u64, to: u64, take: &mut dyn FnMut(u64, &[u8], Origin)| {
            while *at < to {
                self.monitor.check()?;
                let length = room(to - *at);
                take(*at, &ZEROS[..length], Origin::Hole);
                *at += length as u64;
            }
            Ok::<_, ReadError>(())
        };
        for (offset, length) in data_ranges(self.files, content)? {
            zeros(&mut at, offset, &mut take)?;
            let end = offset.saturating_add(length).min(size);
            while at < end {
                self.monitor.check()?;
                let read = content.read_at(self.files, at, &mut self.buffer[..room(end - at)])?;
                if read == 0 {
                    break;
                }
                take(at, &self.buffer[..read], Origin::Disk);
                at += read as u64;
                (self.monitor.progress)(read as u64);
            }
        }
        zeros(&mut at, size, &mut take)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Disk,
    Hole,
}

/// Returns the ranges that may hold data as (offset, length), widened to whole blocks.
fn data_ranges(files: &dyn FileSystem, content: &Content) -> Result<Vec<(u64, u64)>, ReadError> {
    let Content::Inode { inode, size } = content else {
        return Ok(vec![(0, content.size())]);
    };
    if *size <= READ_BYTES as u64 {
        return Ok(vec![(0, *size)]);
    }
    // Blocks of the file system that is read may be smaller than the caller's.
    let block = MAX_BLOCK_BYTES as u64;
    let mut wide: Vec<(u64, u64)> = Vec::new();
    for run in files.runs(*inode)? {
        let start = run.offset / block * block;
        let end = run
            .offset
            .saturating_add(run.length)
            .div_ceil(block)
            .saturating_mul(block);
        match wide.last_mut() {
            Some((first, length)) if *first + *length >= start => {
                *length = (*length).max(end - *first);
            }
            _ => wide.push((start, end - start)),
        }
    }
    Ok(wide)
}

/// Digest, checksum and data runs of the part of a file that was read.
struct ContentsState {
    hasher: Sha256,
    check: u32,
    block_size: usize,
    runs: Vec<BlockRun>,
}

impl ContentsState {
    /// Adds the blocks of `bytes` that are not zero; `at` is the start of a block.
    fn find_runs(&mut self, at: u64, bytes: &[u8]) {
        let first = at / self.block_size as u64;
        for (number, block) in (first..).zip(bytes.chunks(self.block_size)) {
            if block == &ZEROS[..block.len()] {
                continue;
            }
            match self.runs.last_mut() {
                Some(run) if run.first + run.blocks == number => run.blocks += 1,
                _ => self.runs.push(BlockRun {
                    first: number,
                    blocks: 1,
                }),
            }
        }
    }
}
