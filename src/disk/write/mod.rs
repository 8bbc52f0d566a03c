//! A tree written anew as a disk: the same tree and base give the same bytes, on any machine and day.
//!
//! ```text
//! tree + contents -> ext4 -> partition table of the base -> disk (made as it is read) -> raw | zstd qcow2, with digests
//! ```
//!
//! What a guest deleted, and what its journal held, is not in the tree and so not in the image.

mod error;
mod ext4;
mod fields;
mod layout;
mod partitions;
mod qcow2;
mod raw;

pub use error::WriteError;
pub use ext4::Format;
pub use layout::Disk;
pub use qcow2::write_qcow2;
pub use raw::write_raw;

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;

use super::read::ext4::Superblock;
use super::read::partitions::{Extent, Table};
use super::read::{BlockRead, FileSystem, Slice, foreign};
use super::tree::{Contents, Tree, Watch};
use crate::digest::Digest;
use crate::os::hash_stream;

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

/// An image that was written; what its file's digest is, takes a look at all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unhashed {
    virtual_size: u64,
    size: u64,
    content: Digest,
    /// Where it was known without another look.
    digest: Option<Digest>,
}

impl Unhashed {
    /// Reads the file and hashes it, unless that was done while it was written.
    ///
    /// # Errors
    /// The file cannot be read, or the work was told to stop.
    pub fn hash(self, file: &File, path: &Path, watch: Watch<'_>) -> Result<Written, WriteError> {
        let failed = |source| WriteError::Io {
            path: path.to_owned(),
            source,
        };
        let read = || {
            let mut start = file;
            start.seek(SeekFrom::Start(0))?;
            hash_stream::digest(start, watch.stop, |_| {})
        };
        let digest = match self.digest {
            Some(digest) => digest,
            None => read().map_err(failed)?.0,
        };
        Ok(Written {
            virtual_size: self.virtual_size,
            size: self.size,
            digest,
            content: self.content,
        })
    }
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
/// There is none, there are several or one that is not read beside it, or the disk cannot be read.
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
        let part = Slice::new(disk, extent.offset, extent.length)?;
        if Superblock::is_at(&part) {
            found.push(extent);
        } else if let Some(what) = foreign(&part)? {
            // It is the root, and an ext4 beside it holds the kernels: its files would be left as the guest wrote them.
            let what = what.to_owned();
            return Err(WriteError::Unknown { what });
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
    let surroundings = partitions::carry(base.disk, base.table, base.root, size)?;
    let partition = (surroundings.root, surroundings.space);
    let laid = ext4::lay(base.format, partition, tree, contents)?;
    let mut pieces = surroundings.pieces;
    pieces.extend(laid.into_iter().map(|mut piece| {
        piece.at += surroundings.root;
        piece
    }));
    Disk::new(size, pieces, tree, files, base.disk)
}
