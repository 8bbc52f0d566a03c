//! The superblock: what the file system is, and what a new one like it needs to know.

use super::super::fields::Fields;
use super::super::{BlockRead, ReadError};
use super::layout::{compat, incompat, ro_compat, superblock as field};
use super::{Checksums, PART, crc32c, damaged};

/// `1024 << 6`: no kernel supports larger blocks.
const MAX_LOG_BLOCK_SIZE: u32 = 6;
/// Extents and attribute blocks have 48 bits for a block's number.
const MAX_BLOCKS: u64 = 1 << 48;

/// A bit in one of the three sets of features.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Feature {
    Compat(u32),
    RoCompat(u32),
    Incompat(u32),
}

impl Feature {
    pub const SPARSE_SUPER2: Self = Self::Compat(compat::SPARSE_SUPER2);
    pub const SPARSE_SUPER: Self = Self::RoCompat(ro_compat::SPARSE_SUPER);
    pub const GDT_CSUM: Self = Self::RoCompat(ro_compat::GDT_CSUM);
    pub const BIGALLOC: Self = Self::RoCompat(ro_compat::BIGALLOC);
    pub const METADATA_CSUM: Self = Self::RoCompat(ro_compat::METADATA_CSUM);
    pub const FILETYPE: Self = Self::Incompat(incompat::FILETYPE);
    pub const RECOVER: Self = Self::Incompat(incompat::RECOVER);
    pub const META_BG: Self = Self::Incompat(incompat::META_BG);
    pub const BIT64: Self = Self::Incompat(incompat::BIT64);
    pub const EA_INODE: Self = Self::Incompat(incompat::EA_INODE);
    pub const LARGEDIR: Self = Self::Incompat(incompat::LARGEDIR);
}

/// Incompatible features that can be read. Encryption and case folding are among them: an inode that uses them is refused.
const READABLE: u32 = incompat::FILETYPE
    | incompat::RECOVER
    | incompat::META_BG
    | incompat::EXTENTS
    | incompat::BIT64
    | incompat::MMP
    | incompat::FLEX_BG
    | incompat::EA_INODE
    | incompat::CSUM_SEED
    | incompat::LARGEDIR
    | incompat::INLINE_DATA
    | incompat::ENCRYPT
    | incompat::CASEFOLD;

/// Hash function of the index of large directories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NameHash {
    /// `s_hash_seed`: four little-endian words.
    pub seed: [u8; 16],
    /// `s_def_hash_version`: 0 legacy, 1 half MD4, 2 TEA; 6 `SipHash`.
    pub version: u8,
    /// Bytes above 127 count as unsigned.
    pub unsigned: bool,
}

/// A superblock that was read and checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// All of its 1024 bytes.
    pub raw: Vec<u8>,
    /// Bytes of a block: 1024 to 65,536.
    pub(crate) block_size: u32,
    pub(crate) blocks: u64,
    /// 1 with blocks of 1024 bytes, else 0.
    pub(crate) first_data_block: u32,
    pub(crate) blocks_per_group: u32,
    /// Blocks of a cluster: 1 without `bigalloc`.
    pub(crate) blocks_per_cluster: u32,
    pub(crate) inodes: u32,
    pub(crate) inodes_per_group: u32,
    pub(crate) inode_size: u16,
    /// The first inode that is not reserved.
    pub(crate) first_inode: u32,
    pub(crate) descriptor_size: u16,
    pub(crate) groups: u32,
    /// Groups whose metadata lie together with `flex_bg`: a power of two.
    pub(crate) groups_per_flex: u32,
    /// Blocks kept free for the descriptors of later groups.
    pub(crate) reserved_gdt_blocks: u16,
    pub(crate) compat: u32,
    pub(crate) incompat: u32,
    pub(crate) ro_compat: u32,
    /// The UUID in the order of its text.
    pub(crate) uuid: [u8; 16],
    pub(crate) name_hash: NameHash,
    pub(crate) checksum_seed: u32,
    /// Blocks that only root can use.
    pub(crate) reserved_blocks: u64,
    pub(crate) revision: u32,
    /// Creation time of the file system, in seconds since 1970.
    pub(crate) made: u64,
    /// Inode of the journal; 0 for a journal on another device.
    pub(crate) journal_inode: u32,
}

impl Superblock {
    /// Returns whether `disk` has the magic number of ext2, ext3 and ext4.
    #[must_use]
    pub fn is_at(disk: &dyn BlockRead) -> bool {
        let mut magic = [0; 2];
        let offset = field::OFFSET + field::MAGIC as u64;
        disk.read_at(offset, &mut magic).is_ok() && u16::from_le_bytes(magic) == field::MAGIC_NUMBER
    }

    /// Reads the superblock at the start of a file system.
    ///
    /// # Errors
    /// The superblock is missing, contradicts itself or the size of the disk, or has an unknown feature.
    pub fn read(disk: &dyn BlockRead) -> Result<Self, ReadError> {
        Self::read_with(disk, Checksums::Verify)
    }

    pub(super) fn read_with(disk: &dyn BlockRead, checksums: Checksums) -> Result<Self, ReadError> {
        let mut raw = vec![0; field::LENGTH];
        disk.read_at(field::OFFSET, &mut raw)?;
        let superblock = Self::parse_with(&raw, checksums)?;
        let size = u128::from(superblock.blocks) * u128::from(superblock.block_size);
        if size > u128::from(disk.len()) {
            let problem = format!("it has {size} bytes, but its partition has {}", disk.len());
            return Err(damaged(problem));
        }
        Ok(superblock)
    }

    /// Parses the 1024 bytes of a superblock, whatever the disk it is on.
    ///
    /// # Errors
    /// As for [`Superblock::read`].
    pub fn parse(raw: &[u8]) -> Result<Self, ReadError> {
        Self::parse_with(raw, Checksums::Verify)
    }

    fn parse_with(raw: &[u8], checksums: Checksums) -> Result<Self, ReadError> {
        let fields = Fields(raw);
        if raw.len() != field::LENGTH || fields.le16(field::MAGIC) != field::MAGIC_NUMBER {
            return Err(damaged("the superblock is missing"));
        }
        check_features(fields.le32(field::INCOMPAT), fields.le32(field::RO_COMPAT))?;
        let log_block_size = fields.le32(field::LOG_BLOCK_SIZE);
        if log_block_size > MAX_LOG_BLOCK_SIZE {
            return Err(damaged(format!(
                "its blocks have 2^{} bytes",
                u64::from(log_block_size) + 10
            )));
        }
        let superblock = Self::from_fields(fields, 1024 << log_block_size);
        if checksums == Checksums::Verify {
            superblock.check_checksum()?;
        }
        superblock.check_geometry()?;
        Ok(superblock)
    }

    pub(crate) fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::Compat(bit) => self.compat & bit != 0,
            Feature::RoCompat(bit) => self.ro_compat & bit != 0,
            Feature::Incompat(bit) => self.incompat & bit != 0,
        }
    }

    /// Returns whether a group contains the superblock or a backup of it.
    pub(super) fn has_backup(&self, group: u64) -> bool {
        if self.has(Feature::SPARSE_SUPER2) {
            let fields = Fields(&self.raw);
            let backups = field::BACKUP_GROUPS.map(|at| u64::from(fields.le32(at)));
            return group == 0 || backups.contains(&group);
        }
        !self.has(Feature::SPARSE_SUPER) || has_sparse_backup(group)
    }

    fn from_fields(fields: Fields, block_size: u32) -> Self {
        let incompat = fields.le32(field::INCOMPAT);
        let ro_compat = fields.le32(field::RO_COMPAT);
        let is_wide = incompat & incompat::BIT64 != 0;
        let halves = |at| fields.le32_halves(at) & if is_wide { u64::MAX } else { u32::MAX.into() };
        let revision = fields.le32(field::REVISION);
        // The first revision had no fields for these.
        let (inode_size, first_inode) = match revision {
            0 => (128, 11),
            _ => (
                fields.le16(field::INODE_SIZE),
                fields.le32(field::FIRST_INODE),
            ),
        };
        let uuid = fields.array(field::UUID);
        let blocks = halves(field::BLOCKS);
        let first_data_block = fields.le32(field::FIRST_DATA_BLOCK);
        let blocks_per_group = fields.le32(field::BLOCKS_PER_GROUP);
        let log_cluster_blocks = fields
            .le32(field::LOG_CLUSTER_SIZE)
            .saturating_sub(fields.le32(field::LOG_BLOCK_SIZE));
        let log_groups_per_flex = u32::from(fields.u8(field::LOG_GROUPS_PER_FLEX));
        Self {
            raw: fields.0.to_vec(),
            block_size,
            blocks,
            first_data_block,
            blocks_per_group,
            blocks_per_cluster: match ro_compat & ro_compat::BIGALLOC {
                0 => 1,
                _ => 1 << log_cluster_blocks.min(31),
            },
            inodes: fields.le32(field::INODES),
            inodes_per_group: fields.le32(field::INODES_PER_GROUP),
            inode_size,
            first_inode,
            descriptor_size: if is_wide {
                fields.le16(field::DESCRIPTOR_SIZE)
            } else {
                32
            },
            groups: blocks
                .saturating_sub(first_data_block.into())
                .div_ceil(u64::from(blocks_per_group).max(1))
                .try_into()
                .unwrap_or(u32::MAX),
            groups_per_flex: 1 << log_groups_per_flex.min(31),
            reserved_gdt_blocks: fields.le16(field::RESERVED_GDT_BLOCKS),
            compat: fields.le32(field::COMPAT),
            incompat,
            ro_compat,
            uuid,
            name_hash: NameHash {
                seed: fields.array(field::HASH_SEED),
                version: fields.u8(field::HASH_VERSION),
                unsigned: fields.le32(field::FLAGS) & field::UNSIGNED_HASH != 0,
            },
            checksum_seed: match incompat & incompat::CSUM_SEED {
                0 => crc32c(!0, &uuid),
                _ => fields.le32(field::CHECKSUM_SEED),
            },
            reserved_blocks: halves(field::RESERVED_BLOCKS),
            revision,
            made: u64::from(fields.le32(field::MKFS_TIME))
                | u64::from(fields.u8(field::MKFS_TIME_HIGH)) << 32,
            journal_inode: fields.le32(field::JOURNAL_INODE),
        }
    }

    fn check_checksum(&self) -> Result<(), ReadError> {
        let stored = Fields(&self.raw).le32(field::CHECKSUM);
        let covered = self.raw.get(..field::CHECKSUM).unwrap_or_default();
        if self.has(Feature::METADATA_CSUM) && crc32c(!0, covered) != stored {
            return Err(damaged("the superblock's checksum is wrong"));
        }
        Ok(())
    }

    /// Checks the numbers that all others are computed from.
    fn check_geometry(&self) -> Result<(), ReadError> {
        let bits = self.block_size * 8;
        let per_group = u64::from(self.blocks_per_group);
        let inode_size = u32::from(self.inode_size);
        let descriptor = self.descriptor_size;
        let fields = Fields(&self.raw);
        let clusters_fit = self.has(Feature::BIGALLOC) || per_group <= u64::from(bits);
        let per_cluster = u64::from(self.blocks_per_cluster);
        let log_block_size = fields.le32(field::LOG_BLOCK_SIZE);
        let checks = [
            (
                self.blocks > self.first_data_block.into() && self.blocks <= MAX_BLOCKS,
                "the number of blocks",
            ),
            (self.first_data_block <= 1, "the first block"),
            (
                per_group >= 8 && clusters_fit && per_group / per_cluster <= u64::from(bits),
                "the size of a group",
            ),
            (self.groups != u32::MAX, "the number of groups"),
            (
                inode_size >= 128 && inode_size.is_power_of_two() && inode_size <= self.block_size,
                "the size of an inode",
            ),
            (
                self.inodes_per_group > 0 && self.inodes_per_group <= bits,
                "the number of inodes in a group",
            ),
            (
                u64::from(self.inodes) <= u64::from(self.groups) * u64::from(self.inodes_per_group),
                "the number of inodes",
            ),
            (
                self.first_inode >= 11 && self.first_inode <= self.inodes,
                "the first inode",
            ),
            (
                matches!(descriptor, 32..=1024)
                    && descriptor.is_power_of_two()
                    && (!self.has(Feature::BIT64) || descriptor >= 64),
                "the size of a group descriptor",
            ),
            (
                fields.u8(field::LOG_GROUPS_PER_FLEX) < 32,
                "the size of a flexible group",
            ),
            (
                fields.le32(field::LOG_CLUSTER_SIZE) <= log_block_size.saturating_add(20),
                "the size of a cluster",
            ),
        ];
        match checks.iter().find(|(good, _)| !good) {
            Some((_, what)) => Err(damaged(format!("the superblock is wrong about {what}"))),
            None => Ok(()),
        }
    }
}

fn check_features(incompat: u32, ro_compat: u32) -> Result<(), ReadError> {
    let named = [
        (incompat & incompat::COMPRESSION, "compressed files"),
        (
            incompat & incompat::JOURNAL_DEV,
            "no files: it is another file system's journal",
        ),
        (incompat & incompat::DIRDATA, "data in directories"),
        (
            ro_compat & ro_compat::SHARED_BLOCKS,
            "blocks that files share",
        ),
    ];
    let feature = match named.iter().find(|(bits, _)| *bits != 0) {
        Some((_, name)) => (*name).to_owned(),
        None if incompat & !READABLE != 0 => {
            format!("unknown features ({:#x})", incompat & !READABLE)
        }
        None => return Ok(()),
    };
    Err(ReadError::Unsupported {
        part: PART,
        feature,
        help: "make the root file system without it (`mke2fs -O`)",
    })
}

/// Returns whether a group has a copy of the superblock with `SPARSE_SUPER`: 0, 1, and powers of 3, 5 and 7.
pub(in crate::disk) fn has_sparse_backup(group: u64) -> bool {
    let is_power_of = |base: u64| {
        let mut rest = group;
        while rest.is_multiple_of(base) {
            rest /= base;
        }
        rest == 1
    };
    group <= 1 || [3, 5, 7].into_iter().any(is_power_of)
}
