//! The blocks of a file: extents, or the direct and indirect blocks of ext2.

use super::super::ReadError;
use super::super::fields::{Fields, to_index};
use super::inode::Node;
use super::layout::extent;
use super::volume::Volume;
use super::{Feature, crc32c, damaged, too_large};

/// A map this long takes 32 MiB; system images have no file with as many extents.
const MAX_EXTENTS: usize = 1 << 20;
/// The kernel makes trees of at most this depth.
const MAX_DEPTH: u16 = 5;
/// Numbers of a file's blocks have 32 bits.
const MAX_FILE_BLOCKS: u64 = 1 << 32;
/// Blocks that the inode itself points at.
const DIRECT_BLOCKS: u64 = 12;

/// Consecutive blocks of a file. All numbers are in blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub logical: u64,
    pub physical: u64,
    pub length: u64,
    pub written: bool,
}

impl Extent {
    pub fn end(&self) -> u64 {
        self.logical + self.length
    }
}

/// Reads the extents of a file in order, and the number of blocks of the file and its map.
pub(super) fn read(volume: &Volume, node: &Node) -> Result<(Vec<Extent>, u64), ReadError> {
    let mut map = Map {
        volume,
        node,
        extents: Vec::new(),
        claimed: 0,
    };
    if node.has_extents() {
        map.read_extents()?;
    } else {
        map.read_indirect()?;
    }
    Ok((map.extents, map.claimed))
}

struct Map<'a> {
    volume: &'a Volume,
    node: &'a Node,
    extents: Vec<Extent>,
    claimed: u64,
}

/// A node of an extent tree that has to be read; it may map the file's blocks from `first` up to `end`.
struct Branch {
    block: u64,
    depth: u16,
    first: u64,
    end: u64,
}

impl Map<'_> {
    fn damaged(&self, problem: &str) -> ReadError {
        damaged(format!("inode {}: {problem}", self.node.number))
    }

    /// Counts blocks. A file cannot have more than the file system: this ends every loop in a hostile map.
    fn claim(&mut self, block: u64, length: u64) -> Result<(), ReadError> {
        self.volume.check_blocks(block, length)?;
        self.claimed = self.claimed.saturating_add(length);
        if self.claimed > self.volume.superblock.blocks {
            return Err(self.damaged("it claims more than the whole file system"));
        }
        Ok(())
    }

    fn push(&mut self, extent: Extent) -> Result<(), ReadError> {
        self.claim(extent.physical, extent.length)?;
        if let Some(last) = self.extents.last_mut()
            && last.end() == extent.logical
            && last.physical + last.length == extent.physical
            && last.written == extent.written
        {
            last.length += extent.length;
            return Ok(());
        }
        if self.extents.len() >= MAX_EXTENTS {
            return Err(too_large(format!(
                "inode {} has more than {MAX_EXTENTS} extents",
                self.node.number
            )));
        }
        self.extents.push(extent);
        Ok(())
    }

    fn read_extents(&mut self) -> Result<(), ReadError> {
        let depth = Fields(self.node.map()).le16(extent::DEPTH);
        if depth > MAX_DEPTH {
            return Err(self.damaged("its extent tree is too deep"));
        }
        let mut todo = Vec::new();
        self.tree_node(self.node.map(), depth, 0, MAX_FILE_BLOCKS, &mut todo)?;
        while let Some(branch) = todo.pop() {
            self.claim(branch.block, 1)?;
            let bytes = self.volume.block(branch.block)?;
            self.check_tree_block(&bytes)?;
            // The kernel never writes empty nodes, and a chain of them could be endless.
            if Fields(&bytes).le16(extent::ENTRIES) == 0 {
                return Err(self.damaged("its extent tree has an empty node"));
            }
            self.tree_node(&bytes, branch.depth, branch.first, branch.end, &mut todo)?;
        }
        Ok(())
    }

    /// Adds the extents of a leaf, or the branches of an inner node to `todo`, the first one last.
    fn tree_node(
        &mut self,
        bytes: &[u8],
        depth: u16,
        first: u64,
        end: u64,
        todo: &mut Vec<Branch>,
    ) -> Result<(), ReadError> {
        let header = Fields(bytes);
        let entries = usize::from(header.le16(extent::ENTRIES));
        let used = bytes.get(extent::LENGTH..extent::LENGTH * (entries + 1));
        let is_node = header.le16(extent::MAGIC) == extent::MAGIC_NUMBER
            && header.le16(extent::DEPTH) == depth;
        let Some(used) = used.filter(|_| is_node) else {
            return Err(self.damaged("its extent tree has a bad node"));
        };
        if depth == 0 {
            return self.leaf(used, first, end);
        }
        let start = todo.len();
        let mut after = first;
        for entry in used.chunks_exact(extent::LENGTH).map(Fields) {
            let logical = u64::from(entry.le32(extent::LOGICAL));
            if logical < after || logical >= end {
                return Err(self.damaged("its extent tree is out of order"));
            }
            if let Some(before) = todo.get_mut(start..).and_then(<[Branch]>::last_mut) {
                before.end = logical;
            }
            todo.push(Branch {
                block: entry.le48(extent::CHILD),
                depth: depth - 1,
                first: logical,
                end,
            });
            after = logical + 1;
        }
        if let Some(added) = todo.get_mut(start..) {
            added.reverse();
        }
        Ok(())
    }

    fn leaf(&mut self, entries: &[u8], first: u64, end: u64) -> Result<(), ReadError> {
        let mut after = first;
        for entry in entries.chunks_exact(extent::LENGTH).map(Fields) {
            let stored = entry.le16(extent::BLOCKS);
            let written = stored <= extent::MAX_WRITTEN;
            let length = if written {
                stored
            } else {
                stored - extent::MAX_WRITTEN
            };
            let extent = Extent {
                logical: entry.le32(extent::LOGICAL).into(),
                physical: entry.le48(extent::PHYSICAL),
                length: length.into(),
                written,
            };
            if extent.length == 0 || extent.logical < after || extent.end() > end {
                return Err(self.damaged("its extents are out of order"));
            }
            after = extent.end();
            self.push(extent)?;
        }
        Ok(())
    }

    fn check_tree_block(&self, bytes: &[u8]) -> Result<(), ReadError> {
        if !self.volume.verifies(Feature::METADATA_CSUM) {
            return Ok(());
        }
        // The checksum follows the space for entries.
        let max_entries = usize::from(Fields(bytes).le16(extent::MAX_ENTRIES));
        let covered = bytes.get(..extent::LENGTH * (max_entries + 1));
        let right = covered.is_some_and(|covered| {
            let stored = bytes.get(covered.len()..covered.len() + 4);
            stored == Some(&crc32c(self.node.seed, covered).to_le_bytes())
        });
        if right {
            Ok(())
        } else {
            Err(self.damaged("the checksum of its extent tree is wrong"))
        }
    }

    fn read_indirect(&mut self) -> Result<(), ReadError> {
        let pointers = u64::from(self.volume.superblock.block_size / 4);
        let node = self.node;
        let map = Fields(node.map());
        for logical in 0..DIRECT_BLOCKS {
            self.pointer(map.le32(to_index(logical * 4)), logical)?;
        }
        let mut start = DIRECT_BLOCKS;
        for (pointer, level) in (DIRECT_BLOCKS..).zip(1..=3) {
            self.indirect_tree(map.le32(to_index(pointer * 4)), level, start)?;
            start += pointers.pow(level);
        }
        Ok(())
    }

    fn pointer(&mut self, block: u32, logical: u64) -> Result<(), ReadError> {
        if block == 0 {
            return Ok(());
        }
        self.push(Extent {
            logical,
            physical: block.into(),
            length: 1,
            written: true,
        })
    }

    fn indirect_tree(&mut self, root: u32, level: u32, start: u64) -> Result<(), ReadError> {
        let pointers = u64::from(self.volume.superblock.block_size / 4);
        let mut todo = vec![(root, level, start)];
        while let Some((block, level, start)) = todo.pop() {
            if block == 0 {
                continue;
            }
            self.claim(block.into(), 1)?;
            let bytes = self.volume.block(block.into())?;
            let below = pointers.pow(level - 1);
            let children = bytes.chunks_exact(4).map(|word| Fields(word).le32(0));
            let children = (0..)
                .zip(children)
                .map(|(index, child): (u64, u32)| (child, start + index * below));
            if level == 1 {
                for (child, logical) in children {
                    self.pointer(child, logical)?;
                }
            } else {
                let children: Vec<_> = children.filter(|(child, _)| *child != 0).collect();
                todo.extend(
                    children
                        .into_iter()
                        .rev()
                        .map(|(child, start)| (child, level - 1, start)),
                );
            }
        }
        Ok(())
    }
}
