//! The last step: bitmaps, tables of inodes, descriptors, superblocks.

use super::checksum::Checksums;
use super::superblock::{self, Usage};
use super::{Layer, inode, mark};
use crate::disk::write::WriteError;
use crate::disk::write::layout::{PACKED, Piece};

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
        self.pack_inodes(self.next_inode)?;
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

    /// Packs the parts of the tables all of whose inodes come before `limit`, and so are as they will be: half a million
    /// inodes take a fifth of their memory then. What is not used stays zero.
    pub(super) fn pack_inodes(&mut self, limit: u32) -> Result<(), WriteError> {
        let (size, checksums) = (self.format.inode_size, self.format.checksums);
        let per_group = self.format.inodes_per_group;
        // As many as are packed at once; sizes of inodes are checked.
        let most = u32::try_from(PACKED / size).unwrap_or(1);
        loop {
            let first = self.packed_inodes;
            let (group, place) = ((first - 1) / per_group, (first - 1) % per_group);
            let end = first + most.min(per_group - place);
            // The last part of all is not full.
            let last = limit == self.next_inode;
            let end = if last { end.min(limit) } else { end };
            if end > limit || first == end {
                return Ok(());
            }
            let mut part = Vec::with_capacity(PACKED);
            for number in first..end {
                let next = part.len() + size;
                match self.inodes.remove(&number) {
                    Some(inode) => part.extend(inode),
                    None if checksums == Checksums::None => {}
                    None => part.extend(inode::empty(number, size, checksums)),
                }
                part.resize(next, 0);
            }
            let table = self.offset(self.geometry.groups[group as usize].table);
            let piece = Piece::packed(table + u64::from(place) * size as u64, &part);
            self.pieces
                .push(piece.map_err(|source| WriteError::Compress { source })?);
            self.packed_inodes = end;
        }
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
