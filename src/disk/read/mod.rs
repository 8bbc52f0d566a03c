//! Reads disks offline, without root, mount or kernel: blocks → partitions → a file system behind [`FileSystem`].
//!
//! Every byte read here was written by a guest. Every access is checked and every size is bounded: a hostile disk gives a
//! [`ReadError`], never a panic, a hang or unbounded memory.

mod ambiguity;
pub(super) mod blocks;
pub(crate) mod cache;
mod error;
mod fields;
mod file_system;
mod unsupported;
mod walk;

pub(crate) mod directory;
pub mod ext4;
pub mod fat;
pub mod partitions;
pub mod qcow2;

pub use blocks::{BlockRead, Memory, RawFile, Slice, Span};
pub(crate) use error::AMBIGUOUS_HELP;
pub use error::ReadError;
pub(super) use fields::Fields as Bytes;
pub(crate) use fields::to_index;
pub use file_system::{
    DataRun, DirectoryEntry, FileFlags, FileSystem, FileType, Inode, Metadata, Time, Xattr,
};
pub(crate) use unsupported::unsupported_file_system;
pub use walk::walk;

use std::sync::Arc;

use ext4::{Ext4, Superblock};
use partitions::{Extent, Table};

/// File systems of a disk, by their magic numbers.
pub(crate) struct FileSystems {
    /// Positions of ext2, ext3 and ext4 file systems.
    pub ext4: Vec<Extent>,
    /// Name of the first file system that karat knows and cannot read.
    pub unsupported: Option<&'static str>,
}

/// Finds the file systems in the partitions of a disk, or on the whole of a disk without a table.
pub(crate) fn find_file_systems(
    disk: &dyn BlockRead,
    table: &Table,
) -> Result<FileSystems, ReadError> {
    let whole = Extent {
        number: 0,
        offset: 0,
        length: disk.len(),
    };
    let extents = match table {
        Table::None => vec![whole],
        table => table.extents(),
    };
    let mut found = FileSystems {
        ext4: Vec::new(),
        unsupported: None,
    };
    for extent in extents {
        let partition = Slice::new(disk, extent.offset, extent.length)?;
        if Superblock::is_at(&partition) {
            found.ext4.push(extent);
        } else if found.unsupported.is_none() {
            found.unsupported = unsupported_file_system(&partition)?;
        }
    }
    Ok(found)
}

/// Directories that every root file system has.
const ROOT_DIRECTORIES: [&[u8]; 2] = [b"etc", b"usr"];

/// Root file systems of a disk.
pub(crate) struct Roots {
    /// Ext4 file systems with `/etc` and `/usr`, and their positions.
    pub found: Vec<(Extent, Ext4)>,
    /// Number of other ext4 file systems.
    pub others: usize,
    /// Name of the first file system that karat knows and cannot read.
    pub unsupported: Option<&'static str>,
}

/// Finds the root file systems of a disk.
pub(crate) fn find_roots(disk: &Arc<dyn BlockRead>) -> Result<Roots, ReadError> {
    let FileSystems { ext4, unsupported } = find_file_systems(disk, &partitions::read(disk)?)?;
    let mut roots = Roots {
        found: Vec::new(),
        others: 0,
        unsupported,
    };
    for extent in ext4 {
        let partition = Slice::new(Arc::clone(disk), extent.offset, extent.length)?;
        let files = Ext4::open(Arc::new(partition))?;
        let entries = files.read_dir(files.root())?;
        let has = |name: &&[u8]| entries.iter().any(|entry| *entry.name == **name);
        if ROOT_DIRECTORIES.iter().all(has) {
            roots.found.push((extent, files));
        } else {
            roots.others += 1;
        }
    }
    Ok(roots)
}
