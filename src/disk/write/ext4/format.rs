//! Identity, features and policy that a new file system takes from the base's superblock.

use super::super::fields::low32;
use super::WriteError;
use super::checksum::{Checksums, crc16};
use super::hash::{HashFunction, NameHash, seed};
use crate::disk::read::Bytes;
use crate::disk::read::ext4::Superblock;
use crate::disk::read::ext4::layout::superblock as field;
use crate::disk::read::ext4::layout::{compat, incompat, ro_compat};

/// Usually there are 11; each takes memory.
const MAX_RESERVED_INODES: u32 = 1024;
/// mke2fs makes 16 of them; more do not fit into one group.
const MAX_FLEX_GROUPS: u32 = 1 << 16;
/// tune2fs allows half of the blocks to be reserved.
const MAX_RESERVED: u64 = 5_000;

/// Features that a new file system keeps.
const KEPT_COMPAT: u32 = compat::DIR_PREALLOC
    | compat::HAS_JOURNAL
    | compat::EXT_ATTR
    | compat::RESIZE_INODE
    | compat::DIR_INDEX
    | compat::ORPHAN_FILE;
/// `LARGEDIR` and `INLINE_DATA` allow larger directories and inline contents, and do not ask for them.
const KEPT_INCOMPAT: u32 = incompat::FILETYPE
    | incompat::EXTENTS
    | incompat::BIT64
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGEDIR
    | incompat::INLINE_DATA;
const KEPT_RO_COMPAT: u32 = ro_compat::SPARSE_SUPER
    | ro_compat::LARGE_FILE
    | ro_compat::HUGE_FILE
    | ro_compat::GDT_CSUM
    | ro_compat::DIR_NLINK
    | ro_compat::EXTRA_ISIZE
    | ro_compat::METADATA_CSUM
    | ro_compat::READONLY;

/// Features of the base that a new file system does without.
const DROPPED_COMPAT: u32 = compat::LAZY_BG
    | compat::EXCLUDE_INODE
    | compat::EXCLUDE_BITMAP
    | compat::SPARSE_SUPER2
    | compat::FAST_COMMIT;
/// The journal was replayed. A file that uses `ENCRYPT` or `CASEFOLD` is refused.
const DROPPED_INCOMPAT: u32 =
    incompat::RECOVER | incompat::META_BG | incompat::MMP | incompat::ENCRYPT | incompat::CASEFOLD;
/// A file that uses `VERITY` is refused.
const DROPPED_RO_COMPAT: u32 = ro_compat::BTREE_DIR
    | ro_compat::BIGALLOC
    | ro_compat::REPLICA
    | ro_compat::VERITY
    | ro_compat::ORPHAN_PRESENT;

/// Identity, features and policy of a file system.
#[derive(Clone, Debug)]
pub struct Format {
    /// The base's superblock, some of whose fields are copied.
    pub(super) base: [u8; field::LENGTH],
    pub(super) block_size: usize,
    pub(super) inode_size: usize,
    pub(super) blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    pub(super) descriptor_size: usize,
    /// Groups whose bitmaps and tables lie together.
    pub(super) flex_groups: u32,
    /// Blocks for descriptors, in use or reserved for growing.
    pub(super) descriptor_blocks: u64,
    pub(super) compat: u32,
    pub(super) incompat: u32,
    pub(super) ro_compat: u32,
    pub(super) checksums: Checksums,
    pub(super) names: NameHash,
    pub(super) first_inode: u32,
    /// Share of blocks that only root may use, in parts of ten thousand: rounded, so that it stays the same when a disk is
    /// normalized again and again.
    pub(super) reserved: u64,
    /// Creation time of the base's file system, which is used wherever a current time is needed.
    pub(super) made: u32,
    pub(super) journal_blocks: u32,
}

impl Format {
    /// Takes the format of a new file system from the superblock of the base.
    ///
    /// # Errors
    /// The base has a feature that this writer does not know.
    pub fn from_superblock(base: &Superblock) -> Result<Self, WriteError> {
        check_sizes(base)?;
        let [compat, incompat, ro_compat] = features(base)?;
        let block_size = base.block_size as usize;
        let descriptors = u64::from(base.groups) * u64::from(base.descriptor_size);
        Ok(Self {
            base: Bytes(&base.raw).array(0),
            block_size,
            inode_size: base.inode_size.into(),
            // Clusters, if the base has them, become blocks.
            blocks_per_group: 8 * base.block_size,
            inodes_per_group: base.inodes_per_group,
            descriptor_size: base.descriptor_size.into(),
            flex_groups: if incompat & incompat::FLEX_BG == 0 {
                1
            } else {
                base.groups_per_flex.min(MAX_FLEX_GROUPS)
            },
            descriptor_blocks: descriptors.div_ceil(block_size as u64)
                + u64::from(base.reserved_gdt_blocks),
            compat,
            incompat,
            ro_compat,
            checksums: checksums(base, ro_compat),
            names: NameHash {
                kind: HashFunction::from_number(base.name_hash.version).ok_or_else(|| {
                    unknown(format!("the directory hash {}", base.name_hash.version))
                })?,
                signed: !base.name_hash.unsigned,
                seed: seed(&base.name_hash.seed),
            },
            first_inode: base.first_inode,
            reserved: (base.reserved_blocks.saturating_mul(20_000) / base.blocks.max(1))
                .div_ceil(2)
                .min(MAX_RESERVED),
            made: low32(base.made),
            journal_blocks: journal_blocks(&base.raw, block_size),
        })
    }

    /// Returns the size of a block in bytes.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Returns the time of inodes that belong to the file system itself.
    pub(super) fn now(&self) -> super::inode::Time {
        (self.made.into(), 0)
    }

    pub(super) fn has_compat(&self, feature: u32) -> bool {
        self.compat & feature != 0
    }

    pub(super) fn has_incompat(&self, feature: u32) -> bool {
        self.incompat & feature != 0
    }

    /// Returns the block with the first superblock: the first 1024 bytes of a file system are for boot loaders.
    pub(super) fn first_block(&self) -> u64 {
        u64::from(self.block_size == 1024)
    }
}

fn unknown(what: impl Into<String>) -> WriteError {
    WriteError::Unknown { what: what.into() }
}

/// Refuses sizes that mke2fs never uses for a root file system, before anything is computed from them.
fn check_sizes(base: &Superblock) -> Result<(), WriteError> {
    let Superblock {
        block_size,
        inode_size,
        inodes_per_group,
        descriptor_size,
        first_inode,
        revision,
        ..
    } = base;
    let sizes = [1024, 2048, 4096].contains(block_size)
        && [128, 256, 512, 1024].contains(inode_size)
        && [32, 64].contains(descriptor_size)
        && inodes_per_group.is_multiple_of(8)
        && (8..=8 * block_size).contains(inodes_per_group)
        && (11..=MAX_RESERVED_INODES).contains(first_inode);
    if base.raw.len() == field::LENGTH && *revision > 0 && sizes {
        return Ok(());
    }
    Err(unknown(format!(
        "an ext4 file system of revision {revision} with blocks of {block_size} bytes, inodes of {inode_size} bytes, \
         {inodes_per_group} of them a group, {first_inode} as the first, and descriptors of {descriptor_size} bytes"
    )))
}

/// Returns the number of blocks of the base's journal, which its superblock repeats.
fn journal_blocks(base: &[u8], block_size: usize) -> u32 {
    /// The minimum of the kernel, and enough for a small disk.
    const MIN_BLOCKS: u64 = 1024;
    let size = Bytes(base).le32_halves(field::JOURNAL_SIZE);
    let recorded = if base[field::JOURNAL_BACKUP] == 1 {
        size / block_size as u64
    } else {
        0
    };
    u32::try_from(recorded.max(MIN_BLOCKS)).unwrap_or(u32::MAX)
}

/// Returns the three sets of features of the new file system.
fn features(base: &Superblock) -> Result<[u32; 3], WriteError> {
    let keep = |kind, set: u32, kept: u32, dropped: u32| match set & !kept & !dropped {
        0 => Ok(set & kept),
        others => Err(unknown(format!("the {kind} feature {others:#x}"))),
    };
    let compat = keep("compatible", base.compat, KEPT_COMPAT, DROPPED_COMPAT)?;
    let incompat = keep(
        "incompatible",
        base.incompat,
        KEPT_INCOMPAT,
        DROPPED_INCOMPAT,
    )?;
    let ro_compat = keep(
        "read-only compatible",
        base.ro_compat,
        KEPT_RO_COMPAT,
        DROPPED_RO_COMPAT,
    )?;
    let needed = incompat::FILETYPE | incompat::EXTENTS;
    if incompat & needed != needed {
        return Err(unknown("a file system without extents (ext2 or ext3)"));
    }
    if compat & compat::HAS_JOURNAL != 0 && base.journal_inode == 0 {
        return Err(unknown("a journal on another device"));
    }
    let always = ro_compat::SPARSE_SUPER | ro_compat::LARGE_FILE;
    Ok([compat, incompat, ro_compat | always])
}

fn checksums(base: &Superblock, ro_compat: u32) -> Checksums {
    if ro_compat & ro_compat::METADATA_CSUM != 0 {
        Checksums::All {
            seed: base.checksum_seed,
        }
    } else if ro_compat & ro_compat::GDT_CSUM != 0 {
        Checksums::Groups {
            seed: crc16(!0, &base.uuid),
        }
    } else {
        Checksums::None
    }
}
