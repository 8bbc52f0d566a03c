//! Positions of the metadata in a file system of a given size. Pure.

use std::ops::Range;

use super::WriteError;
use super::format::Format;
use crate::disk::read::ext4::has_sparse_backup;
use crate::disk::read::ext4::layout::{compat, incompat};

/// Minimal number of blocks besides metadata in the last group, as in mke2fs.
const MIN_LAST_GROUP_BLOCKS: u64 = 50;

/// Positions that follow from the size alone.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    pub(super) blocks: u64,
    pub(super) first_block: u64,
    pub(super) descriptor_blocks: u64,
    /// Blocks reserved for the descriptors of later groups.
    pub(super) reserved_descriptor_blocks: u64,
    pub(super) table_blocks: u64,
    pub(super) groups: Vec<Group>,
    /// All blocks of metadata, in order and without overlap.
    pub(super) fixed: Vec<Range<u64>>,
}

/// Positions in one group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Group {
    pub(super) first: u64,
    pub(super) blocks: u64,
    pub(super) has_superblock: bool,
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) table: u64,
}

impl Geometry {
    /// Computes the geometry of a file system of at most `bytes`.
    pub(super) fn new(format: &Format, bytes: u64) -> Result<Self, WriteError> {
        let too_small = || WriteError::TooSmall { bytes };
        let block_size = format.block_size as u64;
        let mut blocks = bytes / block_size;
        // Without 64-bit block numbers.
        if !format.has_incompat(incompat::BIT64) {
            blocks = blocks.min(u64::from(u32::MAX));
        }
        let table_blocks =
            (u64::from(format.inodes_per_group) * format.inode_size as u64).div_ceil(block_size);
        let first_block = format.first_block();
        let usable = blocks.checked_sub(first_block).ok_or_else(too_small)?;
        let usable = without_short_group(format, usable, table_blocks);
        let count = usable.div_ceil(u64::from(format.blocks_per_group));
        if count == 0 || count * u64::from(format.inodes_per_group) > u64::from(u32::MAX) {
            return Err(too_small());
        }
        let (descriptor_blocks, reserved_descriptor_blocks) = descriptors(format, count);
        let mut geometry = Self {
            blocks: first_block + usable,
            first_block,
            descriptor_blocks,
            reserved_descriptor_blocks,
            table_blocks,
            groups: Vec::new(),
            fixed: Vec::new(),
        };
        geometry.place_groups(format, count).ok_or_else(too_small)?;
        Ok(geometry)
    }

    /// Returns the number of blocks at the start of a group with a superblock.
    pub(super) fn head(&self) -> u64 {
        1 + self.descriptor_blocks + self.reserved_descriptor_blocks
    }

    /// Places the metadata of all groups. `None` if they do not fit.
    fn place_groups(&mut self, format: &Format, count: u64) -> Option<()> {
        let per_group = u64::from(format.blocks_per_group);
        let first = |group: u64| self.first_block + group * per_group;
        let heads: Vec<_> = (0..count)
            .filter(|group| has_sparse_backup(*group))
            .map(|group| first(group)..first(group) + self.head())
            .collect();
        if self.first_block == 1 {
            self.fixed.push(0..1);
        }
        self.fixed.extend(heads.iter().cloned());
        let flex = u64::from(format.flex_groups);
        for start in (0..count).step_by(format.flex_groups as usize) {
            let number = flex.min(count - start);
            let end = (first(start + number)).min(self.blocks);
            let mut free = first(start);
            let mut take = |length: u64| {
                // Skip every head in between.
                for head in &heads {
                    if head.start < free + length && free < head.end {
                        free = head.end;
                    }
                }
                let start = free;
                free += length;
                (free <= end).then_some(start..free)
            };
            let mut take_for_each = |length| {
                (0..number)
                    .map(|_| take(length))
                    .collect::<Option<Vec<_>>>()
            };
            let (block_bitmaps, inode_bitmaps) = (take_for_each(1)?, take_for_each(1)?);
            let tables = take_for_each(self.table_blocks)?;
            for member in 0..number {
                let group = start + member;
                let at = usize::try_from(member).ok()?;
                self.groups.push(Group {
                    first: first(group),
                    blocks: per_group.min(self.blocks - first(group)),
                    has_superblock: has_sparse_backup(group),
                    block_bitmap: block_bitmaps[at].start,
                    inode_bitmap: inode_bitmaps[at].start,
                    table: tables[at].start,
                });
            }
            self.fixed
                .extend(block_bitmaps.into_iter().chain(inode_bitmaps).chain(tables));
        }
        self.fixed.sort_by_key(|range| range.start);
        Some(())
    }
}

/// Returns the number of blocks for the descriptors of `groups`, and the number reserved for more of them.
fn descriptors(format: &Format, groups: u64) -> (u64, u64) {
    let block_size = format.block_size as u64;
    let used = (groups * format.descriptor_size as u64).div_ceil(block_size);
    // The resize inode lists the reserved blocks in one indirect block.
    let most = if format.has_compat(compat::RESIZE_INODE) {
        block_size / 4
    } else {
        0
    };
    (
        used,
        format.descriptor_blocks.saturating_sub(used).min(most),
    )
}

/// Drops the last group if it would contain little more than its own metadata.
fn without_short_group(format: &Format, usable: u64, table_blocks: u64) -> u64 {
    let per_group = u64::from(format.blocks_per_group);
    let (number, last) = (usable / per_group, usable % per_group);
    let (used, reserved) = descriptors(format, number + 1);
    let head = if has_sparse_backup(number) {
        1 + used + reserved
    } else {
        0
    };
    if last >= head + 2 + table_blocks + MIN_LAST_GROUP_BLOCKS {
        usable
    } else {
        usable - last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superblocks_are_sparse() {
        let with: Vec<_> = (0..130).filter(|group| has_sparse_backup(*group)).collect();
        assert_eq!(with, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }
}
