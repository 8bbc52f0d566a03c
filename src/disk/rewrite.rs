//! From the disk of a guest that was shut down to an image that is the same every time.
//!
//! ```text
//! disk -> partitions -> ext4 -> tree -> (clean-up) -> contents -> disk anew -> image + digests -> read back and compared
//! ```

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::read::ext4::{Ext4, Superblock};
use super::read::partitions::{self, Extent, Table};
use super::read::{BlockRead, FileSystem, ReadError, Slice};
use super::tree::{Contents, Tree, Watch, listing};
use super::write::{self, Base, Format, WriteError, Written, find_root, write_qcow2, write_raw};
use crate::digest::Digest;

/// What an image is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Container {
    /// A raw disk with holes.
    Raw,
    /// qcow2 with clusters compressed by zstd.
    Qcow2,
}

/// An image with what is in it.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The image.
    pub written: Written,
    /// The listing of its root file system.
    pub listing: Vec<u8>,
    /// SHA-256 of the listing.
    pub tree: Digest,
}

/// A guest's disk, opened for reading.
pub struct Source {
    disk: Arc<dyn BlockRead>,
    table: Table,
    root: Extent,
    files: Ext4,
    format: Format,
}

impl Source {
    /// Finds the root file system of a disk.
    ///
    /// # Errors
    /// The disk is damaged, or has something that is not known.
    pub fn open(disk: Arc<dyn BlockRead>) -> Result<Self, WriteError> {
        let base = Arc::clone(&disk);
        Self::open_over(disk, &base)
    }

    /// The same for a disk that was made of a base: partitions and the identity of the file system are the base's, which
    /// no guest has written to.
    ///
    /// # Errors
    /// A disk is damaged, has something that is not known, or its root is not where the base's is.
    pub fn open_over(disk: Arc<dyn BlockRead>, base: &dyn BlockRead) -> Result<Self, WriteError> {
        let table = partitions::read(base)?;
        let root = find_root(base, &table)?;
        let now = find_root(&disk, &partitions::read(&disk)?)?;
        if (now.number, now.offset) != (root.number, root.offset) {
            let what = "a root partition that the guest has moved".to_owned();
            return Err(WriteError::Unknown { what });
        }
        let superblock = Superblock::read(&Slice::new(base, root.offset, root.length)?)?;
        let partition = Slice::new(Arc::clone(&disk), now.offset, now.length)?;
        Ok(Self {
            disk,
            table,
            root,
            files: Ext4::open(Arc::new(partition))?,
            format: Format::from_superblock(&superblock)?,
        })
    }

    /// Its root file system.
    #[must_use]
    pub fn files(&self) -> &dyn FileSystem {
        &self.files
    }

    /// Its file tree.
    ///
    /// # Errors
    /// The file system is damaged.
    pub fn tree(&self) -> Result<Tree, ReadError> {
        Tree::read(&self.files)
    }

    /// Writes a tree that was read from it to a new, empty file, as a disk of `size` bytes.
    ///
    /// # Errors
    /// A file cannot be read or written, the tree does not fit, or the work was told to stop.
    pub fn write(
        &self,
        tree: &Tree,
        size: u64,
        (container, file, path): (Container, &File, &Path),
        threads: usize,
        watch: Watch<'_>,
    ) -> Result<Rewritten, WriteError> {
        let contents = Contents::read(tree, &self.files, self.format.block_size(), threads, watch)?;
        let listing = listing(tree, &contents)?;
        let base = Base {
            disk: &self.disk,
            table: &self.table,
            root: self.root,
            format: &self.format,
        };
        let disk = write::disk(base, size, tree, &contents, &self.files)?;
        let written = match container {
            Container::Raw => write_raw(&disk, file, path, threads, watch)?,
            Container::Qcow2 => write_qcow2(&disk, file, path, threads, watch)?,
        };
        let tree = Digest::of(&listing);
        Ok(Rewritten {
            written,
            listing,
            tree,
        })
    }
}

/// Reads an image that was written and compares its tree with what was meant.
///
/// # Errors
/// It is damaged, or something else is in it.
pub fn read_back(
    image: Arc<dyn BlockRead>,
    expected: &[u8],
    threads: usize,
    watch: Watch<'_>,
) -> Result<(), WriteError> {
    let image = Source::open(image)?;
    let tree = image.tree()?;
    let contents = Contents::read(
        &tree,
        &image.files,
        image.format.block_size(),
        threads,
        watch,
    )?;
    let found = listing(&tree, &contents)?;
    if found == expected {
        return Ok(());
    }
    let difference = expected
        .split(|byte| *byte == b'\n')
        .zip(found.split(|byte| *byte == b'\n'))
        .find(|(meant, found)| meant != found);
    let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
    let problem = difference.map_or_else(
        || "files are missing, or there are more".to_owned(),
        |(meant, found)| format!("{} was to be {}", text(found), text(meant)),
    );
    Err(WriteError::ReadBack { problem })
}
