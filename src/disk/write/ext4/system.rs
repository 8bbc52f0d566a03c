//! Inodes that belong to the file system itself: its journal, and what owns the blocks that growing takes.

use super::extents;
use super::format::compatible;
use super::inode::Inode;
use super::{EXTENTS_FLAG, JOURNAL_INODE, Layer, RESIZE_INODE, superblock};
use crate::disk::write::WriteError;
use crate::disk::write::fields::{Fields, low16, low32};

impl Layer<'_> {
    /// An empty journal of the base's size.
    pub(super) fn journal(&mut self) -> Result<(), WriteError> {
        if !self.format.compatible(compatible::JOURNAL) {
            return Ok(());
        }
        let blocks = self.format.journal_blocks;
        let (extents, map, used) = self.map(JOURNAL_INODE, [(0, blocks.into())])?;
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
            flags: EXTENTS_FLAG,
            time: self.format.now(),
            map,
            ..Inode::default()
        };
        self.put_inode(JOURNAL_INODE, &inode);
        Ok(())
    }

    /// The inode that owns the blocks kept for descriptors of groups to come: one indirect block for each of them, which is
    /// the block of the first copy and points at the others.
    pub(super) fn resize_inode(&mut self) -> Result<(), WriteError> {
        if !self.format.compatible(compatible::RESIZE_INODE) {
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
            // At the place that says which descriptors it will hold.
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
        let place = self.space.take_one()?;
        let mut map = Fields::new(extents::ROOT);
        // The doubly indirect block.
        map.put32(13 * 4, low32(place));
        self.put_block(place, top.into_bytes());
        for (block, list) in lists {
            self.put_block(block, list);
        }
        // As large as direct, indirect and doubly indirect blocks allow.
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
        self.put_inode(RESIZE_INODE, &inode);
        Ok(())
    }
}
