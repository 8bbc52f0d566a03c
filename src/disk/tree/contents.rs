//! What is in the files of a tree: their digests, and which of their blocks are not zero.
//!
//! A second reading of the same tree only has to show that it has the same bytes, and there is no adversary between the two:
//! [`Checks`] are CRC-32C, which takes a seventh of the time of SHA-256.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crc32c::crc32c_append;
use sha2::{Digest as _, Sha256};

use super::{Content, Tree};
use crate::digest::Digest;
use crate::disk::read::{FileSystem, Kind, ReadError};
use crate::os::hash_stream::Stop;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
/// Holes are hashed, too, some GiB a second: a hostile disk could claim files of 16 TiB.
const MOST_BYTES: u64 = 2 << 40;
/// The largest block that contents are divided by.
const LARGEST_BLOCK: usize = 1 << 16;
static ZEROS: [u8; PIECE] = [0; PIECE];
/// Where the mark of a swap file is, at the end of its first page.
const SWAP_MARK: std::ops::Range<usize> = 4086..4096;

/// What is in the regular files of a tree: in columns, as not all of it is wanted to the end, and there can be hundreds of
/// thousands of files.
#[derive(Clone, Debug)]
pub struct Contents {
    /// SHA-256 of the bytes of each file.
    digests: Vec<Option<Digest>>,
    /// What is found when they are read again.
    checks: Checks,
    /// Where each is not zero, in order, apart from each other.
    runs: Vec<Runs>,
}

/// What is in one file.
struct FileContents {
    digest: Digest,
    check: u32,
    runs: Runs,
}

/// Most files have no block of zeros, and there can be hundreds of thousands of files.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Runs {
    /// From the first block to the last: so many.
    All(u64),
    Some(Box<[Run]>),
}

/// Blocks of a file that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The first.
    pub first: u64,
    /// How many.
    pub blocks: u64,
}

/// CRC-32C of the regular files of a tree.
#[derive(Clone, Debug)]
pub struct Checks(Vec<Option<u32>>);

/// How a long piece of work is watched.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Told when nobody wants the result any more.
    pub stop: &'a Stop,
    /// Called with the bytes that went through since the last call, by any thread.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl Watch<'_> {
    /// Fails once nobody wants the result any more.
    ///
    /// # Errors
    /// The work was told to stop.
    pub fn check(&self) -> Result<(), ReadError> {
        self.stop.check().map_err(|source| ReadError::Io {
            what: "the disk of the guest".to_owned(),
            source,
        })
    }
}

impl Contents {
    /// Reads every regular file once, by several threads.
    ///
    /// # Errors
    /// The file system is damaged or cannot be read, or the work was told to stop.
    pub fn read(
        tree: &Tree,
        files: &dyn FileSystem,
        block_size: usize,
        threads: usize,
        watch: Watch<'_>,
    ) -> Result<Self, ReadError> {
        let count = tree.files.len();
        let mut all = Self {
            digests: vec![None; count],
            checks: Checks(vec![None; count]),
            runs: vec![Runs::All(0); count],
        };
        let work =
            |reader: &mut Reader<'_>, content: &Content| reader.contents(content, block_size);
        each(tree, files, (threads, watch), work, |file, found| {
            all.digests[file] = Some(found.digest);
            all.checks.0[file] = Some(found.check);
            all.runs[file] = found.runs;
        })?;
        Ok(all)
    }

    /// SHA-256 of a regular file of the tree.
    #[must_use]
    pub fn digest(&self, file: usize) -> Option<&Digest> {
        self.digests.get(file)?.as_ref()
    }

    /// Where a regular file of the tree is not zero, in order, apart from each other.
    pub fn runs(&self, file: usize) -> impl Iterator<Item = Run> {
        let (all, some) = match self.runs.get(file) {
            Some(Runs::All(blocks)) => (*blocks, &[][..]),
            Some(Runs::Some(runs)) => (0, &runs[..]),
            None => (0, &[][..]),
        };
        let all = Some(all).filter(|blocks| *blocks > 0);
        let all = all.map(|blocks| Run { first: 0, blocks });
        all.into_iter().chain(some.iter().copied())
    }

    /// What [`Checks::read`] has to find.
    #[must_use]
    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Forgets everything but where files are not zero, which is what laying them out takes.
    #[must_use]
    pub fn only_runs(self) -> Self {
        Self {
            digests: Vec::new(),
            checks: Checks(Vec::new()),
            runs: self.runs,
        }
    }
}

impl Checks {
    /// Reads every regular file once, by several threads.
    ///
    /// # Errors
    /// The file system is damaged or cannot be read, or the work was told to stop.
    pub fn read(
        tree: &Tree,
        files: &dyn FileSystem,
        threads: usize,
        watch: Watch<'_>,
    ) -> Result<Self, ReadError> {
        let mut all = vec![None; tree.files.len()];
        let work = |reader: &mut Reader<'_>, content: &Content| reader.check(content);
        each(tree, files, (threads, watch), work, |file, check| {
            all[file] = Some(check);
        })?;
        Ok(Self(all))
    }

    /// That of a regular file of the tree.
    #[must_use]
    pub fn of(&self, file: usize) -> Option<u32> {
        self.0.get(file).copied().flatten()
    }
}

/// Does something with every regular file of a tree, by several threads, and hands on what came of it, in any order.
fn each<T: Send>(
    tree: &Tree,
    files: &dyn FileSystem,
    (threads, watch): (usize, Watch<'_>),
    work: impl Fn(&mut Reader<'_>, &Content) -> Result<T, ReadError> + Sync,
    take: impl FnMut(usize, T) + Send,
) -> Result<(), ReadError> {
    /// So seldom that threads do not wait for each other, so often that what waits is small.
    const BATCH: usize = 256;
    // What was taken away is not among them.
    let mut order: Vec<_> = tree.paths().map(|(_, file)| file).collect();
    order.retain(|file| tree.files[*file].kind == Kind::File);
    order.sort_unstable();
    order.dedup();
    // About the order in which they lie on the disk.
    order.sort_by_key(|file| match tree.files[*file].content {
        Content::Inode { inode, .. } => inode.0,
        _ => 0,
    });
    let all: u64 = order.iter().fold(0, |all, file| {
        all.saturating_add(tree.files[*file].content.size())
    });
    if all > MOST_BYTES {
        return Err(ReadError::TooLarge {
            part: super::PART,
            problem: format!("its files have {all} bytes together, holes included"),
        });
    }
    let next = AtomicUsize::new(0);
    let take = Mutex::new(take);
    let hand_on = |done: &mut Vec<(usize, T)>| {
        let mut take = take.lock().unwrap_or_else(PoisonError::into_inner);
        for (file, found) in done.drain(..) {
            take(file, found);
        }
    };
    let turn = || {
        let mut reader = Reader {
            files,
            watch,
            buffer: vec![0; PIECE],
        };
        let mut done = Vec::with_capacity(BATCH);
        while let Some(file) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((*file, work(&mut reader, &tree.files[*file].content)?));
            if done.len() == BATCH {
                hand_on(&mut done);
            }
        }
        hand_on(&mut done);
        Ok::<_, ReadError>(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(turn)).collect();
        let ended = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        ended.collect()
    })
}

/// One thread's part.
struct Reader<'a> {
    files: &'a dyn FileSystem,
    watch: Watch<'a>,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    fn contents(
        &mut self,
        content: &Content,
        block_size: usize,
    ) -> Result<FileContents, ReadError> {
        let mut found = Found {
            hasher: Sha256::new(),
            check: 0,
            block_size,
            runs: Vec::new(),
        };
        let mut swap = false;
        self.pieces(content, |at, piece, data| {
            if data {
                let mark = piece.get(SWAP_MARK);
                swap |= at == 0 && mark.is_some_and(|mark| mark == b"SWAPSPACE2");
                found.find_runs(at, piece);
            }
            found.hasher.update(piece);
            found.check = crc32c_append(found.check, piece);
        })?;
        let blocks = content.size().div_ceil(block_size as u64);
        let runs = match found.runs[..] {
            // The kernel swaps to blocks past the file system, and refuses files with holes.
            _ if swap => Runs::All(blocks),
            [run] if run.first == 0 && run.blocks == blocks => Runs::All(blocks),
            _ => Runs::Some(found.runs.into()),
        };
        Ok(FileContents {
            digest: Digest::from_hasher(found.hasher),
            check: found.check,
            runs,
        })
    }

    fn check(&mut self, content: &Content) -> Result<u32, ReadError> {
        let mut check = 0;
        self.pieces(content, |_, piece, _| check = crc32c_append(check, piece))?;
        Ok(check)
    }

    /// Passes all of a file on, in order: where it is, the bytes, and whether they were read rather than known to be zero.
    fn pieces(
        &mut self,
        content: &Content,
        mut take: impl FnMut(u64, &[u8], bool),
    ) -> Result<(), ReadError> {
        let (mut at, size) = (0, content.size());
        let zeros = |at: &mut u64, to: u64, take: &mut dyn FnMut(u64, &[u8], bool)| {
            while *at < to {
                self.watch.check()?;
                let length = usize::try_from(to - *at).map_or(PIECE, |left| left.min(PIECE));
                take(*at, &ZEROS[..length], false);
                *at += length as u64;
            }
            Ok::<_, ReadError>(())
        };
        for (offset, length) in data(self.files, content)? {
            zeros(&mut at, offset, &mut take)?;
            let end = offset.saturating_add(length).min(size);
            while at < end {
                self.watch.check()?;
                let room = usize::try_from(end - at).map_or(PIECE, |left| left.min(PIECE));
                let read = content.read_at(self.files, at, &mut self.buffer[..room])?;
                if read == 0 {
                    break;
                }
                take(at, &self.buffer[..read], true);
                at += read as u64;
                (self.watch.progress)(read as u64);
            }
        }
        zeros(&mut at, size, &mut take)
    }
}

/// Where there may be data, widened to whole blocks.
fn data(files: &dyn FileSystem, content: &Content) -> Result<Vec<(u64, u64)>, ReadError> {
    let Content::Inode { inode, size } = content else {
        return Ok(vec![(0, content.size())]);
    };
    if *size <= PIECE as u64 {
        return Ok(vec![(0, *size)]);
    }
    // Blocks of the file system that is read may be smaller than those that are asked for.
    let block = LARGEST_BLOCK as u64;
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

/// What is known of a file so far.
struct Found {
    hasher: Sha256,
    check: u32,
    block_size: usize,
    runs: Vec<Run>,
}

impl Found {
    /// Looks at bytes that start at a block.
    fn find_runs(&mut self, at: u64, piece: &[u8]) {
        let first = at / self.block_size as u64;
        for (number, block) in (first..).zip(piece.chunks(self.block_size)) {
            if block == &ZEROS[..block.len()] {
                continue;
            }
            match self.runs.last_mut() {
                Some(run) if run.first + run.blocks == number => run.blocks += 1,
                _ => self.runs.push(Run {
                    first: number,
                    blocks: 1,
                }),
            }
        }
    }
}
