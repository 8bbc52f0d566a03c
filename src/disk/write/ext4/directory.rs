//! Directories as blocks: a list of entries, or, beyond one block, a tree by hash.

use super::super::fields::{Fields, low16, low32};
use super::checksum::crc32c;
use super::hash::NameHash;
use crate::disk::read::FileType;
use crate::disk::read::ext4::layout::{directory as field, file_type};

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) inode: u32,
    pub(super) file_type: u8,
}

/// Properties that all blocks of a directory share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Directory<'a> {
    pub(super) block_size: usize,
    pub(super) inode: u32,
    pub(super) parent: u32,
    /// Seed of the checksums, if the file system has them.
    pub(super) seed: Option<u32>,
    /// Hash of the index, if large directories have one.
    pub(super) hash: Option<&'a NameHash>,
}

/// Offset of the entries in the root of an index: after the entries of `.` and `..` and the header of the index.
const ROOT_ENTRIES: usize = 32;
/// Offset of the entries in other blocks of an index: after an unused entry, for readers that do not know the index.
const NODE_ENTRIES: usize = 8;
/// Length of the entry of `.`.
const DOT_LENGTH: usize = 12;

/// The content of a directory.
#[derive(Debug)]
pub(super) struct DirectoryContent {
    pub(super) blocks: Vec<Vec<u8>>,
    /// The first block is the root of an index.
    pub(super) indexed: bool,
}

impl Directory<'_> {
    /// Returns the content of a directory with these names, at least `min_blocks` long.
    pub(super) fn content(&self, names: &[Name<'_>], min_blocks: usize) -> DirectoryContent {
        let mut all = Vec::with_capacity(names.len() + 2);
        all.extend(self.dots());
        all.extend_from_slice(names);
        let list = self.split(&all);
        if list.len() > 1
            && let Some(hash) = self.hash
            && let Some(blocks) = self.tree(names, hash)
        {
            return DirectoryContent {
                blocks,
                indexed: true,
            };
        }
        let mut blocks: Vec<_> = list.iter().map(|names| self.leaf(names)).collect();
        while blocks.len() < min_blocks {
            blocks.push(self.leaf(&[]));
        }
        DirectoryContent {
            blocks,
            indexed: false,
        }
    }

    fn dots(&self) -> [Name<'static>; 2] {
        [(&b"."[..], self.inode), (b"..", self.parent)].map(|(bytes, inode)| Name {
            bytes,
            inode,
            file_type: file_type(FileType::Directory),
        })
    }

    /// Returns the number of bytes for entries in a block.
    fn space(&self) -> usize {
        self.block_size - self.seed.map_or(0, |_| field::TAIL)
    }

    /// Splits names, in their order, into blocks.
    fn split<'n, 's>(&self, names: &'s [Name<'n>]) -> Vec<&'s [Name<'n>]> {
        let (mut blocks, mut start, mut used) = (Vec::new(), 0, 0);
        for (at, name) in names.iter().enumerate() {
            let size = entry_size(name.bytes);
            if used + size > self.space() {
                blocks.push(&names[start..at]);
                (start, used) = (at, 0);
            }
            used += size;
        }
        blocks.push(&names[start..]);
        blocks
    }

    /// Returns a block of names, whose last entry extends to the end.
    fn leaf(&self, names: &[Name<'_>]) -> Vec<u8> {
        let mut block = Fields::new(self.block_size);
        let space = self.space();
        let mut at = 0;
        for (index, name) in names.iter().enumerate() {
            let is_last = index + 1 == names.len();
            let size = if is_last {
                space - at
            } else {
                entry_size(name.bytes)
            };
            put_entry(&mut block, at, size, name);
            at += size;
        }
        if names.is_empty() {
            block.put16(field::LENGTH, low16(space as u64));
        }
        if let Some(seed) = self.seed {
            block.put16(space + field::LENGTH, low16(field::TAIL as u64));
            block.put8(space + field::KIND, field::TAIL_KIND);
            let checksum = crc32c(seed, &block.bytes()[..space]);
            block.put32(space + field::TAIL_CHECKSUM, checksum);
        }
        block.into_bytes()
    }

    /// Returns an index of at most two levels over blocks sorted by hash. `None` if there are too many names for it.
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
        for names in self.split(&sorted) {
            let first = hashes[at].0;
            // The lowest bit is set if the previous block ends with names of the same hash.
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

    /// Returns the number of entries that fit into a block of an index.
    fn limit(&self, from: usize) -> usize {
        let tail = self.seed.map_or(0, |_| field::INDEX_TAIL);
        (self.block_size - from - tail) / field::INDEX_ENTRY
    }

    fn root(&self, entries: &[(u32, u32)], levels: u8, hash: &NameHash) -> Vec<u8> {
        let mut block = Fields::new(self.block_size);
        let [own, parent] = self.dots();
        put_entry(&mut block, 0, DOT_LENGTH, &own);
        let rest = self.block_size - DOT_LENGTH;
        put_entry(&mut block, DOT_LENGTH, rest, &parent);
        block.put8(field::HASH_VERSION, hash.kind.number());
        // The header has 8 bytes itself.
        block.put8(field::INDEX_HEADER_LENGTH, 8);
        block.put8(field::INDEX_LEVELS, levels);
        self.finish_index(block, ROOT_ENTRIES, entries)
    }

    fn node(&self, entries: &[(u32, u32)]) -> Vec<u8> {
        let mut block = Fields::new(self.block_size);
        block.put16(field::LENGTH, low16(self.block_size as u64));
        self.finish_index(block, NODE_ENTRIES, entries)
    }

    fn finish_index(&self, mut block: Fields, from: usize, entries: &[(u32, u32)]) -> Vec<u8> {
        let limit = self.limit(from);
        let entry = |index: usize| from + field::INDEX_ENTRY * index;
        for (index, (hash, number)) in entries.iter().enumerate() {
            block.put32(entry(index), *hash);
            block.put32(entry(index) + 4, *number);
        }
        // In place of the first hash, which is the lowest by definition: limit and count.
        block.put16(from, low16(limit as u64));
        block.put16(from + 2, low16(entries.len() as u64));
        if let Some(seed) = self.seed {
            let used = crc32c(seed, &block.bytes()[..entry(entries.len())]);
            // The tail: a reserved word, and the checksum, which counts as zero.
            let checksum = crc32c(used, &[0; field::INDEX_TAIL]);
            block.put32(entry(limit) + 4, checksum);
        }
        block.into_bytes()
    }
}

fn entry_size(name: &[u8]) -> usize {
    (field::NAME + name.len()).next_multiple_of(4)
}

fn put_entry(block: &mut Fields, at: usize, size: usize, name: &Name<'_>) {
    block.put32(at + field::INODE, name.inode);
    block.put16(at + field::LENGTH, low16(size as u64));
    // `files::check` has refused longer names.
    let length = u8::try_from(name.bytes.len()).unwrap_or(u8::MAX);
    block.put8(at + field::NAME_LENGTH, length);
    block.put8(at + field::KIND, name.file_type);
    block.put(at + field::NAME, name.bytes);
}
