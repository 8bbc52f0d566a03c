//! Where a file's blocks are: extents, or the direct and indirect blocks of ext2.

use super::inode::Node;
use super::volume::Volume;
use super::{Feature, crc32c, damaged, too_large};
use crate::disk::read::ReadError;
use crate::disk::read::fields::{Fields, to_index};

/// A map this long takes 32 MiB; no file of a system image is in so many pieces.
const MOST_PIECES: usize = 1 << 20;
const EXTENT_MAGIC: u16 = 0xf30a;
/// The kernel makes trees of at most this depth.
const MOST_DEPTH: u16 = 5;
/// Numbers of a file's blocks have 32 bits.
const END: u64 = 1 << 32;
/// Bytes of a tree node's header, and of each of its entries.
const ENTRY: usize = 12;
/// Longer than this means: allocated, but not written, so it reads as zeros.
const UNWRITTEN: u16 = 0x8000;
/// Blocks that the inode itself points at.
const DIRECT: u64 = 12;

/// Blocks of a file that lie together. All counted in blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub logical: u64,
    pub physical: u64,
    pub length: u64,
    pub written: bool,
}

impl Piece {
    pub fn end(&self) -> u64 {
        self.logical + self.length
    }
}

/// The map of a file in order, and how many blocks it takes with what the map itself is in.
pub(super) fn pieces(volume: &Volume, node: &Node) -> Result<(Vec<Piece>, u64), ReadError> {
    let mut map = Map {
        volume,
        node,
        pieces: Vec::new(),
        claimed: 0,
    };
    if node.has_extents() {
        map.extents()?;
    } else {
        map.indirect()?;
    }
    Ok((map.pieces, map.claimed))
}

struct Map<'a> {
    volume: &'a Volume,
    node: &'a Node,
    pieces: Vec<Piece>,
    claimed: u64,
}

/// A node of an extent tree that is to be read: blocks from `first` up to `end` are its business.
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

    /// A file cannot take more than there is: this ends every loop that a hostile map could hold.
    fn claim(&mut self, block: u64, length: u64) -> Result<(), ReadError> {
        self.volume.check_blocks(block, length)?;
        self.claimed = self.claimed.saturating_add(length);
        if self.claimed > self.volume.superblock.blocks {
            return Err(self.damaged("it claims more than the whole file system"));
        }
        Ok(())
    }

    fn push(&mut self, piece: Piece) -> Result<(), ReadError> {
        self.claim(piece.physical, piece.length)?;
        if let Some(last) = self.pieces.last_mut()
            && last.end() == piece.logical
            && last.physical + last.length == piece.physical
            && last.written == piece.written
        {
            last.length += piece.length;
            return Ok(());
        }
        if self.pieces.len() >= MOST_PIECES {
            return Err(too_large(format!(
                "inode {} is in more than {MOST_PIECES} pieces",
                self.node.number
            )));
        }
        self.pieces.push(piece);
        Ok(())
    }

    fn extents(&mut self) -> Result<(), ReadError> {
        let depth = Fields(self.node.map()).le16(6);
        if depth > MOST_DEPTH {
            return Err(self.damaged("its extent tree is too deep"));
        }
        let mut todo = Vec::new();
        self.tree_node(self.node.map(), depth, 0, END, &mut todo)?;
        while let Some(branch) = todo.pop() {
            self.claim(branch.block, 1)?;
            let bytes = self.volume.block(branch.block)?;
            self.check_tree_block(&bytes)?;
            // Empty nodes are never written, and could be strung together without end.
            if Fields(&bytes).le16(2) == 0 {
                return Err(self.damaged("its extent tree has an empty node"));
            }
            self.tree_node(&bytes, branch.depth, branch.first, branch.end, &mut todo)?;
        }
        Ok(())
    }

    /// Takes the extents of a leaf, or puts the branches of an inner node on the list, the first one last.
    fn tree_node(
        &mut self,
        bytes: &[u8],
        depth: u16,
        first: u64,
        end: u64,
        todo: &mut Vec<Branch>,
    ) -> Result<(), ReadError> {
        let header = Fields(bytes);
        let entries = usize::from(header.le16(2));
        let used = bytes.get(ENTRY..ENTRY * (entries + 1));
        let (Some(used), EXTENT_MAGIC, true) = (used, header.le16(0), header.le16(6) == depth)
        else {
            return Err(self.damaged("its extent tree has a bad node"));
        };
        if depth == 0 {
            return self.leaf(used, first, end);
        }
        let start = todo.len();
        let mut after = first;
        for entry in used.chunks_exact(ENTRY).map(Fields) {
            let logical = u64::from(entry.le32(0));
            if logical < after || logical >= end {
                return Err(self.damaged("its extent tree is out of order"));
            }
            if let Some(before) = todo.get_mut(start..).and_then(<[Branch]>::last_mut) {
                before.end = logical;
            }
            todo.push(Branch {
                block: u64::from(entry.le32(4)) | u64::from(entry.le16(8)) << 32,
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
        for entry in entries.chunks_exact(ENTRY).map(Fields) {
            let stored = entry.le16(4);
            let written = stored <= UNWRITTEN;
            let piece = Piece {
                logical: entry.le32(0).into(),
                physical: u64::from(entry.le32(8)) | u64::from(entry.le16(6)) << 32,
                length: u64::from(if written { stored } else { stored - UNWRITTEN }),
                written,
            };
            if piece.length == 0 || piece.logical < after || piece.end() > end {
                return Err(self.damaged("its extents are out of order"));
            }
            after = piece.end();
            self.push(piece)?;
        }
        Ok(())
    }

    fn check_tree_block(&self, bytes: &[u8]) -> Result<(), ReadError> {
        if !self.volume.verifies(Feature::METADATA_CSUM) {
            return Ok(());
        }
        // The checksum is behind the room for entries.
        let covered = bytes.get(..ENTRY * (usize::from(Fields(bytes).le16(4)) + 1));
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

    fn indirect(&mut self) -> Result<(), ReadError> {
        let pointers = u64::from(self.volume.superblock.block_size / 4);
        let node = self.node;
        let map = Fields(node.map());
        for logical in 0..DIRECT {
            self.pointer(map.le32(to_index(logical * 4)), logical)?;
        }
        let mut start = DIRECT;
        for (level, at) in [(1, 48), (2, 52), (3, 56)] {
            self.indirect_tree(map.le32(at), level, start)?;
            start += pointers.pow(level);
        }
        Ok(())
    }

    fn pointer(&mut self, block: u32, logical: u64) -> Result<(), ReadError> {
        if block == 0 {
            return Ok(());
        }
        self.push(Piece {
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
