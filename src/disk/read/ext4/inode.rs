//! Inodes as they are stored in their tables.

use super::super::fields::Fields;
use super::super::{FileFlags, FileType, Metadata, ReadError, Time};
use super::layout::inode as field;
use super::layout::inode_flags as flag;
use super::superblock::Superblock;
use super::{Checksums, Feature, PART, crc32c, damaged};

/// An inode that was read and checked.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub number: u32,
    raw: Vec<u8>,
    pub kind: FileType,
    pub size: u64,
    /// Seed of the checksums of everything that belongs to the inode.
    pub seed: u32,
    fast_link: bool,
}

impl Node {
    pub fn parse(
        number: u32,
        raw: Vec<u8>,
        superblock: &Superblock,
        checksums: Checksums,
    ) -> Result<Self, ReadError> {
        let fields = Fields(&raw);
        let mode = fields.le16(field::MODE);
        let (Some(kind), 1..) = (FileType::from_mode(mode), fields.le16(field::LINKS)) else {
            return Err(damaged(format!("inode {number} is not in use")));
        };
        let seed = crc32c(superblock.checksum_seed, &number.to_le_bytes());
        let seed = crc32c(seed, fields.bytes(field::GENERATION, 4));
        let extra = usize::from(fields.le16(field::EXTRA_SIZE));
        let has_extra = raw.len() > field::BASE_LENGTH;
        if has_extra && (!extra.is_multiple_of(4) || field::BASE_LENGTH + extra > raw.len()) {
            return Err(damaged(format!("inode {number} has {extra} extra bytes")));
        }
        let is_wide = kind == FileType::File || superblock.has(Feature::LARGEDIR);
        let mut node = Self {
            number,
            size: if is_wide {
                fields.le32_halves(field::SIZE)
            } else {
                fields.le32(field::SIZE[0]).into()
            },
            kind,
            seed,
            fast_link: false,
            raw,
        };
        node.fast_link = node.is_fast_link(superblock);
        // Blocks of a file are counted with 32 bits. A hole of this size still costs hours to hash, but nothing larger does.
        if node.size > u64::from(superblock.block_size) << 32 {
            return Err(damaged(format!("inode {number} has {} bytes", node.size)));
        }
        let verify = checksums == Checksums::Verify && superblock.has(Feature::METADATA_CSUM);
        if verify && !node.checksum_is_right() {
            return Err(damaged(format!("the checksum of inode {number} is wrong")));
        }
        Ok(node)
    }

    fn fields(&self) -> Fields<'_> {
        Fields(&self.raw)
    }

    fn extra(&self) -> usize {
        if self.raw.len() > field::BASE_LENGTH {
            usize::from(self.fields().le16(field::EXTRA_SIZE))
        } else {
            0
        }
    }

    /// Returns whether the inode has all fields up to this offset.
    fn reaches(&self, end: usize) -> bool {
        end <= field::BASE_LENGTH + self.extra()
    }

    fn checksum_is_right(&self) -> bool {
        let halves = if self.extra() >= 4 { 2 } else { 1 };
        let halves = field::CHECKSUM.into_iter().take(halves);
        let mut covered = self.raw.clone();
        for at in halves.clone() {
            if let Some(checksum) = covered.get_mut(at..at + 2) {
                checksum.fill(0);
            }
        }
        let checksum = crc32c(self.seed, &covered).to_le_bytes();
        let mut halves = halves.zip(checksum.chunks(2));
        halves.all(|(at, half)| self.fields().bytes(at, 2) == half)
    }

    fn has_flag(&self, flag: u32) -> bool {
        self.fields().le32(field::FLAGS) & flag != 0
    }

    /// Returns whether the content is in the inode, and its rest in an attribute.
    pub fn is_inline(&self) -> bool {
        self.has_flag(flag::INLINE)
    }

    pub fn has_extents(&self) -> bool {
        self.has_flag(flag::EXTENTS)
    }

    pub fn has_index(&self) -> bool {
        self.has_flag(flag::INDEX)
    }

    /// Returns whether the inode is the value of an extended attribute.
    pub fn is_attribute(&self) -> bool {
        self.has_flag(flag::EA_INODE)
    }

    /// Returns whether the inode is a link with its target in place of the map.
    pub fn is_fast(&self) -> bool {
        self.fast_link
    }

    fn is_fast_link(&self, superblock: &Superblock) -> bool {
        let attribute_sectors = match self.attribute_block() {
            0 => 0,
            _ => u64::from(superblock.block_size) * u64::from(superblock.blocks_per_cluster) / 512,
        };
        let sectors = u64::from(self.fields().le32(field::SECTORS[0]));
        // The sectors of attributes in inodes of their own are counted, too: with those only the size tells.
        let no_blocks = superblock.has(Feature::EA_INODE) || sectors == attribute_sectors;
        let fits = self.size < field::MAP_LENGTH as u64;
        self.kind == FileType::Link
            && fits
            && no_blocks
            && !self.has_flag(flag::INLINE | flag::EXTENTS)
    }

    /// Returns the map of blocks, or the content that is kept in its place.
    pub fn map(&self) -> &[u8] {
        self.fields().bytes(field::MAP, field::MAP_LENGTH)
    }

    /// Returns the bytes after the inode's own fields, which can contain attributes.
    pub fn attribute_area(&self) -> &[u8] {
        match self.extra() {
            0 => &[],
            extra => self
                .raw
                .get(field::BASE_LENGTH + extra..)
                .unwrap_or_default(),
        }
    }

    /// Returns the number of the block with more attributes, or 0.
    pub fn attribute_block(&self) -> u64 {
        self.fields().le48(field::XATTR_BLOCK)
    }

    /// Returns the hash of the attribute value in this inode, which is stored in place of the access time.
    pub fn attribute_hash(&self) -> u32 {
        self.fields().le32(field::ATIME[0])
    }

    /// Fails if the content is encrypted, or is a directory whose names the kernel does not compare byte for byte.
    pub fn require_plain(&self) -> Result<(), ReadError> {
        let number = self.number;
        let (feature, help) = if self.has_flag(flag::ENCRYPTED) {
            (
                format!("encrypted files (inode {number})"),
                "keep files that fscrypt encrypts out of an image: it would have to contain their key, too",
            )
        } else if self.kind == FileType::Directory && self.has_flag(flag::CASEFOLD) {
            (
                format!("a directory that ignores the case of names (inode {number})"),
                "two names could stand for one file there: make the directory without `chattr +F`",
            )
        } else {
            return Ok(());
        };
        Err(ReadError::Unsupported {
            part: PART,
            feature,
            help,
        })
    }

    fn time(&self, [at, extra]: [usize; 2]) -> Time {
        let fields = self.fields();
        let seconds = i64::from(fields.le32(at).cast_signed());
        if !self.reaches(extra + 4) {
            return Time::from_seconds(seconds);
        }
        // Two bits continue the seconds, which start with a sign.
        let more = fields.le32(extra);
        Time {
            seconds: seconds + (i64::from(more & 3) << 32),
            nanoseconds: more >> 2,
        }
    }

    fn device(&self) -> (u32, u32) {
        let (old, new) = (Fields(self.map()).le32(0), Fields(self.map()).le32(4));
        match old {
            0 => ((new >> 8) & 0xfff, (new & 0xff) | ((new >> 12) & 0xf_ff00)),
            _ => ((old >> 8) & 0xff, old & 0xff),
        }
    }

    pub fn metadata(&self) -> Metadata {
        let fields = self.fields();
        let has_crtime = self.reaches(field::CRTIME[1]);
        Metadata {
            kind: self.kind,
            mode: fields.le16(field::MODE) & 0xfff,
            uid: fields.le16_halves(field::UID),
            gid: fields.le16_halves(field::GID),
            size: self.size,
            links: fields.le16(field::LINKS).into(),
            atime: self.time(field::ATIME),
            mtime: self.time(field::MTIME),
            ctime: self.time(field::CTIME),
            crtime: has_crtime.then(|| self.time(field::CRTIME)),
            rdev: matches!(self.kind, FileType::CharDevice | FileType::BlockDevice)
                .then(|| self.device()),
            flags: FileFlags::from_bits(fields.le32(field::FLAGS)),
            project: if self.reaches(field::PROJECT + 4) {
                fields.le32(field::PROJECT)
            } else {
                0
            },
        }
    }
}
