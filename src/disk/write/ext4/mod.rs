//! A tree laid out as an ext4 file system. The same tree and format give the same bytes: inodes are numbered in the order of
//! paths, blocks are handed out in that order, and there is neither a clock nor chance.

use std::collections::BTreeMap;
use std::ops::Range;

use self::extents::Extent;
use self::format::compatible;
use self::geometry::Geometry;
use self::inode::Inode;
use self::space::{CLUSTER, Grid, Space, Start};
use self::superblock::Totals;
use super::WriteError;
use super::fields::{low16, low32};
use super::layout::Piece;
use crate::disk::read::Kind;
use crate::disk::tree::{Contents, Tree};

mod checksum;
mod directory;
mod extents;
mod files;
mod finish;
mod format;
mod geometry;
mod hash;
mod inode;
mod orphans;
mod space;
mod superblock;
mod system;
mod xattr;

pub use format::Format;

const ROOT_INODE: u32 = 2;
const RESIZE_INODE: u32 = 7;
const JOURNAL_INODE: u32 = 8;
/// Where repairs put what has lost its name. Its inode is the first that is not reserved.
const LOST_AND_FOUND_PATH: &[u8] = b"/lost+found";

/// No structure has a longer one at the end of its block.
const CHECKSUM_TAIL: usize = 12;

/// Small files that follow each other, on the average: together about as large as two clusters.
const RUN: u32 = 16;

/// The inode is mapped by extents.
const EXTENTS_FLAG: u32 = 0x8_0000;

/// Lays out a tree: pieces at offsets within a partition, which starts at `offset` of the disk and has so many bytes.
pub(super) fn lay(
    format: &Format,
    (offset, bytes): (u64, u64),
    tree: &Tree,
    contents: &Contents,
) -> Result<Vec<Piece>, WriteError> {
    let geometry = Geometry::new(format, bytes)?;
    let lay = |grid| {
        let mut layer = Layer::new(format, geometry.clone(), grid, tree, contents)?;
        layer.journal()?;
        layer.resize_inode()?;
        layer.orphan_file()?;
        layer.directories()?;
        layer.files()?;
        layer.finish()
    };
    match lay(Grid::new(format.block_size, offset)) {
        // Without gaps it may fit.
        Err(WriteError::Full { .. }) => lay(Grid::none()),
        laid => laid,
    }
}

/// A file system in the making.
struct Layer<'a> {
    format: &'a Format,
    geometry: Geometry,
    tree: &'a Tree,
    contents: &'a Contents,
    space: Space,
    pieces: Vec<Piece>,
    /// The number of every file of the tree that has a path; 0 for others.
    numbers: Vec<u32>,
    /// Files in the order of their numbers.
    order: Vec<u32>,
    /// The number of one path of every file.
    paths: Vec<u32>,
    links: Vec<u32>,
    /// Inodes that are not packed yet, without the zeros at their end.
    inodes: BTreeMap<u32, Box<[u8]>>,
    /// All before it are packed.
    packed_inodes: u32,
    next_inode: u32,
    /// Directories among the inodes.
    is_directory: Vec<bool>,
    totals: Totals,
}

impl<'a> Layer<'a> {
    fn new(
        format: &'a Format,
        geometry: Geometry,
        grid: Grid,
        tree: &'a Tree,
        contents: &'a Contents,
    ) -> Result<Self, WriteError> {
        let count = tree.files().len();
        let mut layer = Self {
            format,
            space: Space::new(geometry.fixed.clone(), geometry.blocks, grid),
            geometry,
            tree,
            contents,
            pieces: Vec::new(),
            numbers: vec![0; count],
            order: Vec::with_capacity(count),
            paths: vec![0; count],
            links: vec![0; count],
            inodes: BTreeMap::new(),
            packed_inodes: 1,
            next_inode: format.first_inode + 1,
            is_directory: vec![false; format.first_inode as usize],
            totals: Totals::default(),
        };
        layer.totals.inodes =
            layer.geometry.groups.len() as u64 * u64::from(format.inodes_per_group);
        if format.compatible(compatible::ORPHAN_FILE) {
            layer.totals.orphans_inode = Some(layer.new_inode());
        }
        layer.number_files()?;
        Ok(layer)
    }

    /// # Panics
    /// There are 2^32 paths or files, which a reader of trees refuses long before.
    fn number_files(&mut self) -> Result<(), WriteError> {
        let small = |number| u32::try_from(number).expect("a tree has less than 2^32 of it");
        for number in 0..self.tree.numbers() {
            let Some((path, file)) = self.tree.numbered(number) else {
                continue;
            };
            self.links[file] += 1;
            if self.links[file] > 1 {
                continue;
            }
            files::check(&self.tree.files()[file], path, self.format)?;
            self.numbers[file] = match path {
                b"/" => ROOT_INODE,
                LOST_AND_FOUND_PATH => self.format.first_inode,
                _ => self.new_inode(),
            };
            self.paths[file] = small(number);
            self.order.push(small(file));
        }
        let lost = self
            .tree
            .find(LOST_AND_FOUND_PATH)
            .map(|file| self.tree.files()[file].kind);
        if lost != Some(Kind::Directory) || self.tree.find(b"/").is_none() {
            return Err(WriteError::File {
                path: "/lost+found".to_owned(),
                problem: "a root file system has this directory, and here it is missing".to_owned(),
            });
        }
        Ok(())
    }

    fn new_inode(&mut self) -> u32 {
        let number = self.next_inode;
        self.next_inode += 1;
        self.is_directory.push(false);
        number
    }

    /// One path of a file.
    fn path(&self, file: usize) -> &'a [u8] {
        let path = self.tree.path(self.paths[file] as usize);
        path.unwrap_or_default()
    }

    /// Begins a file of so many bytes. Every few of the small ones, chosen by their paths alone, start with a cluster: so one
    /// that is new, gone or larger moves only those up to the next such.
    fn begin(&mut self, file: usize, bytes: u64) {
        self.space.begin(if bytes >= CLUSTER as u64 {
            Start::EachPiece
        } else if crc32c::crc32c(self.path(file)).is_multiple_of(RUN) {
            Start::Cluster
        } else {
            Start::Anywhere
        });
    }

    /// Seed of the checksums of what belongs to an inode.
    fn seed(&self, number: u32) -> Option<u32> {
        self.format.checksums.inode_seed(number, 0)
    }

    fn offset(&self, block: u64) -> u64 {
        block * self.format.block_size as u64
    }

    /// Keeps what is not zero: most directories fill a small part of their block, and have a checksum at its end.
    fn put_block(&mut self, block: u64, mut bytes: Vec<u8>) {
        let at = self.offset(block);
        let tail = bytes.split_off(bytes.len().saturating_sub(CHECKSUM_TAIL));
        let tail_at = at + bytes.len() as u64;
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        if used + CHECKSUM_TAIL < bytes.len() {
            bytes.truncate(used);
            self.pieces.push(Piece::here(at, bytes));
            self.pieces.push(Piece::here(tail_at, tail));
        } else {
            bytes.extend(tail);
            self.pieces.push(Piece::here(at, bytes));
        }
    }

    fn put_inode(&mut self, number: u32, inode: &Inode) {
        let bytes = inode.bytes(number, self.format.inode_size, self.format.checksums);
        let end = bytes.iter().rposition(|byte| *byte != 0);
        let used = &bytes[..end.map_or(0, |last| last + 1)];
        self.inodes.insert(number, used.into());
    }

    /// Takes blocks for runs of a file and maps them. Says where they are and how many blocks that took in all.
    fn map(
        &mut self,
        number: u32,
        runs: impl IntoIterator<Item = (u64, u64)>,
    ) -> Result<(Vec<Extent>, Vec<u8>, u64), WriteError> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut blocks = 0;
        for (first, count) in runs {
            let mut logical = first;
            blocks += count;
            for piece in self.space.take(count)? {
                let length = piece.end - piece.start;
                extents.push(Extent {
                    logical: low32(logical),
                    physical: piece.start,
                    length: low32(length),
                });
                logical += length;
            }
        }
        let divided = extents::divided(&extents);
        let block_size = self.format.block_size;
        let count = extents::tree_blocks(divided.len(), block_size) as u64;
        let places: Vec<_> = self.space.take(count)?.into_iter().flatten().collect();
        let map = extents::map(&divided, block_size, self.seed(number), &places);
        for (place, bytes) in map.blocks {
            self.put_block(place, bytes);
        }
        Ok((extents, map.root, blocks + count))
    }

    /// Puts bytes into new blocks of an inode and maps them.
    fn put_bytes(&mut self, number: u32, bytes: &[u8]) -> Result<(Vec<u8>, u64), WriteError> {
        let block_size = self.format.block_size;
        let count = bytes.len().div_ceil(block_size) as u64;
        let (extents, map, blocks) = self.map(number, [(0, count)])?;
        let mut rest = bytes;
        for extent in extents {
            let (piece, after) =
                rest.split_at((extent.length as usize * block_size).min(rest.len()));
            self.put_block(extent.physical, piece.to_vec());
            rest = after;
        }
        Ok((map, blocks))
    }

    fn sectors(&self, blocks: u64) -> u64 {
        self.offset(blocks) / 512
    }
}

/// The parent and the name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    (
        if slash == 0 { b"/" } else { &path[..slash] },
        &path[slash + 1..],
    )
}

fn refuse(path: &[u8], problem: &str) -> WriteError {
    WriteError::File {
        path: String::from_utf8_lossy(path).into_owned(),
        problem: problem.to_owned(),
    }
}

/// Marks bits.
fn mark(bitmap: &mut [u8], bits: Range<u64>) {
    for bit in bits {
        // Within a block's bits.
        let byte = usize::from(low16(bit / 8));
        bitmap[byte] |= 1 << (bit % 8);
    }
}
