//! Where the root of a disk is.

use std::sync::Arc;

use karat::disk::read::ext4::Superblock;
use karat::disk::read::{BlockRead, Slice, partitions};

/// The largest ext file system on a disk.
pub fn root(disk: &Arc<dyn BlockRead>) -> (u64, u64) {
    let extents = partitions::read(disk).unwrap().extents();
    let extents = extents.iter().map(|extent| (extent.offset, extent.length));
    let is_ext = |(offset, length): &(u64, u64)| {
        Superblock::is_at(&Slice::new(disk, *offset, *length).unwrap())
    };
    extents
        .filter(is_ext)
        .max_by_key(|(_, length)| *length)
        .expect("no ext file system")
}
