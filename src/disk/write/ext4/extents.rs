//! Where a file's blocks are: extents in the inode, or a tree of blocks of them.

use super::checksum::crc32c;
use crate::disk::write::fields::{Fields, high32, low16, low32};

/// Blocks of a file that lie in one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    /// First block in the file.
    pub(super) logical: u32,
    /// First block on the disk.
    pub(super) physical: u64,
    pub(super) length: u32,
}

/// Longer ones would be read as unwritten.
const LONGEST: u32 = 1 << 15;
/// Bytes of a header, and of an entry.
const ENTRY: usize = 12;
/// Entries in an inode.
const IN_INODE: usize = 4;
/// Bytes of `i_block`.
pub(super) const ROOT: usize = 60;

/// A file's map.
#[derive(Debug)]
pub(super) struct Map {
    /// What goes into the inode.
    pub(super) root: Vec<u8>,
    /// Blocks of the tree with their places.
    pub(super) blocks: Vec<(u64, Vec<u8>)>,
}

/// Divides extents into lengths that can be written.
pub(super) fn divided(extents: &[Extent]) -> Vec<Extent> {
    let pieces = |extent: &Extent| {
        let extent = *extent;
        (0..extent.length)
            .step_by(LONGEST as usize)
            .map(move |from| Extent {
                logical: extent.logical + from,
                physical: extent.physical + u64::from(from),
                length: LONGEST.min(extent.length - from),
            })
    };
    extents.iter().flat_map(pieces).collect()
}

/// How many blocks the tree over so many extents takes.
pub(super) fn tree_blocks(extents: usize, block_size: usize) -> usize {
    let (mut level, mut total) = (extents, 0);
    while level > IN_INODE {
        level = level.div_ceil(fanout(block_size));
        total += level;
    }
    total
}

/// The map of divided extents; `places` are as many as [`tree_blocks`] says.
pub(super) fn map(extents: &[Extent], block_size: usize, seed: Option<u32>, places: &[u64]) -> Map {
    let mut entries: Vec<_> = extents.iter().map(leaf_entry).collect();
    let mut places = places.iter();
    let mut blocks = Vec::new();
    let mut depth = 0;
    while entries.len() > IN_INODE {
        let fanout = fanout(block_size);
        // Zipped with the entries first, so that no place is taken in vain.
        let upper = entries
            .chunks(fanout)
            .zip(places.by_ref())
            .map(|(part, place)| {
                blocks.push((*place, block(part, depth, block_size, seed)));
                index_entry(part[0], *place)
            });
        entries = upper.collect();
        depth += 1;
    }
    Map {
        root: node(&entries, IN_INODE, depth, ROOT).into_bytes(),
        blocks,
    }
}

fn fanout(block_size: usize) -> usize {
    (block_size - ENTRY) / ENTRY
}

fn leaf_entry(extent: &Extent) -> [u8; ENTRY] {
    let mut entry = Fields::new(ENTRY);
    entry.put32(0, extent.logical);
    entry.put16(4, low16(extent.length.into()));
    entry.put16(6, low16(high32(extent.physical).into()));
    entry.put32(8, low32(extent.physical));
    to_array(&entry)
}

fn index_entry(first: [u8; ENTRY], place: u64) -> [u8; ENTRY] {
    let mut entry = Fields::new(ENTRY);
    entry.put(0, &first[..4]);
    entry.put32(4, low32(place));
    entry.put16(8, low16(high32(place).into()));
    to_array(&entry)
}

fn to_array(entry: &Fields) -> [u8; ENTRY] {
    crate::disk::write::fields::array(entry.bytes(), 0)
}

fn node(entries: &[[u8; ENTRY]], most: usize, depth: u16, size: usize) -> Fields {
    let mut node = Fields::new(size);
    node.put16(0, 0xf30a);
    node.put16(2, low16(entries.len() as u64));
    node.put16(4, low16(most as u64));
    node.put16(6, depth);
    for (index, entry) in entries.iter().enumerate() {
        node.put(ENTRY * (index + 1), entry);
    }
    node
}

fn block(entries: &[[u8; ENTRY]], depth: u16, size: usize, seed: Option<u32>) -> Vec<u8> {
    let most = fanout(size);
    let mut block = node(entries, most, depth, size);
    if let Some(seed) = seed {
        let tail = ENTRY * (most + 1);
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
            let places: Vec<_> = (0..blocks as u64).collect();
            let map = map(&extents(count), 4096, Some(1), &places);
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
        let parts = divided(&[whole]);
        let lengths: Vec<_> = parts.iter().map(|part| part.length).collect();
        assert_eq!(lengths, [32_768, 32_768, 4_464]);
        assert_eq!(
            (parts[2].logical, parts[2].physical),
            (65_543, (1 << 33) + 65_536)
        );
    }
}
