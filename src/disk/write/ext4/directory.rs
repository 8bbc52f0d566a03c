//! Directories as blocks: a list, or, beyond one block, a tree by hash.

use super::checksum::crc32c;
use super::hash::NameHash;
use crate::disk::write::fields::{Fields, low16, low32};

/// One name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) inode: u32,
    pub(super) kind: u8,
}

/// What all blocks of a directory have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Directory<'a> {
    pub(super) block_size: usize,
    pub(super) inode: u32,
    pub(super) parent: u32,
    /// For checksums, if the file system has them.
    pub(super) seed: Option<u32>,
    /// If large directories are to be indexed.
    pub(super) hash: Option<&'a NameHash>,
}

/// Kind of a directory in a directory.
pub(super) const DIRECTORY: u8 = 2;
/// Bytes of an entry beside its name.
const ENTRY: usize = 8;
/// Bytes of the checksum at the end of a block.
const TAIL: usize = 12;
/// Where the root of an index keeps its numbers: after the entries of `.` and `..` and the description of the index.
const ROOT_ENTRIES: usize = 32;
/// Where other blocks of an index keep theirs: after an entry that hides the block from those who cannot read an index.
const NODE_ENTRIES: usize = 8;

/// A directory's content.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) blocks: Vec<Vec<u8>>,
    /// Whether the first block is the root of an index.
    pub(super) indexed: bool,
}

impl Directory<'_> {
    /// The blocks of a directory with these names, at least `least` of them.
    pub(super) fn blocks(&self, names: &[Name<'_>], least: usize) -> Blocks {
        let mut all = Vec::with_capacity(names.len() + 2);
        all.extend(self.dots());
        all.extend_from_slice(names);
        let list = self.list(&all);
        if list.len() > 1
            && let Some(hash) = self.hash
            && let Some(blocks) = self.tree(names, hash)
        {
            return Blocks {
                blocks,
                indexed: true,
            };
        }
        let mut blocks: Vec<_> = list.iter().map(|names| self.leaf(names)).collect();
        while blocks.len() < least {
            blocks.push(self.leaf(&[]));
        }
        Blocks {
            blocks,
            indexed: false,
        }
    }

    fn dots(&self) -> [Name<'static>; 2] {
        [(&b"."[..], self.inode), (b"..", self.parent)].map(|(bytes, inode)| Name {
            bytes,
            inode,
            kind: DIRECTORY,
        })
    }

    fn room(&self) -> usize {
        self.block_size - self.seed.map_or(0, |_| TAIL)
    }

    /// Divides names, in their order, into blocks.
    fn list<'n, 's>(&self, names: &'s [Name<'n>]) -> Vec<&'s [Name<'n>]> {
        let (mut blocks, mut start, mut used) = (Vec::new(), 0, 0);
        for (at, name) in names.iter().enumerate() {
            let size = entry_size(name.bytes);
            if used + size > self.room() {
                blocks.push(&names[start..at]);
                (start, used) = (at, 0);
            }
            used += size;
        }
        blocks.push(&names[start..]);
        blocks
    }

    /// A block of names; the last one takes what is left.
    fn leaf(&self, names: &[Name<'_>]) -> Vec<u8> {
        let mut block = Fields::new(self.block_size);
        let room = self.room();
        let mut at = 0;
        for (index, name) in names.iter().enumerate() {
            let last = index + 1 == names.len();
            let size = if last {
                room - at
            } else {
                entry_size(name.bytes)
            };
            put_entry(&mut block, at, size, name);
            at += size;
        }
        if names.is_empty() {
            block.put16(4, low16(room as u64));
        }
        if let Some(seed) = self.seed {
            block.put16(room + 4, low16(TAIL as u64));
            block.put8(room + 7, 0xde);
            let checksum = crc32c(seed, &block.bytes()[..room]);
            block.put32(room + 8, checksum);
        }
        block.into_bytes()
    }

    /// An index of at most two levels over blocks sorted by hash; nothing if the names are too many for that.
    fn tree(&self, names: &[Name<'_>], hash: &NameHash) -> Option<Vec<Vec<u8>>> {
        let mut by_hash: Vec<_> = names
            .iter()
            .map(|name| (hash.of(name.bytes), *name))
            .collect();
        by_hash.sort_by_key(|(hash, name)| (*hash, name.bytes));
        let (hashes, sorted): (Vec<_>, Vec<_>) = by_hash.into_iter().unzip();
        let mut firsts = Vec::new();
        let mut leaves = Vec::new();
        let mut at = 0;
        for names in self.list(&sorted) {
            let first = hashes[at].0;
            // The lowest bit says that names of the same hash are at the end of the block before.
            let continued = at > 0 && hashes[at - 1].0 == first;
            firsts.push(first | u32::from(continued));
            leaves.push(self.leaf(names));
            at += names.len();
        }
        let (root_limit, node_limit) = (self.limit(ROOT_ENTRIES), self.limit(NODE_ENTRIES));
        let nodes = if firsts.len() <= root_limit {
            0
        } else {
            firsts.len().div_ceil(node_limit)
        };
        if nodes > root_limit {
            return None;
        }
        let number = |block: usize| low32(block as u64);
        let numbered: Vec<_> = firsts
            .iter()
            .enumerate()
            .map(|(leaf, first)| (*first, number(1 + nodes + leaf)))
            .collect();
        let mut blocks = Vec::with_capacity(1 + nodes + leaves.len());
        if nodes == 0 {
            blocks.push(self.root(&numbered, 0, hash));
        } else {
            let parts = numbered.chunks(node_limit).enumerate();
            let upper: Vec<_> = parts
                .map(|(node, part)| (part[0].0, number(1 + node)))
                .collect();
            blocks.push(self.root(&upper, 1, hash));
            blocks.extend(numbered.chunks(node_limit).map(|part| self.node(part)));
        }
        blocks.append(&mut leaves);
        Some(blocks)
    }

    /// How many entries fit into a block of an index.
    fn limit(&self, from: usize) -> usize {
        (self.block_size - from - self.seed.map_or(0, |_| 8)) / 8
    }

    fn root(&self, entries: &[(u32, u32)], levels: u8, hash: &NameHash) -> Vec<u8> {
        let mut block = Fields::new(self.block_size);
        let [own, parent] = self.dots();
        put_entry(&mut block, 0, 12, &own);
        put_entry(&mut block, 12, self.block_size - 12, &parent);
        block.put8(28, hash.kind.number());
        block.put8(29, 8);
        block.put8(30, levels);
        self.finish_index(block, ROOT_ENTRIES, entries)
    }

    fn node(&self, entries: &[(u32, u32)]) -> Vec<u8> {
        let mut block = Fields::new(self.block_size);
        block.put16(4, low16(self.block_size as u64));
        self.finish_index(block, NODE_ENTRIES, entries)
    }

    fn finish_index(&self, mut block: Fields, from: usize, entries: &[(u32, u32)]) -> Vec<u8> {
        let limit = self.limit(from);
        for (index, (hash, number)) in entries.iter().enumerate() {
            block.put32(from + 8 * index, *hash);
            block.put32(from + 8 * index + 4, *number);
        }
        // The first entry's hash is the lowest by its place; limit and count stand there.
        block.put16(from, low16(limit as u64));
        block.put16(from + 2, low16(entries.len() as u64));
        if let Some(seed) = self.seed {
            let used = crc32c(seed, &block.bytes()[..from + 8 * entries.len()]);
            // The tail's two words: reserved, and the checksum itself as zero.
            let checksum = crc32c(used, &[0; 8]);
            block.put32(from + 8 * limit + 4, checksum);
        }
        block.into_bytes()
    }
}

fn entry_size(name: &[u8]) -> usize {
    (ENTRY + name.len()).next_multiple_of(4)
}

fn put_entry(block: &mut Fields, at: usize, size: usize, name: &Name<'_>) {
    block.put32(at, name.inode);
    block.put16(at + 4, low16(size as u64));
    // Names have at most 255 bytes: checked when the tree comes in.
    block.put8(at + 6, u8::try_from(name.bytes.len()).unwrap_or(u8::MAX));
    block.put8(at + 7, name.kind);
    block.put(at + ENTRY, name.bytes);
}
