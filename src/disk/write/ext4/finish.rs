//! The last step: bitmaps, inode tables, descriptors, superblocks.

use super::checksum::Checksums;
use super::superblock::{self, Usage};
use super::{Builder, inode, mark};
use crate::disk::read::to_index;
use crate::disk::write::WriteError;
use crate::disk::write::layout::{MAX_COMPRESSED_BYTES, Region};

impl Builder<'_> {
    pub(super) fn finish(mut self) -> Result<Vec<Region>, WriteError> {
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
        self.compress_inodes(self.next_inode)?;
        let mut descriptors = Vec::new();
        for ((number, group), usage) in (0..).zip(self.geometry.groups.clone()).zip(usage) {
            descriptors.extend(superblock::descriptor(self.format, number, &group, &usage));
            self.put_block(group.block_bitmap, usage.block_bitmap);
            self.put_block(group.inode_bitmap, usage.inode_bitmap);
        }
        self.heads(&descriptors);
        Ok(self.regions)
    }

    /// Returns bitmaps and counts of all groups.
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
            // Bits beyond the group are set, too.
            mark(&mut block_bitmap, group.blocks..bits);
            let first_inode = number * per_group;
            let inodes = u64::from(self.next_inode - 1)
                .saturating_sub(first_inode)
                .min(per_group);
            let mut inode_bitmap = vec![0; self.format.block_size];
            mark(&mut inode_bitmap, 0..inodes);
            mark(&mut inode_bitmap, per_group..bits);
            // At most the inodes of a group, a 32-bit number.
            let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            let directories = self
                .is_directory
                .iter()
                .skip(to_index(first_inode))
                .take(to_index(per_group));
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

    /// Compresses the parts of the inode tables that lie before inode `limit`, and so are complete: half a million inodes then
    /// take a fifth of their memory. Unused inodes stay zero.
    pub(super) fn compress_inodes(&mut self, limit: u32) -> Result<(), WriteError> {
        let (size, checksums) = (self.format.inode_size, self.format.checksums);
        let per_group = self.format.inodes_per_group;
        // At most 512, as an inode has 128 bytes at least.
        let per_region = u32::try_from(MAX_COMPRESSED_BYTES / size).unwrap_or(1);
        loop {
            let first = self.first_pending_inode;
            let (group, index) = ((first - 1) / per_group, (first - 1) % per_group);
            let end = first + per_region.min(per_group - index);
            // The last region of all is not full.
            let is_last = limit == self.next_inode;
            let end = if is_last { end.min(limit) } else { end };
            if end > limit || first == end {
                return Ok(());
            }
            let mut bytes = Vec::with_capacity(MAX_COMPRESSED_BYTES);
            for number in first..end {
                let next = bytes.len() + size;
                match self.inodes.remove(&number) {
                    Some(inode) => bytes.extend(inode),
                    None if checksums == Checksums::None => {}
                    None => bytes.extend(inode::empty(number, size, checksums)),
                }
                bytes.resize(next, 0);
            }
            let table = self.offset(self.geometry.groups[group as usize].table);
            let region = Region::compressed(table + u64::from(index) * size as u64, &bytes);
            self.regions
                .push(region.map_err(|source| WriteError::Compress { source })?);
            self.first_pending_inode = end;
        }
    }

    /// Writes superblock and descriptors, with their copies.
    fn heads(&mut self, descriptors: &[u8]) {
        let groups = self.geometry.groups.clone();
        for (number, group) in (0..).zip(groups).filter(|(_, group)| group.has_superblock) {
            let bytes = superblock::superblock(self.format, &self.geometry, &self.totals, number);
            let at = self.offset(group.first);
            // The first 1024 bytes of the file system are for boot loaders, whatever the block size.
            let at = if number == 0 { at.max(1024) } else { at };
            self.regions.push(Region::in_memory(at, bytes));

            self.put_block(group.first + 1, descriptors.to_vec());
        }
    }
}
