//! Inodes that belong to the file system itself: the journal, and the owner of the blocks reserved for growing.

use super::super::fields::{Fields, low16, low32};
use super::inode::Inode;
use super::{Builder, superblock};
use crate::disk::read::ext4::layout::{compat, inode, inode_flags};
use crate::disk::write::WriteError;

/// Pointer of a map to the doubly indirect block, after 12 direct ones and the indirect one.
const DOUBLY_INDIRECT: usize = 13;

impl Builder<'_> {
    /// Writes an empty journal of the base's size.
    pub(super) fn journal(&mut self) -> Result<(), WriteError> {
        if !self.format.has_compat(compat::HAS_JOURNAL) {
            return Ok(());
        }
        let blocks = self.format.journal_blocks;
        let (extents, map, used) = self.map(inode::JOURNAL, [(0, blocks.into())])?;
        let size = self.offset(blocks.into());
        self.totals.journal = Some((map.clone(), size));
        self.put_block(
            extents[0].physical,
            superblock::journal(self.format, blocks),
        );
        let inode = Inode {
            mode: 0o100_600,
            size,
            links: 1,
            sectors: self.sectors(used),
            flags: inode_flags::EXTENTS,
            time: self.format.now(),
            map,
            ..Inode::default()
        };
        self.put_inode(inode::JOURNAL, &inode);
        Ok(())
    }

    /// Writes the inode that owns the blocks reserved for the descriptors of later groups. Each reserved block of the first
    /// copy is an indirect block that points at the same block of the other copies.
    pub(super) fn resize_inode(&mut self) -> Result<(), WriteError> {
        if !self.format.has_compat(compat::RESIZE_INODE) {
            return Ok(());
        }
        let geometry = &self.geometry;
        let per_block = self.format.block_size / 4;
        let copies: Vec<_> = geometry
            .groups
            .iter()
            .skip(1)
            .filter(|group| group.has_superblock)
            .collect();
        let first = geometry.first_block + 1 + geometry.descriptor_blocks;
        let mut top = Fields::new(self.format.block_size);
        let mut lists = Vec::new();
        for reserved in 0..geometry.reserved_descriptor_blocks {
            let block = first + reserved;
            // The slot tells which descriptors the block is for.
            let slot = (geometry.descriptor_blocks + reserved) % per_block as u64;
            top.put32(4 * low16(slot) as usize, low32(block));
            let mut list = Fields::new(self.format.block_size);
            for (index, group) in copies.iter().enumerate() {
                let distance = group.first - geometry.first_block;
                list.put32(4 * index, low32(block + distance));
            }
            lists.push((block, list.into_bytes()));
        }
        let blocks = 1 + geometry.reserved_descriptor_blocks * (1 + copies.len() as u64);
        let top_block = self.space.take_one()?;
        let mut map = Fields::new(inode::MAP_LENGTH);
        map.put32(DOUBLY_INDIRECT * 4, low32(top_block));
        self.put_block(top_block, top.into_bytes());
        for (block, list) in lists {
            self.put_block(block, list);
        }
        // The largest size with direct, indirect and doubly indirect blocks.
        let per_block = per_block as u64;
        let inode = Inode {
            mode: 0o100_600,
            size: self.offset(per_block * per_block + per_block + 12),
            links: 1,
            sectors: self.sectors(blocks),
            time: self.format.now(),
            map: map.into_bytes(),
            ..Inode::default()
        };
        self.put_inode(inode::RESIZE, &inode);

        Ok(())
    }
}
