//! The superblock: what the file system is, and what a new one like it needs to know.

use super::super::fields::Fields;
use super::super::{BlockRead, ReadError};
use super::{PART, crc32c, damaged};

/// Where it is, whatever the block size.
const OFFSET: u64 = 1024;
const LENGTH: usize = 1024;
const MAGIC: u16 = 0xef53;
/// `1024 << 6`: no kernel has larger blocks.
const MOST_BLOCK_SHIFT: u32 = 6;
/// Extents and attribute blocks have 48 bits for a block's number.
const MOST_BLOCKS: u64 = 1 << 48;
/// The checksum's place, and so the length of what it covers.
const CHECKSUM: usize = 1020;

/// A bit in one of the three sets of features.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Feature {
    /// A kernel that does not know it may read and write all the same.
    Compat(u32),
    /// A kernel that does not know it may only read.
    ReadOnly(u32),
    /// A kernel that does not know it must leave the file system alone.
    Incompat(u32),
}

impl Feature {
    /// A journal.
    pub const HAS_JOURNAL: Self = Self::Compat(0x4);
    /// Backups of the superblock in two groups only.
    pub const SPARSE_SUPER2: Self = Self::Compat(0x200);
    /// Backups of the superblock in few groups.
    pub const SPARSE_SUPER: Self = Self::ReadOnly(0x1);
    /// CRC-16 checksums of group descriptors.
    pub const GDT_CSUM: Self = Self::ReadOnly(0x10);
    /// Blocks are given out in clusters.
    pub const BIGALLOC: Self = Self::ReadOnly(0x200);
    /// CRC-32C checksums of everything but data.
    pub const METADATA_CSUM: Self = Self::ReadOnly(0x400);
    /// Files share blocks.
    pub const SHARED_BLOCKS: Self = Self::ReadOnly(0x4000);
    /// Directories say what kind their entries are of.
    pub const FILETYPE: Self = Self::Incompat(0x2);
    /// The journal has what is not on the disk yet.
    pub const RECOVER: Self = Self::Incompat(0x4);
    /// It is a journal for another file system.
    pub const JOURNAL_DEV: Self = Self::Incompat(0x8);
    /// Group descriptors are kept with their groups.
    pub const META_BG: Self = Self::Incompat(0x10);
    /// Files are mapped by extents.
    pub const EXTENTS: Self = Self::Incompat(0x40);
    /// Numbers of blocks have more than 32 bits.
    pub const BIT64: Self = Self::Incompat(0x80);
    /// Large attributes are in inodes of their own.
    pub const EA_INODE: Self = Self::Incompat(0x400);
    /// The seed of checksums is in the superblock.
    pub const CSUM_SEED: Self = Self::Incompat(0x2000);
    /// Directories beyond 2 GiB and of three levels.
    pub const LARGEDIR: Self = Self::Incompat(0x4000);
    /// Small files and directories are in their inodes.
    pub const INLINE_DATA: Self = Self::Incompat(0x8000);
    /// Names may be compared without case.
    pub const CASEFOLD: Self = Self::Incompat(0x2_0000);
}

/// What is incompatible and can be read: the above, multiple mount protection, `flex_bg`, and encryption, as long as nothing
/// that is read is encrypted.
const READABLE: u32 = 0x2
    | 0x4
    | 0x10
    | 0x40
    | 0x80
    | 0x100
    | 0x200
    | 0x400
    | 0x2000
    | 0x4000
    | 0x8000
    | 0x1_0000
    | 0x2_0000;

/// How names are hashed for the index of large directories.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameHash {
    /// `s_hash_seed` as it lies on the disk, four little-endian words.
    pub seed: [u8; 16],
    /// `s_def_hash_version`: 0 legacy, 1 half MD4, 2 TEA; 6 `SipHash`.
    pub version: u8,
    /// Letters above 127 are taken as unsigned.
    pub unsigned: bool,
}

/// What a superblock says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// Its bytes, all 1024, for whatever is not below.
    pub raw: Vec<u8>,
    /// Bytes of a block: 1024 to 65,536.
    pub block_size: u32,
    /// Blocks.
    pub blocks: u64,
    /// 1 with blocks of 1024 bytes, else 0.
    pub first_data_block: u32,
    /// Blocks of a group.
    pub blocks_per_group: u32,
    /// Blocks of a cluster: 1 without `bigalloc`.
    pub blocks_per_cluster: u32,
    /// Inodes.
    pub inodes: u32,
    /// Inodes of a group.
    pub inodes_per_group: u32,
    /// Bytes of an inode.
    pub inode_size: u16,
    /// The first inode that is not reserved.
    pub first_inode: u32,
    /// Bytes that new inodes have beyond the first 128.
    pub want_extra_isize: u16,
    /// Bytes of a group descriptor.
    pub descriptor_size: u16,
    /// Groups.
    pub groups: u32,
    /// Groups that lie together with `flex_bg`: a power of two.
    pub groups_per_flex: u32,
    /// Blocks kept free for descriptors of groups to come.
    pub reserved_gdt_blocks: u16,
    /// `s_feature_compat`.
    pub compat: u32,
    /// `s_feature_incompat`.
    pub incompat: u32,
    /// `s_feature_ro_compat`.
    pub ro_compat: u32,
    /// The UUID in the order of its text.
    pub uuid: [u8; 16],
    /// The label without its zeros.
    pub label: Vec<u8>,
    /// How names are hashed.
    pub name_hash: NameHash,
    /// Seed of checksums.
    pub checksum_seed: u32,
    /// `s_default_mount_opts`.
    pub default_mount_options: u32,
    /// `s_mount_opts`: text, without its zeros.
    pub mount_options: Vec<u8>,
    /// Blocks that only root can use.
    pub reserved_blocks: u64,
    /// `s_def_resuid` and `s_def_resgid`: who else can use them.
    pub reserved_for: (u16, u16),
    /// `s_errors`: 1 continue, 2 remount read-only, 3 panic.
    pub errors: u16,
    /// `s_creator_os` and `s_rev_level`.
    pub creator: (u32, u32),
    /// `s_mkfs_time` in seconds since 1970.
    pub made: u64,
    /// The journal's inode, if it is inside.
    pub journal_inode: u32,
}

impl Superblock {
    /// Whether `disk` starts like an ext2, ext3 or ext4 file system.
    #[must_use]
    pub fn is_at(disk: &dyn BlockRead) -> bool {
        let mut magic = [0; 2];
        disk.read_at(OFFSET + 0x38, &mut magic).is_ok() && u16::from_le_bytes(magic) == MAGIC
    }

    /// Reads the superblock at the start of a file system.
    ///
    /// # Errors
    /// There is none, it contradicts itself or the size of the disk, or it has a feature that is not known.
    pub fn read(disk: &dyn BlockRead) -> Result<Self, ReadError> {
        Self::read_with(disk, true)
    }

    pub(super) fn read_with(disk: &dyn BlockRead, verify: bool) -> Result<Self, ReadError> {
        let mut raw = vec![0; LENGTH];
        disk.read_at(OFFSET, &mut raw)?;
        let superblock = Self::parse_with(&raw, verify)?;
        let size = u128::from(superblock.blocks) * u128::from(superblock.block_size);
        if size > u128::from(disk.len()) {
            let problem = format!("it has {size} bytes, but its partition has {}", disk.len());
            return Err(damaged(problem));
        }
        Ok(superblock)
    }

    /// Reads the 1024 bytes of a superblock, whatever the disk it is on.
    ///
    /// # Errors
    /// As for [`Superblock::read`].
    pub fn parse(raw: &[u8]) -> Result<Self, ReadError> {
        Self::parse_with(raw, true)
    }

    fn parse_with(raw: &[u8], verify: bool) -> Result<Self, ReadError> {
        let fields = Fields(raw);
        if raw.len() != LENGTH || fields.le16(0x38) != MAGIC {
            return Err(damaged("there is no superblock"));
        }
        let incompat = fields.le32(0x60);
        unknown_features(incompat, fields.le32(0x64))?;
        let shift = fields.le32(0x18);
        if shift > MOST_BLOCK_SHIFT {
            return Err(damaged(format!(
                "its blocks have 2^{} bytes",
                u64::from(shift) + 10
            )));
        }
        let superblock = Self::from_fields(fields, 1024 << shift);
        if verify {
            superblock.check_checksum()?;
        }
        superblock.check_geometry()?;
        Ok(superblock)
    }

    /// Whether it has a feature.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::Compat(bit) => self.compat & bit != 0,
            Feature::ReadOnly(bit) => self.ro_compat & bit != 0,
            Feature::Incompat(bit) => self.incompat & bit != 0,
        }
    }

    /// Whether a group has a backup of the superblock, or the superblock.
    #[must_use]
    pub fn has_backup(&self, group: u64) -> bool {
        if self.has(Feature::SPARSE_SUPER2) {
            let fields = Fields(&self.raw);
            let backups = [fields.le32(0x24c), fields.le32(0x250)];
            return group == 0 || backups.iter().any(|backup| u64::from(*backup) == group);
        }
        if group <= 1 || !self.has(Feature::SPARSE_SUPER) {
            return true;
        }
        [3, 5, 7].into_iter().any(|base| is_power(group, base))
    }

    fn from_fields(fields: Fields, block_size: u32) -> Self {
        let (compat, incompat, ro_compat) =
            (fields.le32(0x5c), fields.le32(0x60), fields.le32(0x64));
        let wide = incompat & 0x80 != 0;
        let high = |at| {
            if wide {
                u64::from(fields.le32(at)) << 32
            } else {
                0
            }
        };
        // The first revision had no fields for these.
        let old = fields.le32(0x4c) == 0;
        let uuid = fields.array(0x68);
        let blocks = u64::from(fields.le32(4)) | high(0x150);
        let (first_data_block, blocks_per_group) = (fields.le32(0x14), fields.le32(0x20));
        Self {
            raw: fields.0.to_vec(),
            block_size,
            blocks,
            first_data_block,
            blocks_per_group,
            blocks_per_cluster: match ro_compat & 0x200 {
                0 => 1,
                _ => 1 << fields.le32(0x1c).saturating_sub(fields.le32(0x18)).min(31),
            },
            inodes: fields.le32(0),
            inodes_per_group: fields.le32(0x28),
            inode_size: if old { 128 } else { fields.le16(0x58) },
            first_inode: if old { 11 } else { fields.le32(0x54) },
            want_extra_isize: fields.le16(0x15e),
            descriptor_size: if wide { fields.le16(0xfe) } else { 32 },
            groups: blocks
                .saturating_sub(first_data_block.into())
                .div_ceil(u64::from(blocks_per_group).max(1))
                .try_into()
                .unwrap_or(u32::MAX),
            groups_per_flex: 1 << u32::from(fields.u8(0x174)).min(31),
            reserved_gdt_blocks: fields.le16(0xce),
            compat,
            incompat,
            ro_compat,
            uuid,
            label: text(fields.bytes(0x78, 16)),
            name_hash: NameHash {
                seed: fields.array(0xec),
                version: fields.u8(0xfc),
                unsigned: fields.le32(0x160) & 2 != 0,
            },
            checksum_seed: match incompat & 0x2000 {
                0 => crc32c(!0, &uuid),
                _ => fields.le32(0x270),
            },
            default_mount_options: fields.le32(0x100),
            mount_options: text(fields.bytes(0x200, 64)),
            reserved_blocks: u64::from(fields.le32(8)) | high(0x154),
            reserved_for: (fields.le16(0x50), fields.le16(0x52)),
            errors: fields.le16(0x3c),
            creator: (fields.le32(0x48), fields.le32(0x4c)),
            made: u64::from(fields.le32(0x108)) | u64::from(fields.u8(0x276)) << 32,
            journal_inode: fields.le32(0xe0),
        }
    }

    fn check_checksum(&self) -> Result<(), ReadError> {
        let stored = Fields(&self.raw).le32(CHECKSUM);
        let covered = self.raw.get(..CHECKSUM).unwrap_or_default();
        if self.has(Feature::METADATA_CSUM) && crc32c(!0, covered) != stored {
            return Err(damaged("the superblock's checksum is wrong"));
        }
        Ok(())
    }

    /// What everything else is computed with.
    fn check_geometry(&self) -> Result<(), ReadError> {
        let bits = self.block_size * 8;
        let per_group = u64::from(self.blocks_per_group);
        let inode_size = u32::from(self.inode_size);
        let descriptor = self.descriptor_size;
        let raw = Fields(&self.raw);
        let clusters_fit = self.has(Feature::BIGALLOC) || per_group <= u64::from(bits);
        let per_cluster = u64::from(self.blocks_per_cluster);
        let good = [
            (
                self.blocks > self.first_data_block.into() && self.blocks <= MOST_BLOCKS,
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
                matches!(descriptor, 32..=1024) && descriptor.is_power_of_two(),
                "the size of a group descriptor",
            ),
            (
                !self.has(Feature::BIT64) || descriptor >= 64,
                "the size of a group descriptor",
            ),
            (raw.u8(0x174) < 32, "the size of a flexible group"),
            (
                raw.le32(0x1c) <= raw.le32(0x18).saturating_add(20),
                "the size of a cluster",
            ),
        ];
        match good.iter().find(|(good, _)| !good) {
            Some((_, what)) => Err(damaged(format!("the superblock is wrong about {what}"))),
            None => Ok(()),
        }
    }
}

fn unknown_features(incompat: u32, ro_compat: u32) -> Result<(), ReadError> {
    let named = [
        (incompat & 0x1, "compressed files"),
        (
            incompat & 0x8,
            "no files: it is another file system's journal",
        ),
        (incompat & 0x1000, "data in directories"),
        (ro_compat & 0x4000, "blocks that files share"),
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

fn is_power(mut number: u64, base: u64) -> bool {
    while number > 0 && number.is_multiple_of(base) {
        number /= base;
    }
    number == 1
}

/// Text that zeros fill up.
fn text(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes
        .get(..end.unwrap_or(bytes.len()))
        .unwrap_or_default()
        .to_vec()
}
