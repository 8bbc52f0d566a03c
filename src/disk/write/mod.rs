//! A tree written anew as a disk: the same tree and base give the same bytes, on any machine and day.
//!
//! ```text
//! tree + contents -> ext4 -> partition table of the base -> disk (made as it is read) -> raw | zstd qcow2, with digests
//! ```
//!
//! What a guest deleted, and what its journal held, is not in the tree and so not in the image.

mod content;
mod error;
mod ext4;
mod in_order;
mod little;
mod pieces;
mod qcow2;
mod raw;
mod table;

pub use error::WriteError;
pub use ext4::Format;
pub use pieces::Disk;
pub use qcow2::write_qcow2;
pub use raw::write_raw;

use super::read::ext4::Superblock;
use super::read::partitions::{Extent, Table};
use super::read::{BlockRead, FileSystem, Slice};
use super::tree::{Contents, Tree};
use crate::digest::Digest;

/// An image that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Digest of the disk's content, whatever container it is in: SHA-256 over the SHA-256 of every MiB, in order.
    pub content: Digest,
}

/// The base's disk and what of it is to be kept.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    /// The disk.
    pub disk: &'a dyn BlockRead,
    /// How it is divided.
    pub table: &'a Table,
    /// The partition of the root file system.
    pub root: Extent,
    /// What the file system has in common with the base's.
    pub format: &'a Format,
}

/// Finds the root: the only partition with an ext4 file system, or the whole disk.
///
/// # Errors
/// There is none, there are several, or the disk cannot be read.
pub fn find_root(disk: &dyn BlockRead, table: &Table) -> Result<Extent, WriteError> {
    let whole = Extent {
        number: 0,
        offset: 0,
        length: disk.len(),
    };
    let candidates = if *table == Table::None {
        vec![whole]
    } else {
        table.extents()
    };
    let mut found = Vec::new();
    for extent in candidates {
        if Superblock::is_at(&Slice::new(disk, extent.offset, extent.length)?) {
            found.push(extent);
        }
    }
    match found[..] {
        [root] => Ok(root),
        [] => Err(WriteError::Unknown {
            what: "no ext4 file system".to_owned(),
        }),
        _ => Err(WriteError::Unknown {
            what: "several ext4 file systems".to_owned(),
        }),
    }
}

/// Lays out a disk of `size` bytes with the root file system made of a tree, whose contents `files` has, and everything else
/// as in the base.
///
/// # Errors
/// The base has what is not known, the tree does not fit, or a file of it cannot be written.
pub fn disk<'a>(
    base: Base<'a>,
    size: u64,
    tree: &'a Tree,
    contents: &Contents,
    files: &'a dyn FileSystem,
) -> Result<Disk<'a>, WriteError> {
    let surroundings = table::carry(base.disk, base.table, base.root, size)?;
    let laid = ext4::lay(base.format, surroundings.space, tree, contents)?;
    let mut pieces = surroundings.pieces;
    pieces.extend(laid.into_iter().map(|mut piece| {
        piece.at += surroundings.root;
        piece
    }));
    Disk::new(size, pieces, tree, files, base.disk)
}
