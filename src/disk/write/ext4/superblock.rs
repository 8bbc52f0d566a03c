//! Superblock, group descriptors and journal superblock as bytes.

use super::checksum::{Checksums, crc32c};
use super::format::{Format, SUPERBLOCK, compatible};
use super::geometry::{Geometry, Group};
use crate::disk::write::fields::{Fields, low16, low32};

/// What is only known when everything has its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) free_blocks: u64,
    pub(super) inodes: u64,
    pub(super) free_inodes: u64,
    /// `i_block` of the journal and its size, kept twice in case the inode is damaged.
    pub(super) journal: Option<(Vec<u8>, u64)>,
    pub(super) orphans_inode: Option<u32>,
}

/// Fields that are as in the base: limits and intervals of checks, what to do on errors, who may use reserved blocks, default
/// and stored mount options, UUID, label, hash, extra bytes of inodes, RAID geometry, the seed of checksums.
const KEPT: [(usize, usize); 14] = [
    (0x36, 2),
    (0x3c, 2),
    (0x3e, 2),
    (0x44, 8),
    (0x50, 4),
    (0x68, 32),
    (0xec, 17),
    (0x100, 4),
    (0x108, 4),
    (0x15c, 4),
    (0x164, 2),
    (0x170, 4),
    (0x200, 64),
    (0x270, 4),
];
/// The flags that say how bytes beyond ASCII are hashed.
const HASH_FLAGS: u32 = 3;

/// The superblock that stands in `group`.
pub(super) fn superblock(
    format: &Format,
    geometry: &Geometry,
    totals: &Totals,
    group: u32,
) -> Vec<u8> {
    let mut block = Fields::new(SUPERBLOCK);
    for (at, length) in KEPT {
        block.put(at, &format.base[at..at + length]);
    }
    let reserved = u128::from(geometry.blocks) * u128::from(format.reserved) / 10_000;
    // Less than the blocks there are: at most all of them.
    let reserved = u64::try_from(reserved).unwrap_or(0);
    block.put32(0, low32(totals.inodes));
    block.put_halves(4, 0x150, geometry.blocks);
    block.put_halves(8, 0x154, reserved);
    block.put_halves(0xc, 0x158, totals.free_blocks);
    block.put32(0x10, low32(totals.free_inodes));
    block.put32(0x14, low32(geometry.first_block));
    let log_block_size = format.block_size.ilog2() - 10;
    block.put32(0x18, log_block_size);
    block.put32(0x1c, log_block_size);
    block.put32(0x20, format.blocks_per_group);
    block.put32(0x24, format.blocks_per_group);
    block.put32(0x28, format.inodes_per_group);
    block.put32(0x30, format.made);
    block.put16(0x38, 0xef53);
    block.put16(0x3a, 1);
    block.put32(0x40, format.made);
    block.put32(0x4c, 1);
    block.put32(0x54, format.first_inode);
    block.put16(0x58, low16(format.inode_size as u64));
    block.put16(0x5a, low16(group.into()));
    block.put32(0x5c, format.compatible);
    block.put32(0x60, format.incompatible);
    block.put32(0x64, format.for_writers);
    block.put16(0xce, low16(geometry.reserved_descriptor_blocks));
    if let Some((map, size)) = &totals.journal {
        block.put32(0xe0, super::JOURNAL_INODE);
        block.put8(0xfd, 1);
        block.put(0x10c, map);
        block.put_halves(0x14c, 0x148, *size);
    }
    if format.incompatible(super::format::incompatible::WIDE) {
        block.put16(0xfe, low16(format.descriptor_size as u64));
    }
    block.put32(
        0x160,
        crate::disk::write::fields::get32(&format.base, 0x160) & HASH_FLAGS,
    );
    if format.flex_groups > 1 {
        block.put8(0x174, low8(format.flex_groups.ilog2()));
    }
    if format.compatible(compatible::ORPHAN_FILE) {
        block.put32(0x280, totals.orphans_inode.unwrap_or(0));
    }
    if matches!(format.checksums, Checksums::All { .. }) {
        block.put8(0x175, 1);
        let checksum = crc32c(!0, &block.bytes()[..SUPERBLOCK - 4]);
        block.put32(SUPERBLOCK - 4, checksum);
    }
    block.into_bytes()
}

fn low8(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

/// What a group has.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    pub(super) block_bitmap: Vec<u8>,
    pub(super) inode_bitmap: Vec<u8>,
    pub(super) free_blocks: u64,
    pub(super) free_inodes: u32,
    pub(super) directories: u32,
}

/// A group's descriptor.
pub(super) fn descriptor(format: &Format, number: u32, group: &Group, usage: &Usage) -> Vec<u8> {
    /// The table of inodes is zero where it is not used: no need to fill it after mounting.
    const TABLE_IS_ZERO: u16 = 4;
    let mut bytes = Fields::new(format.descriptor_size);
    let wide = format.descriptor_size >= 64;
    let mut halves = |low: usize, high: usize, value: u64| {
        bytes.put16(low, low16(value));
        if wide {
            bytes.put16(high, low16(value >> 16));
        }
    };
    halves(0xc, 0x2c, usage.free_blocks);
    halves(0xe, 0x2e, usage.free_inodes.into());
    halves(0x10, 0x30, usage.directories.into());
    if format.checksums != Checksums::None {
        // In use from the first inode on, without gaps.
        halves(0x1c, 0x32, usage.free_inodes.into());
    }
    if let Some(seed) = format.checksums.seed() {
        let inode_bytes = format.inodes_per_group as usize / 8;
        halves(0x18, 0x38, crc32c(seed, &usage.block_bitmap).into());
        halves(
            0x1a,
            0x3a,
            crc32c(seed, &usage.inode_bitmap[..inode_bytes]).into(),
        );
    }
    for (low, high, place) in [
        (0, 0x20, group.block_bitmap),
        (4, 0x24, group.inode_bitmap),
        (8, 0x28, group.table),
    ] {
        bytes.put32(low, low32(place));
        if wide {
            bytes.put32(high, crate::disk::write::fields::high32(place));
        }
    }
    if format.checksums != Checksums::None {
        bytes.put16(0x12, TABLE_IS_ZERO);
    }
    let checksum = format.checksums.of_descriptor(number, bytes.bytes());
    bytes.put16(0x1e, checksum);
    bytes.into_bytes()
}

/// The first block of an empty journal. Its numbers are big-endian.
pub(super) fn journal(format: &Format, blocks: u32) -> Vec<u8> {
    let mut block = Fields::new(format.block_size);
    let block_size = low32(format.block_size as u64);
    // Magic, superblock of version 2, its number; block size, blocks, the first of the log, the first transaction, no start.
    for (index, word) in [0xc03b_3998, 4, 0, block_size, blocks, 1, 1, 0]
        .into_iter()
        .enumerate()
    {
        block.put(4 * index, &u32::to_be_bytes(word));
    }
    block.put(0x30, &format.base[0x68..0x78]);
    // One user.
    block.put(0x40, &1_u32.to_be_bytes());
    block.into_bytes()
}
