//! Lays out a tree as an ext4 file system. The same tree and format give the same bytes: inodes are numbered in the order of
//! paths, blocks are allocated in that order, and neither clock nor randomness is used.

use std::collections::BTreeMap;
use std::ops::Range;

use self::extents::Extent;
use self::geometry::Geometry;
use self::inode::Inode;
use self::space::{CLUSTER, Grid, Space, Start};
use self::superblock::Totals;
use super::WriteError;
use super::fields::{low16, low32};
use super::layout::Region;
use crate::disk::read::FileType;
use crate::disk::read::ext4::layout::{compat, directory::TAIL, inode::ROOT};
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

/// Directory in which e2fsck puts files that have lost their names. Its inode is the first that is not reserved.
const LOST_AND_FOUND_PATH: &[u8] = b"/lost+found";

/// Bytes of the longest checksum at the end of a block.
const CHECKSUM_TAIL: usize = TAIL;

/// Average number of small files in a row: together they are about as large as two clusters.
const SMALL_FILES_PER_RUN: u32 = 16;

/// Lays out a tree in the partition at `offset` of the disk with a size of `bytes`. Regions are relative to the partition.
pub(super) fn lay_out(
    format: &Format,
    (offset, bytes): (u64, u64),
    tree: &Tree,
    contents: &Contents,
) -> Result<Vec<Region>, WriteError> {
    let geometry = Geometry::new(format, bytes)?;
    let lay_out = |grid| {
        let mut builder = Builder::new(format, geometry.clone(), grid, tree, contents)?;
        builder.journal()?;
        builder.resize_inode()?;
        builder.orphan_file()?;
        builder.directories()?;
        builder.files()?;
        builder.finish()
    };
    match lay_out(Grid::new(format.block_size, offset)) {
        // It may fit without gaps.
        Err(WriteError::Full { .. }) => lay_out(Grid::none()),
        result => result,
    }
}

/// A file system under construction.
struct Builder<'a> {
    format: &'a Format,
    geometry: Geometry,
    tree: &'a Tree,
    contents: &'a Contents,
    space: Space,
    regions: Vec<Region>,
    /// Inode number of every file of the tree; 0 if the file has no path.
    numbers: Vec<u32>,
    /// Files in the order of their inode numbers.
    order: Vec<u32>,
    /// Number of the first path of every file.
    paths: Vec<u32>,
    links: Vec<u32>,
    /// Inodes that are not compressed yet, without trailing zeros.
    inodes: BTreeMap<u32, Box<[u8]>>,
    /// First inode that is not compressed yet.
    first_pending_inode: u32,
    next_inode: u32,
    /// By inode, starting with number 1.
    is_directory: Vec<bool>,
    totals: Totals,
}

impl<'a> Builder<'a> {
    fn new(
        format: &'a Format,
        geometry: Geometry,
        grid: Grid,
        tree: &'a Tree,
        contents: &'a Contents,
    ) -> Result<Self, WriteError> {
        let count = tree.files().len();
        let mut builder = Self {
            format,
            space: Space::new(geometry.fixed.clone(), geometry.blocks, grid),
            geometry,
            tree,
            contents,
            regions: Vec::new(),
            numbers: vec![0; count],
            order: Vec::with_capacity(count),
            paths: vec![0; count],
            links: vec![0; count],
            inodes: BTreeMap::new(),
            first_pending_inode: 1,
            next_inode: format.first_inode + 1,
            is_directory: vec![false; format.first_inode as usize],
            totals: Totals::default(),
        };
        builder.totals.inodes =
            builder.geometry.groups.len() as u64 * u64::from(format.inodes_per_group);
        if format.has_compat(compat::ORPHAN_FILE) {
            builder.totals.orphan_inode = Some(builder.new_inode());
        }
        builder.number_files()?;
        Ok(builder)
    }

    /// Assigns inode numbers in the order of paths.
    fn number_files(&mut self) -> Result<(), WriteError> {
        let small = |number| u32::try_from(number).expect("a tree has fewer than 2^32 paths");
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
                b"/" => ROOT,
                LOST_AND_FOUND_PATH => self.format.first_inode,
                _ => self.new_inode(),
            };
            self.paths[file] = small(number);
            self.order.push(small(file));
        }
        let lost_and_found = self.tree.find(LOST_AND_FOUND_PATH);
        let kind = lost_and_found.map(|file| self.tree.files()[file].kind);
        if kind != Some(FileType::Directory) || self.tree.find(b"/").is_none() {
            return Err(refuse(
                LOST_AND_FOUND_PATH,
                "the directory is missing, and a root file system needs it",
            ));
        }
        Ok(())
    }

    fn new_inode(&mut self) -> u32 {
        let number = self.next_inode;
        self.next_inode += 1;
        self.is_directory.push(false);
        number
    }

    /// Returns the first path of a file.
    fn path(&self, file: usize) -> &'a [u8] {
        let path = self.tree.path(self.paths[file] as usize);
        path.unwrap_or_default()
    }

    /// Begins the allocation of a file. Large files start at a cluster. So do some of the small ones, chosen by their paths
    /// alone: a file that is added, removed or grown moves only the small files up to the next of them.
    fn begin(&mut self, file: usize, bytes: u64) {
        self.space.begin(if bytes >= CLUSTER as u64 {
            Start::ClusterEach
        } else if crc32c::crc32c(self.path(file)).is_multiple_of(SMALL_FILES_PER_RUN) {
            Start::Cluster
        } else {
            Start::Anywhere
        });
    }

    /// Returns the seed of the checksums of everything that belongs to an inode.
    fn seed(&self, number: u32) -> Option<u32> {
        self.format.checksums.inode_seed(number, 0)
    }

    fn offset(&self, block: u64) -> u64 {
        block * self.format.block_size as u64
    }

    /// Adds the parts of a block that are not zero: most directories are short, with a checksum at the end of their block.
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
            self.regions.push(Region::in_memory(at, bytes));
            self.regions.push(Region::in_memory(tail_at, tail));
        } else {
            bytes.extend(tail);
            self.regions.push(Region::in_memory(at, bytes));
        }
    }

    fn put_inode(&mut self, number: u32, inode: &Inode) {
        let bytes = inode.bytes(number, self.format.inode_size, self.format.checksums);
        let end = bytes.iter().rposition(|byte| *byte != 0);
        let used = &bytes[..end.map_or(0, |last| last + 1)];
        self.inodes.insert(number, used.into());
    }

    /// Allocates and maps blocks for runs of a file, given as first block and length. Returns the extents, the map for the
    /// inode, and the number of blocks of the file and its map.
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
            for range in self.space.take(count)? {
                let length = range.end - range.start;
                extents.push(Extent {
                    logical: low32(logical),
                    physical: range.start,
                    length: low32(length),
                });
                logical += length;
            }
        }
        let split = extents::split(&extents);
        let block_size = self.format.block_size;
        let count = extents::tree_blocks(split.len(), block_size) as u64;
        let tree_blocks: Vec<_> = self.space.take(count)?.into_iter().flatten().collect();
        let map = extents::map(&split, block_size, self.seed(number), &tree_blocks);
        for (block, bytes) in map.blocks {
            self.put_block(block, bytes);
        }
        Ok((extents, map.root, blocks + count))
    }

    /// Stores bytes in new blocks of an inode. Returns the map for the inode, and the number of blocks.
    fn put_bytes(&mut self, number: u32, bytes: &[u8]) -> Result<(Vec<u8>, u64), WriteError> {
        let block_size = self.format.block_size;
        let count = bytes.len().div_ceil(block_size) as u64;
        let (extents, map, blocks) = self.map(number, [(0, count)])?;
        let mut rest = bytes;
        for extent in extents {
            let length = (extent.length as usize * block_size).min(rest.len());
            let (bytes, after) = rest.split_at(length);
            self.put_block(extent.physical, bytes.to_vec());
            rest = after;
        }
        Ok((map, blocks))
    }

    fn sectors(&self, blocks: u64) -> u64 {
        self.offset(blocks) / 512
    }
}

/// Splits a path into parent and name.
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

/// Sets bits of a bitmap of one block.
fn mark(bitmap: &mut [u8], bits: Range<u64>) {
    for bit in bits {
        // At most 8 * 4096 bits.

        let byte = usize::from(low16(bit / 8));
        bitmap[byte] |= 1 << (bit % 8);
    }
}
