//! An inode as it lies in its table.

use super::superblock::Superblock;
use super::{Feature, PART, crc32c, damaged};
use crate::disk::read::fields::Fields;
use crate::disk::read::{Flags, Kind, Metadata, ReadError, Time};

const SYNC: u32 = 0x8;
const IMMUTABLE: u32 = 0x10;
const APPEND: u32 = 0x20;
const NO_DUMP: u32 = 0x40;
const NO_ATIME: u32 = 0x80;
const ENCRYPTED: u32 = 0x800;
const INDEX: u32 = 0x1000;
const JOURNAL_DATA: u32 = 0x4000;
const NO_TAIL: u32 = 0x8000;
const DIR_SYNC: u32 = 0x1_0000;
const TOP_DIR: u32 = 0x2_0000;
const EXTENTS: u32 = 0x8_0000;
const VERITY: u32 = 0x10_0000;
const EA_INODE: u32 = 0x20_0000;
const DAX: u32 = 0x200_0000;
const INLINE: u32 = 0x1000_0000;
const PROJECT_INHERIT: u32 = 0x2000_0000;
const CASEFOLD: u32 = 0x4000_0000;

/// Every inode has these.
const BASE: usize = 128;
/// Where the map of blocks is, or what is kept in its place.
const MAP: usize = 0x28;
const MAP_LENGTH: usize = 60;

/// An inode.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub number: u32,
    raw: Vec<u8>,
    pub kind: Kind,
    pub size: u64,
    /// Where the seed of checksums for what belongs to it starts.
    pub seed: u32,
    fast_link: bool,
}

impl Node {
    /// Reads the bytes of inode `number`.
    pub fn parse(
        number: u32,
        raw: Vec<u8>,
        superblock: &Superblock,
        verify: bool,
    ) -> Result<Self, ReadError> {
        let fields = Fields(&raw);
        let mode = fields.le16(0);
        let (Some(kind), 1..) = (Kind::from_mode(mode), fields.le16(0x1a)) else {
            return Err(damaged(format!("inode {number} is not in use")));
        };
        let seed = crc32c(superblock.checksum_seed, &number.to_le_bytes());
        let seed = crc32c(seed, fields.bytes(0x64, 4));
        let extra = usize::from(fields.le16(0x80));
        if raw.len() > BASE && (!extra.is_multiple_of(4) || BASE + extra > raw.len()) {
            return Err(damaged(format!("inode {number} has {extra} extra bytes")));
        }
        let wide = kind == Kind::File || superblock.has(Feature::LARGEDIR);
        let high = if wide {
            u64::from(fields.le32(0x6c)) << 32
        } else {
            0
        };
        let mut node = Self {
            number,
            size: u64::from(fields.le32(4)) | high,
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
        if verify && superblock.has(Feature::METADATA_CSUM) && !node.checksum_is_right() {
            return Err(damaged(format!("the checksum of inode {number} is wrong")));
        }
        Ok(node)
    }

    fn fields(&self) -> Fields<'_> {
        Fields(&self.raw)
    }

    fn extra(&self) -> usize {
        if self.raw.len() > BASE {
            usize::from(self.fields().le16(0x80))
        } else {
            0
        }
    }

    fn checksum_is_right(&self) -> bool {
        let has_high = self.extra() >= 4;
        let mut covered = self.raw.clone();
        let mut clear = |at: usize| {
            if let Some(place) = covered.get_mut(at..at + 2) {
                place.fill(0);
            }
        };
        clear(0x7c);
        if has_high {
            clear(0x82);
        }
        let checksum = crc32c(self.seed, &covered).to_le_bytes();
        let stored = self.fields();
        checksum[..2] == stored.array::<2>(0x7c)
            && (!has_high || checksum[2..] == stored.array::<2>(0x82))
    }

    fn flag(&self, flag: u32) -> bool {
        self.fields().le32(0x20) & flag != 0
    }

    /// Kept in the inode, with the rest in an attribute.
    pub fn is_inline(&self) -> bool {
        self.flag(INLINE)
    }

    pub fn has_extents(&self) -> bool {
        self.flag(EXTENTS)
    }

    pub fn has_index(&self) -> bool {
        self.flag(INDEX)
    }

    /// It is the value of an attribute.
    pub fn is_attribute(&self) -> bool {
        self.flag(EA_INODE)
    }

    /// A link whose target is where others have their map.
    pub fn is_fast(&self) -> bool {
        self.fast_link
    }

    fn is_fast_link(&self, superblock: &Superblock) -> bool {
        let attribute_sectors = match self.attribute_block() {
            0 => 0,
            _ => u64::from(superblock.block_size) * u64::from(superblock.blocks_per_cluster) / 512,
        };
        let sectors = u64::from(self.fields().le32(0x1c));
        // The sectors of attributes in inodes of their own are counted, too: with those only the size tells.
        let no_blocks = superblock.has(Feature::EA_INODE) || sectors == attribute_sectors;
        let fits = self.size < MAP_LENGTH as u64;
        self.kind == Kind::Link && fits && no_blocks && !self.flag(INLINE | EXTENTS)
    }

    /// The map of its blocks, or what is kept in its place.
    pub fn map(&self) -> &[u8] {
        self.fields().bytes(MAP, MAP_LENGTH)
    }

    /// The room for attributes after the inode's own fields.
    pub fn attribute_room(&self) -> &[u8] {
        match self.extra() {
            0 => &[],
            extra => self.raw.get(BASE + extra..).unwrap_or_default(),
        }
    }

    /// The block with more attributes; 0 if there is none.
    pub fn attribute_block(&self) -> u64 {
        u64::from(self.fields().le32(0x68)) | u64::from(self.fields().le16(0x76)) << 32
    }

    /// The hash of an attribute's value that is an inode of its own, kept where others have their access time.
    pub fn attribute_hash(&self) -> u32 {
        self.fields().le32(8)
    }

    /// Content that a key is needed for is not read.
    pub fn require_plain(&self) -> Result<(), ReadError> {
        if self.flag(ENCRYPTED) {
            return Err(ReadError::Unsupported {
                part: PART,
                feature: format!("encrypted files (inode {})", self.number),
                help: "keep what is encrypted by fscrypt out of an image: its key would have to be in there, too",
            });
        }
        Ok(())
    }

    fn time(&self, at: usize, extra: usize) -> Time {
        let fields = self.fields();
        let seconds = i64::from(fields.le32(at).cast_signed());
        if extra + 4 > BASE + self.extra() {
            return Time {
                seconds,
                nanoseconds: 0,
            };
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
        let id = |low, high| u32::from(fields.le16(low)) | u32::from(fields.le16(high)) << 16;
        let reaches = |end: usize| end <= BASE + self.extra();
        Metadata {
            kind: self.kind,
            mode: fields.le16(0) & 0xfff,
            uid: id(2, 0x78),
            gid: id(0x18, 0x7a),
            size: self.size,
            links: fields.le16(0x1a).into(),
            atime: self.time(8, 0x8c),
            mtime: self.time(0x10, 0x88),
            ctime: self.time(0xc, 0x84),
            crtime: reaches(0x94).then(|| self.time(0x90, 0x94)),
            rdev: matches!(self.kind, Kind::CharDevice | Kind::BlockDevice).then(|| self.device()),
            flags: self.flags(),
            project: if reaches(0xa0) { fields.le32(0x9c) } else { 0 },
        }
    }

    fn flags(&self) -> Flags {
        Flags {
            immutable: self.flag(IMMUTABLE),
            append: self.flag(APPEND),
            no_dump: self.flag(NO_DUMP),
            no_atime: self.flag(NO_ATIME),
            sync: self.flag(SYNC),
            dir_sync: self.flag(DIR_SYNC),
            journal_data: self.flag(JOURNAL_DATA),
            casefold: self.flag(CASEFOLD),
            project_inherit: self.flag(PROJECT_INHERIT),
            verity: self.flag(VERITY),
            dax: self.flag(DAX),
            top_dir: self.flag(TOP_DIR),
            no_tail: self.flag(NO_TAIL),
        }
    }
}
