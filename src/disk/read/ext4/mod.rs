//! ext2, ext3 and ext4, with every feature that a root file system has.
//!
//! Layout: Documentation/filesystems/ext4 of Linux. What the kernel checks is checked, and more: the kernel trusts who mounts.

mod acl;
mod attributes;
mod checksum;
mod directory;
mod extents;
mod file_cache;
mod inode;
mod journal;
mod overlay;
mod superblock;
mod volume;

pub use acl::{from_disk as acl_from_disk, to_disk as acl_to_disk};
pub(crate) use checksum::crc16;
pub use checksum::crc32c;
pub use superblock::{Feature, NameHash, Superblock};
pub use volume::Ext4;

use super::ReadError;

/// What errors call it.
const PART: &str = "ext4 file system";

/// A contradiction.
fn damaged(problem: impl Into<String>) -> ReadError {
    ReadError::Damaged {
        part: PART,
        problem: problem.into(),
    }
}

/// Beyond a limit.
fn too_large(problem: impl Into<String>) -> ReadError {
    ReadError::TooLarge {
        part: PART,
        problem: problem.into(),
    }
}
