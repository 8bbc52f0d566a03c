//! What a new file system has in common with the base's: identity, features, policy. Read from the base's superblock.

use super::WriteError;
use super::checksum::{Checksums, crc16};
use super::hash::{Kind, NameHash, seed};
use crate::disk::read::ext4::Superblock;
use crate::disk::write::fields::{array, get32, low32};

/// Bytes of a superblock.
pub(super) const SUPERBLOCK: usize = 1024;

/// Nobody has more than 11; each takes room in memory.
const MOST_RESERVED_INODES: u32 = 1024;
/// mke2fs makes 16 of them; more do not fit into one group.
const MOST_FLEX_GROUPS: u32 = 1 << 16;
/// tune2fs allows half of the blocks to be reserved.
const MOST_RESERVED: u64 = 5_000;

/// Compatible features.
pub(super) mod compatible {
    pub const JOURNAL: u32 = 0x4;
    pub const RESIZE_INODE: u32 = 0x10;
    pub const DIR_INDEX: u32 = 0x20;
    pub const ORPHAN_FILE: u32 = 0x1000;
    /// Preallocation, attributes and what is above.
    pub const WRITTEN: u32 = 0x1 | JOURNAL | 0x8 | RESIZE_INODE | DIR_INDEX | ORPHAN_FILE;
    /// Lazy groups, exclusions, a second form of sparse superblocks, fast commits: whoever reads does without them.
    pub const DROPPED: u32 = 0x40 | 0x80 | 0x100 | 0x200 | 0x400;
}

/// Features that a reader must know.
pub(super) mod incompatible {
    pub const FILE_TYPE: u32 = 0x2;
    pub const EXTENTS: u32 = 0x40;
    pub const WIDE: u32 = 0x80;
    pub const FLEX_GROUPS: u32 = 0x200;
    pub const EA_INODE: u32 = 0x400;
    pub const CHECKSUM_SEED: u32 = 0x2000;
    /// Directories beyond 2 GiB and contents in inodes are allowed by these, not asked for.
    pub const WRITTEN: u32 =
        FILE_TYPE | EXTENTS | WIDE | FLEX_GROUPS | EA_INODE | CHECKSUM_SEED | 0x4000 | 0x8000;
    /// A journal to be replayed (it was), groups of groups, a guard against two writers; and encryption and folding of case,
    /// which are refused where a file uses them.
    pub const DROPPED: u32 = 0x4 | 0x10 | 0x100 | 0x1_0000 | 0x2_0000;
}

/// Features that a writer must know.
pub(super) mod for_writers {
    pub const SPARSE_SUPER: u32 = 0x1;
    pub const LARGE_FILE: u32 = 0x2;
    pub const GROUP_CHECKSUMS: u32 = 0x10;
    pub const MANY_SUBDIRECTORIES: u32 = 0x20;
    pub const CHECKSUMS: u32 = 0x400;
    /// Large files, huge files, extra fields and what is above; read-only.
    pub const WRITTEN: u32 = SPARSE_SUPER
        | LARGE_FILE
        | 0x8
        | GROUP_CHECKSUMS
        | MANY_SUBDIRECTORIES
        | 0x40
        | CHECKSUMS
        | 0x1000;
    /// Trees of directories, clusters, replicas, verity (refused where a file uses it), orphans that are there.
    pub const DROPPED: u32 = 0x4 | 0x200 | 0x800 | 0x8000 | 0x1_0000;
}

/// Identity, features and policy of a file system.
#[derive(Clone, Debug)]
pub struct Format {
    /// The base's superblock, of which fields without a meaning here are copied.
    pub(super) base: [u8; SUPERBLOCK],
    pub(super) block_size: usize,
    pub(super) inode_size: usize,
    pub(super) blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    /// Bytes of a group's descriptor.
    pub(super) descriptor_size: usize,
    /// Groups whose bitmaps and tables lie together.
    pub(super) flex_groups: u32,
    /// Blocks for descriptors, those in use and those that growing takes.
    pub(super) descriptor_blocks: u64,
    pub(super) compatible: u32,
    pub(super) incompatible: u32,
    pub(super) for_writers: u32,
    pub(super) checksums: Checksums,
    pub(super) names: NameHash,
    pub(super) first_inode: u32,
    /// Blocks that only root may use, in parts of ten thousand: rounded, so that the share stays what it is when a disk is
    /// written again and again.
    pub(super) reserved: u64,
    /// When the base's file system was made: stands for "now" wherever a time is needed.
    pub(super) made: u32,
    /// Blocks of the journal.
    pub(super) journal_blocks: u32,
}

impl Format {
    /// From the superblock of the base.
    ///
    /// # Errors
    /// It has a feature that this writer does not know.
    pub fn from_superblock(base: &Superblock) -> Result<Self, WriteError> {
        check_sizes(base)?;
        let (compatible, incompatible, for_writers) = features(base)?;
        let block_size = base.block_size as usize;
        let descriptors = u64::from(base.groups) * u64::from(base.descriptor_size);
        Ok(Self {
            base: array(&base.raw, 0),
            block_size,
            inode_size: base.inode_size.into(),
            // Clusters, if the base has them, become blocks.
            blocks_per_group: 8 * base.block_size,
            inodes_per_group: base.inodes_per_group,
            descriptor_size: base.descriptor_size.into(),
            flex_groups: if incompatible & incompatible::FLEX_GROUPS == 0 {
                1
            } else {
                base.groups_per_flex.min(MOST_FLEX_GROUPS)
            },
            descriptor_blocks: descriptors.div_ceil(block_size as u64)
                + u64::from(base.reserved_gdt_blocks),
            compatible,
            incompatible,
            for_writers,
            checksums: checksums(base, for_writers),
            names: NameHash {
                kind: Kind::from_number(base.name_hash.version).ok_or_else(|| {
                    unknown(format!("the directory hash {}", base.name_hash.version))
                })?,
                signed: !base.name_hash.unsigned,
                seed: seed(&base.name_hash.seed),
            },
            first_inode: base.first_inode,
            reserved: (base.reserved_blocks.saturating_mul(20_000) / base.blocks.max(1))
                .div_ceil(2)
                .min(MOST_RESERVED),
            made: low32(base.made),
            journal_blocks: journal_blocks(&base.raw, block_size),
        })
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// The time for what has none of its own.
    pub(super) fn now(&self) -> super::inode::Time {
        (self.made.into(), 0)
    }

    pub(super) fn compatible(&self, feature: u32) -> bool {
        self.compatible & feature != 0
    }

    pub(super) fn incompatible(&self, feature: u32) -> bool {
        self.incompatible & feature != 0
    }

    /// The block that holds the first superblock: the first 1024 bytes of a file system are for boot loaders.
    pub(super) fn first_block(&self) -> u64 {
        u64::from(self.block_size == 1024)
    }
}

fn unknown(what: impl Into<String>) -> WriteError {
    WriteError::Unknown { what: what.into() }
}

/// Refuses what no mke2fs makes for a root file system, before anything is computed with it.
fn check_sizes(base: &Superblock) -> Result<(), WriteError> {
    let Superblock {
        block_size,
        inode_size,
        inodes_per_group,
        descriptor_size,
        first_inode,
        ..
    } = base;
    let (_, revision) = base.creator;
    let sizes = [1024, 2048, 4096].contains(block_size)
        && [128, 256, 512, 1024].contains(inode_size)
        && [32, 64].contains(descriptor_size)
        && inodes_per_group.is_multiple_of(8)
        && (8..=8 * block_size).contains(inodes_per_group)
        && (11..=MOST_RESERVED_INODES).contains(first_inode);
    if base.raw.len() == SUPERBLOCK && revision > 0 && sizes {
        return Ok(());
    }
    Err(unknown(format!(
        "an ext4 file system of revision {revision} with blocks of {block_size} bytes, inodes of {inode_size} bytes, \
         {inodes_per_group} of them a group, {first_inode} as the first, and descriptors of {descriptor_size} bytes"
    )))
}

/// Blocks of the base's journal, of which superblocks keep a note.
fn journal_blocks(base: &[u8], block_size: usize) -> u32 {
    /// The fewest that the kernel accepts, and enough for a small disk.
    const LEAST: u64 = 1024;
    let size = u64::from(get32(base, 0x148)) << 32 | u64::from(get32(base, 0x14c));
    let noted = if base[0xfd] == 1 {
        size / block_size as u64
    } else {
        0
    };
    u32::try_from(noted.max(LEAST)).unwrap_or(u32::MAX)
}

fn features(base: &Superblock) -> Result<(u32, u32, u32), WriteError> {
    let sets = [
        (
            "compatible",
            base.compat,
            compatible::WRITTEN,
            compatible::DROPPED,
        ),
        (
            "incompatible",
            base.incompat,
            incompatible::WRITTEN,
            incompatible::DROPPED,
        ),
        (
            "read-only compatible",
            base.ro_compat,
            for_writers::WRITTEN,
            for_writers::DROPPED,
        ),
    ];
    let mut kept = [0; 3];
    for (kept, (kind, set, written, dropped)) in kept.iter_mut().zip(sets) {
        let others = set & !written & !dropped;
        if others != 0 {
            return Err(unknown(format!("the {kind} feature {others:#x}")));
        }
        *kept = set & written;
    }
    let [compatible, incompatible, for_writers] = kept;
    let needed = incompatible::FILE_TYPE | incompatible::EXTENTS;
    if incompatible & needed != needed {
        return Err(unknown("a file system without extents (ext2 or ext3)"));
    }
    if compatible & compatible::JOURNAL != 0 && base.journal_inode == 0 {
        return Err(unknown("a journal on another device"));
    }
    let always = for_writers::SPARSE_SUPER | for_writers::LARGE_FILE;
    Ok((compatible, incompatible, for_writers | always))
}

fn checksums(base: &Superblock, for_writers: u32) -> Checksums {
    if for_writers & for_writers::CHECKSUMS != 0 {
        Checksums::All {
            seed: base.checksum_seed,
        }
    } else if for_writers & for_writers::GROUP_CHECKSUMS != 0 {
        Checksums::Groups {
            seed: crc16(!0, &base.uuid),
        }
    } else {
        Checksums::None
    }
}
