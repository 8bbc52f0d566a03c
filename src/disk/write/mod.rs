//! Writes a tree as a new disk: the same tree and base give the same bytes, on any machine and day.
//!
//! ```text
//! tree + contents -> ext4 -> table of the base, rest of the guest's disk -> disk (generated as it is read) -> raw | zstd qcow2, with digests
//! ```
//!
//! Deleted files and the content of the journal are not in the tree, and so not in the image.

mod chunks;
mod error;
mod ext4;
pub(super) mod fields;
mod layout;
mod partitions;
mod qcow2;
mod raw;

pub use error::WriteError;
pub use ext4::Format;
pub use layout::Disk;
use layout::Region;

pub use qcow2::write_qcow2;
pub use raw::write_raw;

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::path::Path;

use super::read::partitions::{Extent, Table};
use super::read::{BlockRead, FileSystem, find_file_systems};
use super::tree::{Contents, Monitor, Tree};
use crate::digest::Digest;
use crate::os::hash_stream;

/// Sizes and digests of an image that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashedImage {
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Digest of the disk's content, whatever its container: SHA-256 over the SHA-256 of every MiB, in order.
    pub content: Digest,
}

/// An image that was written, whose file may still have to be hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnhashedImage {
    virtual_size: u64,
    size: u64,
    content: Digest,
    /// Set if the file was hashed while it was written.
    digest: Option<Digest>,
}

impl UnhashedImage {
    /// Reads and hashes the file, unless it was hashed while it was written.
    ///
    /// # Errors
    /// The file cannot be read, or the work was cancelled.
    pub fn hash(
        self,
        file: &File,
        path: &Path,
        monitor: Monitor<'_>,
    ) -> Result<HashedImage, WriteError> {
        let failed = |source| WriteError::Io {
            path: path.to_owned(),
            source,
        };
        let read = || {
            let mut start = file;
            start.seek(SeekFrom::Start(0))?;
            hash_stream::digest(start, monitor.stop, |_| {})
        };
        let digest = match self.digest {
            Some(digest) => digest,
            None => read().map_err(failed)?.0,
        };
        Ok(HashedImage {
            virtual_size: self.virtual_size,
            size: self.size,
            digest,
            content: self.content,
        })
    }
}

/// The guest's disk, with the table and the file system of its base: what a new disk keeps.
#[derive(Clone, Copy)]
pub struct BaseDisk<'a> {
    /// The guest's disk, from which boot code and other partitions are copied.
    pub disk: &'a dyn BlockRead,
    /// Partition table of the base.
    pub table: &'a Table,
    /// Partition of the root file system.
    pub root: Extent,
    /// Identity, features and policy of the root file system.
    pub format: &'a Format,
}

/// Finds the root file system: the only ext4 in a partition, or on a disk without a table.
///
/// # Errors
/// The disk cannot be read, or has no ext4, several, or one beside an unsupported file system.
pub fn find_root(disk: &dyn BlockRead, table: &Table) -> Result<Extent, WriteError> {
    let found = find_file_systems(disk, table)?;
    let problem = match (found.unsupported, &found.ext4[..]) {
        // This is the root, and an ext4 beside it holds the kernels: the root would be left as the guest wrote it.
        (Some(unsupported), _) => unsupported,
        (None, [root]) => return Ok(*root),
        (None, []) => "no ext4 file system",
        (None, _) => "several ext4 file systems",
    };
    Err(WriteError::Unknown {
        what: problem.to_owned(),
    })
}

/// Lays out a disk of `size` bytes: a root file system with the tree, whose contents are in `files`, the partitions of the base,
/// and everything else from the guest's disk.
///
/// # Errors
/// The base has an unsupported feature, the tree does not fit, or a file of it cannot be written.
pub fn disk<'a>(
    base: BaseDisk<'a>,
    size: u64,
    tree: &'a Tree,
    contents: &Contents,
    files: &'a dyn FileSystem,
) -> Result<Disk<'a>, WriteError> {
    let surroundings = partitions::carry_over(&base, size)?;
    let mut regions = surroundings.regions;
    let partition = (base.root.offset, surroundings.root_bytes);
    let root = ext4::lay_out(base.format, partition, tree, contents)?;
    regions.extend(root.into_iter().map(|region| Region {
        at: base.root.offset + region.at,
        ..region
    }));
    Disk::new(size, regions, tree, files, base.disk)
}
