//! What is in the files of a tree: their digests, and which of their blocks are not zero.

use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};

use super::{Content, Tree};
use crate::digest::Digest;
use crate::disk::read::{FileSystem, Kind, ReadError};
use crate::hashing::Stop;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;
/// Holes are hashed, too, some GiB a second: a hostile disk could claim files of 16 TiB.
const MOST_BYTES: u64 = 2 << 40;
/// The largest block that contents are divided by.
const LARGEST_BLOCK: usize = 1 << 16;
static ZEROS: [u8; PIECE] = [0; PIECE];
/// Where the mark of a swap file is, at the end of its first page.
const SWAP_MARK: std::ops::Range<usize> = 4086..4096;

/// What is in the regular files of a tree.
#[derive(Clone, Debug)]
pub struct Contents(Vec<Option<FileContents>>);

/// What is in one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileContents {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Where it is not zero, in order, apart from each other.
    pub runs: Vec<Run>,
}

/// Blocks of a file that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The first.
    pub first: u64,
    /// How many.
    pub blocks: u64,
}

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
        let mut order: Vec<_> = (0..tree.files.len())
            .filter(|file| tree.files[*file].kind == Kind::File)
            .collect();
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
        let work = || {
            let mut reader = Reader {
                files,
                block_size,
                watch,
                buffer: vec![0; PIECE],
            };
            let mut done = Vec::new();
            while let Some(file) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((*file, reader.read(&tree.files[*file].content)?));
            }
            Ok::<_, ReadError>(done)
        };
        let mut all = vec![None; tree.files.len()];
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                let done = thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                for (file, contents) in done {
                    all[file] = Some(contents);
                }
            }
            Ok(Self(all))
        })
    }

    /// What is in a regular file of the tree.
    #[must_use]
    pub fn of(&self, file: usize) -> Option<&FileContents> {
        self.0.get(file)?.as_ref()
    }
}

/// One thread's part.
struct Reader<'a> {
    files: &'a dyn FileSystem,
    block_size: usize,
    watch: Watch<'a>,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    fn read(&mut self, content: &Content) -> Result<FileContents, ReadError> {
        let mut found = Found {
            hasher: Sha256::new(),
            block_size: self.block_size,
            at: 0,
            runs: Vec::new(),
        };
        let mut swap = false;
        let size = content.size();
        for (offset, length) in self.data(content)? {
            self.zeros(&mut found, offset)?;
            let end = offset.saturating_add(length).min(size);
            while found.at < end {
                self.watch.check()?;
                let room = usize::try_from(end - found.at).map_or(PIECE, |left| left.min(PIECE));
                let read = content.read_at(self.files, found.at, &mut self.buffer[..room])?;
                let piece = &self.buffer[..read];
                if read == 0 {
                    break;
                }
                swap |= found.at == 0
                    && piece
                        .get(SWAP_MARK)
                        .is_some_and(|mark| mark == b"SWAPSPACE2");
                found.add(piece);
                (self.watch.progress)(read as u64);
            }
        }
        self.zeros(&mut found, size)?;
        if swap {
            // The kernel swaps to blocks past the file system, and refuses files with holes.
            found.runs = vec![Run {
                first: 0,
                blocks: size.div_ceil(self.block_size as u64),
            }];
        }
        Ok(FileContents {
            digest: Digest::from_hasher(found.hasher),
            runs: found.runs,
        })
    }

    /// Where there may be data, widened to whole blocks.
    fn data(&self, content: &Content) -> Result<Vec<(u64, u64)>, ReadError> {
        let Content::Inode { inode, size } = content else {
            return Ok(vec![(0, content.size())]);
        };
        if *size <= PIECE as u64 {
            return Ok(vec![(0, *size)]);
        }
        let runs = self.files.runs(*inode)?;
        // Blocks of the file system that is read may be smaller than those that are asked for.
        let block = LARGEST_BLOCK as u64;
        let mut wide: Vec<(u64, u64)> = Vec::new();
        for run in runs {
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

    /// Hashes zeros up to an offset.
    fn zeros(&self, found: &mut Found, to: u64) -> Result<(), ReadError> {
        while found.at < to {
            self.watch.check()?;
            let length = usize::try_from(to - found.at).map_or(PIECE, |left| left.min(PIECE));
            found.hasher.update(&ZEROS[..length]);
            found.at += length as u64;
        }
        Ok(())
    }
}

/// What is known of a file so far.
struct Found {
    hasher: Sha256,
    block_size: usize,
    at: u64,
    runs: Vec<Run>,
}

impl Found {
    /// Adds bytes that start at a block.
    fn add(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
        let first = self.at / self.block_size as u64;
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
        self.at += piece.len() as u64;
    }
}
