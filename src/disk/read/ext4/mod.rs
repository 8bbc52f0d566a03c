//! Reads ext2, ext3 and ext4, with every feature that a root file system has.
//!
//! Everything that the kernel checks is checked, and more: the kernel trusts the user who mounts.

mod acl;
mod attributes;
mod checksum;
mod directory;
mod extents;
mod file_cache;
mod inode;
mod journal;
pub(in crate::disk) mod layout;
mod overlay;
mod superblock;
mod volume;

pub(crate) use acl::to_disk as acl_to_disk;

pub(crate) use checksum::crc16;
pub use checksum::crc32c;
use superblock::Feature;
pub use superblock::Superblock;
pub(in crate::disk) use superblock::has_sparse_backup;
pub use volume::Ext4;

use super::ReadError;

const PART: &str = "ext4 file system";

/// Handling of checksums, which detect accidents; attackers can compute them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksums {
    /// Refuse metadata with a wrong checksum.
    Verify,
    /// Read whatever the checksums say: tests and fuzzers get past them so.
    Ignore,
}

fn damaged(problem: impl Into<String>) -> ReadError {
    ReadError::damaged(PART, problem)
}

fn too_large(problem: impl Into<String>) -> ReadError {
    ReadError::too_large(PART, problem)
}
