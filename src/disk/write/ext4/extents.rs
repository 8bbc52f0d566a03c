//! Maps of files: extents in the inode, or in a tree of blocks.

use super::super::fields::{Fields, low16};
use super::checksum::crc32c;
use crate::disk::read::Bytes;
use crate::disk::read::ext4::layout::extent::{self as field, LENGTH};
use crate::disk::read::ext4::layout::inode::MAP_LENGTH;

/// Consecutive blocks of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    /// First block in the file.
    pub(super) logical: u32,
    /// First block on the disk.
    pub(super) physical: u64,
    pub(super) length: u32,
}

/// Longer extents would be read as unwritten.
const MAX_LENGTH: u32 = field::MAX_WRITTEN as u32;
/// Entries in an inode.
const ROOT_ENTRIES: usize = 4;

#[derive(Debug)]
pub(super) struct Map {
    /// The map in the inode.
    pub(super) root: Vec<u8>,
    /// Blocks of the tree with their numbers.
    pub(super) blocks: Vec<(u64, Vec<u8>)>,
}

/// Splits extents into lengths that can be stored.
pub(super) fn split(extents: &[Extent]) -> Vec<Extent> {
    let parts = |extent: &Extent| {
        let extent = *extent;
        (0..extent.length)
            .step_by(MAX_LENGTH as usize)
            .map(move |from| Extent {
                logical: extent.logical + from,
                physical: extent.physical + u64::from(from),
                length: MAX_LENGTH.min(extent.length - from),
            })
    };
    extents.iter().flat_map(parts).collect()
}

/// Returns the number of blocks of the tree over this number of extents.
pub(super) fn tree_blocks(extents: usize, block_size: usize) -> usize {
    let (mut level, mut total) = (extents, 0);
    while level > ROOT_ENTRIES {
        level = level.div_ceil(fanout(block_size));
        total += level;
    }
    total
}

/// Returns the map of extents that were split, with its tree in `tree_blocks`, which must be as many as [`tree_blocks`] says.
pub(super) fn map(
    extents: &[Extent],
    block_size: usize,
    seed: Option<u32>,
    tree_blocks: &[u64],
) -> Map {
    let mut entries: Vec<_> = extents.iter().map(leaf_entry).collect();
    let mut numbers = tree_blocks.iter();
    let mut blocks = Vec::new();
    let mut depth = 0;
    while entries.len() > ROOT_ENTRIES {
        let fanout = fanout(block_size);
        // The entries come first in the zip, so that it takes no number too many.
        let upper = entries
            .chunks(fanout)
            .zip(numbers.by_ref())
            .map(|(part, number)| {
                blocks.push((*number, block(part, depth, block_size, seed)));
                index_entry(part[0], *number)
            });
        entries = upper.collect();
        depth += 1;
    }
    Map {
        root: node(&entries, ROOT_ENTRIES, depth, MAP_LENGTH).into_bytes(),
        blocks,
    }
}

fn fanout(block_size: usize) -> usize {
    (block_size - LENGTH) / LENGTH
}

fn leaf_entry(extent: &Extent) -> [u8; LENGTH] {
    let mut entry = Fields::new(LENGTH);
    entry.put32(field::LOGICAL, extent.logical);
    entry.put16(field::BLOCKS, low16(extent.length.into()));
    entry.put48(field::PHYSICAL, extent.physical);
    Bytes(entry.bytes()).array(0)
}

fn index_entry(first: [u8; LENGTH], child: u64) -> [u8; LENGTH] {
    let mut entry = Fields::new(LENGTH);
    entry.put(field::LOGICAL, &first[..4]);
    entry.put48(field::CHILD, child);
    Bytes(entry.bytes()).array(0)
}

fn node(entries: &[[u8; LENGTH]], max_entries: usize, depth: u16, size: usize) -> Fields {
    let mut node = Fields::new(size);
    node.put16(field::MAGIC, field::MAGIC_NUMBER);
    node.put16(field::ENTRIES, low16(entries.len() as u64));
    node.put16(field::MAX_ENTRIES, low16(max_entries as u64));
    node.put16(field::DEPTH, depth);
    for (index, entry) in entries.iter().enumerate() {
        node.put(LENGTH * (index + 1), entry);
    }
    node
}

fn block(entries: &[[u8; LENGTH]], depth: u16, size: usize, seed: Option<u32>) -> Vec<u8> {
    let max_entries = fanout(size);
    let mut block = node(entries, max_entries, depth, size);
    if let Some(seed) = seed {
        let tail = LENGTH * (max_entries + 1);
        let checksum = crc32c(seed, &block.bytes()[..tail]);
        block.put32(tail, checksum);
    }
    block.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(count: u32) -> Vec<Extent> {
        let extent = |n| Extent {
            logical: n * 2,
            physical: u64::from(n) * 3 + 100,
            length: 1,
        };
        (0..count).map(extent).collect()
    }

    #[test]
    fn a_tree_has_as_many_blocks_as_was_said() {
        for (count, blocks, depth) in [
            (0, 0, 0),
            (4, 0, 0),
            (5, 1, 1),
            (340, 1, 1),
            (341, 2, 1),
            (1361, 6, 2),
        ] {
            assert_eq!(tree_blocks(count as usize, 4096), blocks, "{count}");
            let numbers: Vec<_> = (0..blocks as u64).collect();
            let map = map(&extents(count), 4096, Some(1), &numbers);
            assert_eq!((map.blocks.len(), map.root[6]), (blocks, depth), "{count}");
        }
    }

    #[test]
    fn a_long_extent_is_divided() {
        let whole = Extent {
            logical: 7,
            physical: 1 << 33,
            length: 70_000,
        };
        let parts = split(&[whole]);

        let lengths: Vec<_> = parts.iter().map(|part| part.length).collect();
        assert_eq!(lengths, [32_768, 32_768, 4_464]);
        assert_eq!(
            (parts[2].logical, parts[2].physical),
            (65_543, (1 << 33) + 65_536)
        );
    }
}
