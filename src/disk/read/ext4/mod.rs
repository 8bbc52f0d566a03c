//! ext2, ext3 and ext4, with every feature that a root file system has.
//!
//! Layout: Documentation/filesystems/ext4 of Linux. What the kernel checks is checked, and more: the kernel trusts who mounts.

mod checksum;
mod superblock;

pub(crate) use checksum::crc16;
pub use checksum::crc32c;
pub use superblock::{Feature, NameHash, Superblock};

/// What errors call it.
const PART: &str = "ext4 file system";

/// A contradiction.
fn damaged(problem: impl Into<String>) -> super::ReadError {
    super::ReadError::Damaged {
        part: PART,
        problem: problem.into(),
    }
}
