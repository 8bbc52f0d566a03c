//! The last step: bitmaps, tables of inodes, descriptors, superblocks.

use super::checksum::Checksums;
use super::superblock::{self, Usage};
use super::{Layer, inode, mark};
use crate::disk::write::WriteError;
use crate::disk::write::pieces::{PACKED, Piece};

impl Layer<'_> {
    pub(super) fn finish(mut self) -> Result<Vec<Piece>, WriteError> {
        let used_inodes = u64::from(self.next_inode - 1);
        if used_inodes > self.totals.inodes {
            return Err(WriteError::Inodes {
                files: used_inodes,
                inodes: self.totals.inodes,
            });
        }
        self.totals.free_inodes = self.totals.inodes - used_inodes;
        let usage = self.usage();
        self.totals.free_blocks = usage.iter().map(|usage| usage.free_blocks).sum();
        self.tables()?;
        let mut descriptors = Vec::new();
        for ((number, group), usage) in (0..).zip(self.geometry.groups.clone()).zip(usage) {
            descriptors.extend(superblock::descriptor(self.format, number, &group, &usage));
            self.put_block(group.block_bitmap, usage.block_bitmap);
            self.put_block(group.inode_bitmap, usage.inode_bitmap);
        }
        self.heads(&descriptors);
        Ok(self.pieces)
    }

    /// What is used of every group.
    fn usage(&self) -> Vec<Usage> {
        let bits = 8 * self.format.block_size as u64;
        let per_group = u64::from(self.format.inodes_per_group);
        let mut all = Vec::with_capacity(self.geometry.groups.len());
        let used = self.space.used();
        let mut ranges = used.as_slice();
        for (number, group) in (0_u64..).zip(&self.geometry.groups) {
            let mut block_bitmap = vec![0; self.format.block_size];
            let (start, end) = (group.first, group.first + group.blocks);
            while let [done, rest @ ..] = ranges
                && done.end <= start
            {
                ranges = rest;
            }
            let mut taken = 0;
            for range in ranges.iter().take_while(|range| range.start < end) {
                let (from, to) = (range.start.max(start), range.end.min(end));
                mark(&mut block_bitmap, from - start..to - start);
                taken += to - from;
            }
            // What lies beyond the group is not free either.
            mark(&mut block_bitmap, group.blocks..bits);
            let first_inode = number * per_group;
            let inodes = u64::from(self.next_inode - 1)
                .saturating_sub(first_inode)
                .min(per_group);
            let mut inode_bitmap = vec![0; self.format.block_size];
            mark(&mut inode_bitmap, 0..inodes);
            mark(&mut inode_bitmap, per_group..bits);
            // Both are less than the inodes of a group, a 32-bit number.
            let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            let directories = self
                .is_directory
                .iter()
                .skip(index(first_inode))
                .take(index(per_group));
            all.push(Usage {
                block_bitmap,
                inode_bitmap,
                free_blocks: group.blocks - taken,
                free_inodes: small(per_group - inodes),
                directories: small(directories.filter(|directory| **directory).count() as u64),
            });
        }
        all
    }

    /// The used parts of the tables; the rest stays zero.
    fn tables(&mut self) -> Result<(), WriteError> {
        let (size, checksums) = (self.format.inode_size, self.format.checksums);
        let per_group = self.format.inodes_per_group as usize;
        let inodes = std::mem::take(&mut self.inodes);
        let bytes = std::mem::take(&mut self.inode_bytes);
        let mut inodes = inodes.into_iter().enumerate();
        for group in 0.. {
            let mut table = Vec::new();
            for (number, inode) in inodes.by_ref().take(per_group) {
                let end = table.len() + size;
                if !inode.is_empty() {
                    table.extend(&bytes[inode]);
                } else if checksums != Checksums::None {
                    // Numbers of inodes have 32 bits.
                    let number = u32::try_from(number + 1).unwrap_or(0);
                    table.extend(inode::empty(number, size, checksums));
                }
                table.resize(end, 0);
            }
            if table.is_empty() {
                break;
            }
            let start = self.offset(self.geometry.groups[group].table);
            for (at, part) in (start..).step_by(PACKED).zip(table.chunks(PACKED)) {
                let piece = Piece::packed(at, part);
                self.pieces
                    .push(piece.map_err(|source| WriteError::Compress { source })?);
            }
        }
        Ok(())
    }

    /// Superblock and descriptors, with their copies.
    fn heads(&mut self, descriptors: &[u8]) {
        let groups = self.geometry.groups.clone();
        for (number, group) in (0..).zip(groups).filter(|(_, group)| group.has_superblock) {
            let bytes = superblock::superblock(self.format, &self.geometry, &self.totals, number);
            let at = self.offset(group.first);
            // The first 1024 bytes of the file system are for boot loaders, whatever the size of blocks.
            let at = if number == 0 { at.max(1024) } else { at };
            self.pieces.push(Piece::here(at, bytes));
            self.put_block(group.first + 1, descriptors.to_vec());
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
