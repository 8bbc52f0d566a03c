//! What a new file system has in common with the base's: identity, features, policy. Read from the base's superblock.

use super::super::little::{array, get16, get32, low32};
use super::WriteError;
use super::checksum::{Checksums, crc16, crc32c};
use super::hash::{Kind, NameHash, seed};
use crate::disk::read::ext4::Superblock;

/// Bytes of a superblock.
pub(super) const SUPERBLOCK: usize = 1024;

/// Nobody has more than 11; each takes room in memory.
const MOST_RESERVED_INODES: u32 = 1024;
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
        if base.raw.len() != SUPERBLOCK {
            return Err(WriteError::Unknown {
                what: "a superblock of another size".to_owned(),
            });
        }
        let base: &[u8; SUPERBLOCK] = &array(&base.raw, 0);
        let unknown = |what: String| WriteError::Unknown { what };
        if get16(base, 0x38) != 0xef53 || get32(base, 0x4c) == 0 {
            return Err(unknown(
                "a superblock of another file system, or of revision 0".to_owned(),
            ));
        }
        let (compatible, incompatible, for_writers) = features(base)?;
        let log_block_size = get32(base, 0x18);
        if log_block_size > 2 {
            return Err(unknown(format!("blocks of 2^{log_block_size} KiB")));
        }
        let block_size = 1024_usize << log_block_size;
        let inode_size = usize::from(get16(base, 0x58));
        let wide = incompatible & incompatible::WIDE != 0;
        let descriptor_size = if wide {
            usize::from(get16(base, 0xfe))
        } else {
            32
        };
        // Clusters, if the base has them, become blocks.
        let blocks_per_group = low32(8 * block_size as u64);
        let inodes_per_group = get32(base, 0x28);
        let sane = [128, 256, 512, 1024].contains(&inode_size)
            && [32, 64].contains(&descriptor_size)
            && inodes_per_group.is_multiple_of(8)
            && (8..=blocks_per_group).contains(&inodes_per_group);
        if !sane {
            return Err(unknown(format!(
                "inodes of {inode_size} bytes, {inodes_per_group} a group, descriptors of {descriptor_size} bytes"
            )));
        }
        let first_inode = get32(base, 0x54);
        if !(11..=MOST_RESERVED_INODES).contains(&first_inode) {
            return Err(unknown(format!("{first_inode} reserved inodes")));
        }
        let kind = Kind::from_number(base[0xfc])
            .ok_or_else(|| unknown(format!("directory hash {}", base[0xfc])))?;
        let blocks = u64::from(get32(base, 4))
            | if wide {
                u64::from(get32(base, 0x150)) << 32
            } else {
                0
            };
        let reserved = u64::from(get32(base, 8))
            | if wide {
                u64::from(get32(base, 0x154)) << 32
            } else {
                0
            };
        let groups = blocks
            .saturating_sub(get32(base, 0x14).into())
            .div_ceil(u64::from(get32(base, 0x20).max(1)));
        let descriptor_blocks = (groups * descriptor_size as u64).div_ceil(block_size as u64);
        Ok(Self {
            base: *base,
            block_size,
            inode_size,
            blocks_per_group,
            inodes_per_group,
            descriptor_size,
            flex_groups: if incompatible & incompatible::FLEX_GROUPS == 0 {
                1
            } else {
                1 << base[0x174].min(16)
            },
            descriptor_blocks: descriptor_blocks + u64::from(get16(base, 0xce)),
            compatible,
            incompatible,
            for_writers,
            checksums: checksums(base, incompatible, for_writers),
            names: NameHash {
                kind,
                // Neither flag: made before there was one, on x86.
                signed: get32(base, 0x160) & 2 == 0,
                seed: seed(&base[0xec..0xfc]),
            },
            first_inode,
            reserved: (reserved.saturating_mul(20_000) / blocks.max(1))
                .div_ceil(2)
                .min(MOST_RESERVED),
            made: get32(base, 0x108),
            journal_blocks: journal_blocks(base, block_size),
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

/// Blocks of the base's journal, of which superblocks keep a note.
fn journal_blocks(base: &[u8; SUPERBLOCK], block_size: usize) -> u32 {
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

fn features(base: &[u8; SUPERBLOCK]) -> Result<(u32, u32, u32), WriteError> {
    let fields = [
        ("compatible", 0x5c, compatible::WRITTEN, compatible::DROPPED),
        (
            "incompatible",
            0x60,
            incompatible::WRITTEN,
            incompatible::DROPPED,
        ),
        (
            "read-only compatible",
            0x64,
            for_writers::WRITTEN,
            for_writers::DROPPED,
        ),
    ];
    let mut kept = [0; 3];
    for (kept, (kind, at, written, dropped)) in kept.iter_mut().zip(fields) {
        let set = get32(base, at);
        let unknown = set & !written & !dropped;
        if unknown != 0 {
            return Err(WriteError::Unknown {
                what: format!("the {kind} feature {unknown:#x}"),
            });
        }
        *kept = set & written;
    }
    let [compatible, incompatible, for_writers] = kept;
    let needed = incompatible::FILE_TYPE | incompatible::EXTENTS;
    if incompatible & needed != needed {
        return Err(WriteError::Unknown {
            what: "a file system without extents (ext2 or ext3)".to_owned(),
        });
    }
    if compatible & compatible::JOURNAL != 0 && get32(base, 0xe0) == 0 {
        return Err(WriteError::Unknown {
            what: "a journal on another device".to_owned(),
        });
    }
    Ok((
        compatible,
        incompatible,
        for_writers | for_writers::SPARSE_SUPER | for_writers::LARGE_FILE,
    ))
}

fn checksums(base: &[u8; SUPERBLOCK], incompatible: u32, for_writers: u32) -> Checksums {
    let uuid: [u8; 16] = array(base, 0x68);
    if for_writers & for_writers::CHECKSUMS != 0 {
        let stored = incompatible & incompatible::CHECKSUM_SEED != 0;
        Checksums::All {
            seed: if stored {
                get32(base, 0x270)
            } else {
                crc32c(!0, &uuid)
            },
        }
    } else if for_writers & for_writers::GROUP_CHECKSUMS != 0 {
        Checksums::Groups {
            seed: crc16(!0, &uuid),
        }
    } else {
        Checksums::None
    }
}
