//! Superblock, group descriptors and journal superblock as bytes.

use super::super::fields::{Fields, high32, low16, low32};
use super::checksum::{Checksums, crc32c};
use super::format::Format;
use super::geometry::{Geometry, Group};
use crate::disk::read::Bytes;
use crate::disk::read::ext4::layout::superblock as field;
use crate::disk::read::ext4::layout::{compat, incompat, inode};

/// Numbers that are known only when everything is placed.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) free_blocks: u64,
    pub(super) inodes: u64,
    pub(super) free_inodes: u64,
    /// Map and size of the journal, which the superblock repeats in case the inode is damaged.
    pub(super) journal: Option<(Vec<u8>, u64)>,
    pub(super) orphan_inode: Option<u32>,
}

/// Fields that are copied from the base, with their lengths.
const COPIED: [(usize, usize); 14] = [
    (field::MAX_MOUNTS, 2),
    (field::ERRORS, 2),
    (field::MINOR_REVISION, 2),
    // With the creator's operating system.
    (field::CHECK_INTERVAL, 8),
    // With the group.
    (field::RESERVED_UID, 4),
    // With the label.
    (field::UUID, 32),
    // With the version of the hash.
    (field::HASH_SEED, 17),
    (field::DEFAULT_MOUNT_OPTIONS, 4),
    (field::MKFS_TIME, 4),
    // With the wanted extra size.
    (field::MIN_EXTRA_SIZE, 4),
    (field::RAID_STRIDE, 2),
    (field::RAID_STRIPE_WIDTH, 4),
    (field::MOUNT_OPTIONS, 64),
    (field::CHECKSUM_SEED, 4),
];
/// The state of a file system that was unmounted cleanly.
const STATE_CLEAN: u16 = 1;
/// The revision with inodes of any size.
const REVISION: u32 = 1;

/// Returns the copy of the superblock in `group`.
pub(super) fn superblock(
    format: &Format,
    geometry: &Geometry,
    totals: &Totals,
    group: u32,
) -> Vec<u8> {
    let mut block = Fields::new(field::LENGTH);
    for (at, length) in COPIED {
        block.put(at, &format.base[at..at + length]);
    }
    let reserved = u128::from(geometry.blocks) * u128::from(format.reserved) / 10_000;
    // At most half of the blocks.
    let reserved = u64::try_from(reserved).unwrap_or(0);
    block.put32(field::INODES, low32(totals.inodes));
    block.put32_halves(field::BLOCKS, geometry.blocks);
    block.put32_halves(field::RESERVED_BLOCKS, reserved);
    block.put32_halves(field::FREE_BLOCKS, totals.free_blocks);
    block.put32(field::FREE_INODES, low32(totals.free_inodes));
    block.put32(field::FIRST_DATA_BLOCK, low32(geometry.first_block));
    let log_block_size = format.block_size.ilog2() - 10;
    block.put32(field::LOG_BLOCK_SIZE, log_block_size);
    block.put32(field::LOG_CLUSTER_SIZE, log_block_size);
    block.put32(field::BLOCKS_PER_GROUP, format.blocks_per_group);
    block.put32(field::CLUSTERS_PER_GROUP, format.blocks_per_group);
    block.put32(field::INODES_PER_GROUP, format.inodes_per_group);
    block.put32(field::WRITE_TIME, format.made);
    block.put16(field::MAGIC, field::MAGIC_NUMBER);
    block.put16(field::STATE, STATE_CLEAN);
    block.put32(field::CHECK_TIME, format.made);
    block.put32(field::REVISION, REVISION);
    block.put32(field::FIRST_INODE, format.first_inode);
    block.put16(field::INODE_SIZE, low16(format.inode_size as u64));
    block.put16(field::GROUP, low16(group.into()));
    block.put32(field::COMPAT, format.compat);
    block.put32(field::INCOMPAT, format.incompat);
    block.put32(field::RO_COMPAT, format.ro_compat);
    block.put16(
        field::RESERVED_GDT_BLOCKS,
        low16(geometry.reserved_descriptor_blocks),
    );
    if let Some((map, size)) = &totals.journal {
        block.put32(field::JOURNAL_INODE, inode::JOURNAL);
        block.put8(field::JOURNAL_BACKUP, 1);
        block.put(field::JOURNAL_BLOCKS, map);
        block.put32_halves(field::JOURNAL_SIZE, *size);
    }
    if format.has_incompat(incompat::BIT64) {
        block.put16(field::DESCRIPTOR_SIZE, low16(format.descriptor_size as u64));
    }
    let hash_flags = field::SIGNED_HASH | field::UNSIGNED_HASH;
    block.put32(
        field::FLAGS,
        Bytes(&format.base).le32(field::FLAGS) & hash_flags,
    );
    if format.flex_groups > 1 {
        block.put8(field::LOG_GROUPS_PER_FLEX, low8(format.flex_groups.ilog2()));
    }
    if format.has_compat(compat::ORPHAN_FILE) {
        block.put32(field::ORPHAN_INODE, totals.orphan_inode.unwrap_or(0));
    }
    if matches!(format.checksums, Checksums::All { .. }) {
        block.put8(field::CHECKSUM_TYPE, 1);
        let checksum = crc32c(!0, &block.bytes()[..field::CHECKSUM]);
        block.put32(field::CHECKSUM, checksum);
    }
    block.into_bytes()
}

fn low8(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

/// Bitmaps and counts of a group.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    pub(super) block_bitmap: Vec<u8>,
    pub(super) inode_bitmap: Vec<u8>,
    pub(super) free_blocks: u64,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
}

/// Returns a group's descriptor.
pub(super) fn descriptor(format: &Format, number: u32, group: &Group, usage: &Usage) -> Vec<u8> {
    use crate::disk::read::ext4::layout::descriptor as field;
    /// Flag: the unused part of the inode table is zero, so that the kernel need not clear it after mounting.
    const INODE_TABLE_ZEROED: u16 = 4;
    let mut bytes = Fields::new(format.descriptor_size);
    let is_wide = format.descriptor_size >= field::WIDE_LENGTH;
    let mut put = |[low, high]: [usize; 2], value: u64| {
        bytes.put16(low, low16(value));
        if is_wide {
            bytes.put16(high, low16(value >> 16));
        }
    };
    put(field::FREE_BLOCKS, usage.free_blocks);
    put(field::FREE_INODES, usage.free_inodes.into());
    put(field::DIRECTORIES, usage.directories.into());
    if format.checksums != Checksums::None {
        // Inodes are used from the first one on, without gaps.
        put(field::UNUSED_INODES, usage.free_inodes.into());
    }
    if let Some(seed) = format.checksums.seed() {
        let inode_bytes = format.inodes_per_group as usize / 8;
        let checksum = |bitmap| crc32c(seed, bitmap).into();
        put(field::BLOCK_BITMAP_CHECKSUM, checksum(&usage.block_bitmap));
        put(
            field::INODE_BITMAP_CHECKSUM,
            checksum(&usage.inode_bitmap[..inode_bytes]),
        );
    }
    for ([low, high], block) in [
        (field::BLOCK_BITMAP, group.block_bitmap),
        (field::INODE_BITMAP, group.inode_bitmap),
        (field::INODE_TABLE, group.table),
    ] {
        bytes.put32(low, low32(block));
        if is_wide {
            bytes.put32(high, high32(block));
        }
    }
    if format.checksums != Checksums::None {
        bytes.put16(field::FLAGS, INODE_TABLE_ZEROED);
    }
    let checksum = format.checksums.of_descriptor(number, bytes.bytes());
    bytes.put16(field::CHECKSUM, checksum);
    bytes.into_bytes()
}

/// Returns the first block of an empty journal, whose numbers are big-endian.
pub(super) fn journal(format: &Format, blocks: u32) -> Vec<u8> {
    use crate::disk::read::ext4::layout::{journal as field, superblock};
    let mut block = Fields::new(format.block_size);
    for (at, value) in [
        (field::MAGIC, field::MAGIC_NUMBER),
        (field::KIND, field::SUPERBLOCK_V2),
        (field::BLOCK_SIZE, low32(format.block_size as u64)),
        (field::BLOCKS, blocks),
        (field::FIRST, 1),
        (field::SEQUENCE, 1),
        (field::USERS, 1),
    ] {
        block.put(at, &u32::to_be_bytes(value));
    }
    block.put(
        field::UUID,
        &format.base[superblock::UUID..superblock::UUID + 16],
    );
    block.into_bytes()
}
