//! On-disk layout of ext2, ext3 and ext4, for the reader and the writer: offsets of fields, flags and features.
//!
//! Source: Documentation/filesystems/ext4 of Linux; names are the kernel's without their prefixes. Two offsets are those of the
//! low and the high half of a number, or of the seconds of a time and what the format got later for it.

use super::super::FileType;

pub(in crate::disk) mod superblock {
    /// Offset in the file system, whatever the block size.
    pub const OFFSET: u64 = 1024;
    pub const LENGTH: usize = 1024;
    pub const MAGIC_NUMBER: u16 = 0xef53;

    pub const INODES: usize = 0x0;
    pub const BLOCKS: [usize; 2] = [0x4, 0x150];
    pub const RESERVED_BLOCKS: [usize; 2] = [0x8, 0x154];
    pub const FREE_BLOCKS: [usize; 2] = [0xc, 0x158];
    pub const FREE_INODES: usize = 0x10;
    pub const FIRST_DATA_BLOCK: usize = 0x14;
    pub const LOG_BLOCK_SIZE: usize = 0x18;
    pub const LOG_CLUSTER_SIZE: usize = 0x1c;
    pub const BLOCKS_PER_GROUP: usize = 0x20;
    pub const CLUSTERS_PER_GROUP: usize = 0x24;
    pub const INODES_PER_GROUP: usize = 0x28;
    pub const WRITE_TIME: usize = 0x30;
    pub const MAX_MOUNTS: usize = 0x36;
    pub const MAGIC: usize = 0x38;
    pub const STATE: usize = 0x3a;
    pub const ERRORS: usize = 0x3c;
    pub const MINOR_REVISION: usize = 0x3e;
    pub const CHECK_TIME: usize = 0x40;
    pub const CHECK_INTERVAL: usize = 0x44;
    pub const REVISION: usize = 0x4c;
    pub const RESERVED_UID: usize = 0x50;
    pub const FIRST_INODE: usize = 0x54;
    pub const INODE_SIZE: usize = 0x58;
    /// Group that this copy of the superblock is in.
    pub const GROUP: usize = 0x5a;
    pub const COMPAT: usize = 0x5c;
    pub const INCOMPAT: usize = 0x60;
    pub const RO_COMPAT: usize = 0x64;
    pub const UUID: usize = 0x68;
    pub const RESERVED_GDT_BLOCKS: usize = 0xce;
    pub const JOURNAL_INODE: usize = 0xe0;
    pub const HASH_SEED: usize = 0xec;
    pub const HASH_VERSION: usize = 0xfc;
    /// 1 if `JOURNAL_BLOCKS` and the sizes after it are a copy of the journal's inode.
    pub const JOURNAL_BACKUP: usize = 0xfd;
    pub const DESCRIPTOR_SIZE: usize = 0xfe;
    pub const DEFAULT_MOUNT_OPTIONS: usize = 0x100;
    pub const FIRST_META_GROUP: usize = 0x104;
    pub const MKFS_TIME: usize = 0x108;
    pub const JOURNAL_BLOCKS: usize = 0x10c;
    pub const JOURNAL_SIZE: [usize; 2] = [0x14c, 0x148];
    pub const MIN_EXTRA_SIZE: usize = 0x15c;
    pub const FLAGS: usize = 0x160;
    pub const RAID_STRIDE: usize = 0x164;
    pub const RAID_STRIPE_WIDTH: usize = 0x170;
    pub const LOG_GROUPS_PER_FLEX: usize = 0x174;
    pub const CHECKSUM_TYPE: usize = 0x175;
    pub const MOUNT_OPTIONS: usize = 0x200;
    /// The two groups with backups of the superblock, with `SPARSE_SUPER2`.
    pub const BACKUP_GROUPS: [usize; 2] = [0x24c, 0x250];
    pub const CHECKSUM_SEED: usize = 0x270;
    pub const MKFS_TIME_HIGH: usize = 0x276;
    pub const ORPHAN_INODE: usize = 0x280;
    pub const CHECKSUM: usize = 0x3fc;

    /// Bits of `FLAGS`: how bytes beyond ASCII are hashed.
    pub const SIGNED_HASH: u32 = 0x1;
    pub const UNSIGNED_HASH: u32 = 0x2;
}

/// Features that a kernel may ignore.
pub(in crate::disk) mod compat {
    pub const DIR_PREALLOC: u32 = 0x1;
    pub const HAS_JOURNAL: u32 = 0x4;
    pub const EXT_ATTR: u32 = 0x8;
    pub const RESIZE_INODE: u32 = 0x10;
    pub const DIR_INDEX: u32 = 0x20;
    pub const LAZY_BG: u32 = 0x40;
    pub const EXCLUDE_INODE: u32 = 0x80;
    pub const EXCLUDE_BITMAP: u32 = 0x100;
    pub const SPARSE_SUPER2: u32 = 0x200;
    pub const FAST_COMMIT: u32 = 0x400;
    pub const ORPHAN_FILE: u32 = 0x1000;
}

/// Features that a kernel must know to read.
pub(in crate::disk) mod incompat {
    pub const COMPRESSION: u32 = 0x1;
    pub const FILETYPE: u32 = 0x2;
    /// The journal has to be replayed.
    pub const RECOVER: u32 = 0x4;
    pub const JOURNAL_DEV: u32 = 0x8;
    pub const META_BG: u32 = 0x10;
    pub const EXTENTS: u32 = 0x40;
    pub const BIT64: u32 = 0x80;
    pub const MMP: u32 = 0x100;
    pub const FLEX_BG: u32 = 0x200;
    pub const EA_INODE: u32 = 0x400;
    pub const DIRDATA: u32 = 0x1000;
    pub const CSUM_SEED: u32 = 0x2000;
    pub const LARGEDIR: u32 = 0x4000;
    pub const INLINE_DATA: u32 = 0x8000;
    pub const ENCRYPT: u32 = 0x1_0000;
    pub const CASEFOLD: u32 = 0x2_0000;
}

/// Features that a kernel must know to write.
pub(in crate::disk) mod ro_compat {
    pub const SPARSE_SUPER: u32 = 0x1;
    pub const LARGE_FILE: u32 = 0x2;
    pub const BTREE_DIR: u32 = 0x4;
    pub const HUGE_FILE: u32 = 0x8;
    /// CRC-16 checksums of group descriptors.
    pub const GDT_CSUM: u32 = 0x10;
    pub const DIR_NLINK: u32 = 0x20;
    pub const EXTRA_ISIZE: u32 = 0x40;
    pub const BIGALLOC: u32 = 0x200;
    /// CRC-32C checksums of all metadata.
    pub const METADATA_CSUM: u32 = 0x400;
    pub const REPLICA: u32 = 0x800;
    pub const READONLY: u32 = 0x1000;
    pub const SHARED_BLOCKS: u32 = 0x4000;
    pub const VERITY: u32 = 0x8000;
    pub const ORPHAN_PRESENT: u32 = 0x1_0000;
}

pub(in crate::disk) mod descriptor {
    /// Size from which on a descriptor has the high halves.
    pub const WIDE_LENGTH: usize = 64;

    pub const BLOCK_BITMAP: [usize; 2] = [0x0, 0x20];
    pub const INODE_BITMAP: [usize; 2] = [0x4, 0x24];
    pub const INODE_TABLE: [usize; 2] = [0x8, 0x28];
    pub const FREE_BLOCKS: [usize; 2] = [0xc, 0x2c];
    pub const FREE_INODES: [usize; 2] = [0xe, 0x2e];
    pub const DIRECTORIES: [usize; 2] = [0x10, 0x30];
    pub const FLAGS: usize = 0x12;
    pub const BLOCK_BITMAP_CHECKSUM: [usize; 2] = [0x18, 0x38];
    pub const INODE_BITMAP_CHECKSUM: [usize; 2] = [0x1a, 0x3a];
    pub const UNUSED_INODES: [usize; 2] = [0x1c, 0x32];
    pub const CHECKSUM: usize = 0x1e;
    pub const AFTER_CHECKSUM: usize = 0x20;
}

pub(in crate::disk) mod inode {
    pub const ROOT: u32 = 2;
    /// Number of the inode that owns the blocks reserved for growing.
    pub const RESIZE: u32 = 7;
    pub const JOURNAL: u32 = 8;

    /// Size of the first version of inodes; everything behind it is "extra".
    pub const BASE_LENGTH: usize = 128;
    pub const MAP_LENGTH: usize = 60;

    pub const MODE: usize = 0x0;
    pub const UID: [usize; 2] = [0x2, 0x78];
    pub const SIZE: [usize; 2] = [0x4, 0x6c];
    /// In the inode of a large attribute's value: the hash of the value.
    pub const ATIME: [usize; 2] = [0x8, 0x8c];
    pub const CTIME: [usize; 2] = [0xc, 0x84];
    pub const MTIME: [usize; 2] = [0x10, 0x88];
    pub const GID: [usize; 2] = [0x18, 0x7a];
    pub const LINKS: usize = 0x1a;
    /// Blocks of 512 bytes.
    pub const SECTORS: [usize; 2] = [0x1c, 0x74];
    pub const FLAGS: usize = 0x20;
    /// In the inode of a large attribute's value: the number of its users.
    pub const VERSION: usize = 0x24;
    /// `i_block`: extents or pointers to blocks, or inline content.
    pub const MAP: usize = 0x28;
    pub const GENERATION: usize = 0x64;
    pub const XATTR_BLOCK: [usize; 2] = [0x68, 0x76];
    pub const CHECKSUM: [usize; 2] = [0x7c, 0x82];
    pub const EXTRA_SIZE: usize = 0x80;
    pub const CRTIME: [usize; 2] = [0x90, 0x94];
    pub const PROJECT: usize = 0x9c;
}

pub(in crate::disk) mod inode_flags {
    pub const SYNC: u32 = 0x8;
    pub const IMMUTABLE: u32 = 0x10;
    pub const APPEND: u32 = 0x20;
    pub const NO_DUMP: u32 = 0x40;
    pub const NO_ATIME: u32 = 0x80;
    pub const ENCRYPTED: u32 = 0x800;
    /// A directory with an index of hashes.
    pub const INDEX: u32 = 0x1000;
    pub const JOURNAL_DATA: u32 = 0x4000;
    pub const NO_TAIL: u32 = 0x8000;
    pub const DIR_SYNC: u32 = 0x1_0000;
    pub const TOP_DIR: u32 = 0x2_0000;
    pub const EXTENTS: u32 = 0x8_0000;
    pub const VERITY: u32 = 0x10_0000;
    /// The inode is the value of an extended attribute.
    pub const EA_INODE: u32 = 0x20_0000;
    pub const DAX: u32 = 0x200_0000;
    pub const INLINE: u32 = 0x1000_0000;
    pub const PROJECT_INHERIT: u32 = 0x2000_0000;
    pub const CASEFOLD: u32 = 0x4000_0000;
}

/// Nodes of extent trees: a header, then entries of the same length.
pub(in crate::disk) mod extent {
    pub const LENGTH: usize = 12;
    pub const MAGIC_NUMBER: u16 = 0xf30a;

    pub const MAGIC: usize = 0;
    pub const ENTRIES: usize = 2;
    pub const MAX_ENTRIES: usize = 4;
    pub const DEPTH: usize = 6;

    // Entries of leaves.
    pub const LOGICAL: usize = 0;
    pub const BLOCKS: usize = 4;
    pub const PHYSICAL: [usize; 2] = [8, 6];
    /// Larger values of `BLOCKS` mean an unwritten extent, which reads as zeros.
    pub const MAX_WRITTEN: u16 = 0x8000;

    // Entries of inner nodes, which start with `LOGICAL` too.
    pub const CHILD: [usize; 2] = [4, 8];
}

/// Entries of directories, and blocks of their indices.
pub(in crate::disk) mod directory {
    pub const INODE: usize = 0;
    pub const LENGTH: usize = 4;
    pub const NAME_LENGTH: usize = 6;
    pub const KIND: usize = 7;
    pub const NAME: usize = 8;

    /// The unused entry at the end of a block that contains its checksum.
    pub const TAIL: usize = 12;
    pub const TAIL_KIND: u8 = 0xde;
    pub const TAIL_CHECKSUM: usize = 8;

    /// The header of an index, after the entries of `.` and `..`.
    pub const INDEX_HEADER: usize = 24;
    pub const HASH_VERSION: usize = 28;
    pub const INDEX_HEADER_LENGTH: usize = 29;
    pub const INDEX_LEVELS: usize = 30;
    /// Bytes of an entry of an index: hash and block.
    pub const INDEX_ENTRY: usize = 8;
    /// Bytes after the entries of an index block with its checksum.
    pub const INDEX_TAIL: usize = 8;
}

pub(in crate::disk) mod xattr {
    pub const MAGIC_NUMBER: u32 = 0xea02_0000;
    /// The header of a block of attributes.
    pub const BLOCK_HEADER: usize = 32;
    pub const REFERENCES: usize = 4;
    pub const BLOCKS: usize = 8;
    pub const HASH: usize = 12;
    pub const CHECKSUM: usize = 16;
    pub const AFTER_CHECKSUM: usize = 20;
    /// The header of the attributes in an inode: the magic number.
    pub const INODE_HEADER: usize = 4;

    pub const NAME_LENGTH: usize = 0;
    pub const NAMESPACE: usize = 1;
    pub const VALUE_OFFSET: usize = 2;
    pub const VALUE_INODE: usize = 4;
    pub const VALUE_SIZE: usize = 8;
    pub const ENTRY_HASH: usize = 12;
    pub const NAME: usize = 16;

    /// Numbers of the prefixes of names.
    pub const USER: u8 = 1;
    pub const ACL_ACCESS: u8 = 2;
    pub const ACL_DEFAULT: u8 = 3;
    pub const TRUSTED: u8 = 4;
    pub const SECURITY: u8 = 6;
    pub const SYSTEM: u8 = 7;
    pub const RICHACL: u8 = 8;
    pub const HURD: u8 = 10;
}

/// The superblock of a journal; its numbers are big-endian.
pub(in crate::disk) mod journal {
    pub const MAGIC_NUMBER: u32 = 0xc03b_3998;
    pub const SUPERBLOCK_V1: u32 = 3;
    pub const SUPERBLOCK_V2: u32 = 4;

    pub const MAGIC: usize = 0x0;
    pub const KIND: usize = 0x4;
    pub const BLOCK_SIZE: usize = 0xc;
    pub const BLOCKS: usize = 0x10;
    pub const FIRST: usize = 0x14;
    pub const SEQUENCE: usize = 0x18;
    pub const START: usize = 0x1c;
    pub const COMPAT: usize = 0x24;
    pub const INCOMPAT: usize = 0x28;
    pub const UUID: usize = 0x30;
    pub const USERS: usize = 0x40;
    pub const CHECKSUM_TYPE: usize = 0x50;
    pub const FAST_COMMIT_BLOCKS: usize = 0x54;
    pub const CHECKSUM: usize = 0xfc;
    pub const AFTER_CHECKSUM: usize = 0x100;
    pub const LENGTH: usize = 0x400;
}

/// The kinds of files as the numbers that directories have for them.
const FILE_TYPES: [(u8, FileType); 7] = [
    (1, FileType::File),
    (2, FileType::Directory),
    (3, FileType::CharDevice),
    (4, FileType::BlockDevice),
    (5, FileType::Fifo),
    (6, FileType::Socket),
    (7, FileType::Link),
];

/// Returns the number of a kind of file in directories.
pub(in crate::disk) fn file_type(kind: FileType) -> u8 {
    let known = FILE_TYPES.iter().find(|(_, other)| *other == kind);
    known.map_or(0, |(number, _)| *number)
}

/// Returns the kind of file for its number in a directory. The high bits have another meaning.
pub(in crate::disk) fn kind_of(file_type: u8) -> Option<FileType> {
    let known = FILE_TYPES
        .iter()
        .find(|(number, _)| *number == file_type & 0xf);
    known.map(|(_, kind)| *kind)
}
