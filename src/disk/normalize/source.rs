//! The source of a normalized image: a guest's disk, opened offline. Its tree becomes a new disk, which is read back.
//!
//! ```text
//! disk -> partitions -> ext4 -> tree -> (clean-up) -> contents -> new disk -> image -> read back, compare, hash
//! ```

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::NormalizeError;
use crate::digest::Digest;
use crate::disk::clean::{self, CleanReport, CustomRules, Owners};
use crate::disk::read::ext4::{Ext4, Superblock};
use crate::disk::read::partitions::{self, Extent, Table};
use crate::disk::read::qcow2::{Layer, open_chain};
use crate::disk::read::{BlockRead, FileSystem, ReadError, Slice};
use crate::disk::tree::{ContentChecks, Contents, Listing, Monitor, Tree, fingerprint, listing};
use crate::disk::write::{
    self, BaseDisk, Format, HashedImage, UnhashedImage, WriteError, find_root, write_qcow2,
    write_raw,
};

/// Container formats that karat writes natively.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Container {
    /// A raw disk with holes.
    Raw,
    /// qcow2 with clusters compressed by zstd.
    Qcow2,
}

/// An image that was written, with the expected content of its root file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrittenImage {
    image: UnhashedImage,
    /// Listing of its root file system.
    pub listing: Listing,
    /// Fingerprint that its tree must have when it is read back.
    expected: Digest,
}

/// A guest's disk, opened for reading.
pub struct SourceDisk {
    disk: Arc<dyn BlockRead>,
    table: Table,
    root: Extent,
    files: Ext4,
    format: Format,
}

impl SourceDisk {
    /// Opens the root file system of a disk.
    ///
    /// # Errors
    /// The disk is damaged, or has an unsupported feature.
    pub fn open(disk: Arc<dyn BlockRead>) -> Result<Self, WriteError> {
        let base = Arc::clone(&disk);
        Self::open_over(disk, &base)
    }

    /// Opens a disk that is an overlay of `base`. The list of partitions and the identity of the file system come from the base,
    /// which no guest has written to. Everything else outside of the root file system is copied from the overlay, with boot code
    /// and other partitions as the guest left them: the scan compares these with the base.
    ///
    /// # Errors
    /// A disk is damaged or has an unsupported feature, or the overlay's root is not where the base's is.
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

    /// Returns the size of the disk in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.disk.len()
    }

    /// Returns the root file system.
    #[must_use]
    pub fn files(&self) -> &dyn FileSystem {
        &self.files
    }

    /// Reads the file tree.
    ///
    /// # Errors
    /// The file system is damaged.
    pub fn tree(&self) -> Result<Tree, ReadError> {
        Tree::read(&self.files)
    }

    /// Reads the file tree and cleans it.
    ///
    /// # Errors
    /// The file system is damaged, or cannot be cleaned.
    pub(super) fn cleaned(
        &self,
        epoch: i64,
        own: &CustomRules,
    ) -> Result<(Tree, Owners, CleanReport), NormalizeError> {
        let mut tree = self.tree()?;
        let owners = Owners::read(&tree, &self.files)?;
        let cleaned = clean::clean(&mut tree, &self.files, &owners, epoch, own)?;
        Ok((tree, owners, cleaned))
    }

    /// Reads the contents of a tree that was read from this disk, and lists it.
    pub(super) fn list(
        &self,
        tree: &Tree,
        threads: usize,
        monitor: Monitor<'_>,
    ) -> Result<(Listing, Contents), WriteError> {
        let size = self.format.block_size();
        let contents = Contents::read(tree, &self.files, size, threads, monitor)?;
        Ok((Listing::of(tree, &contents)?, contents))
    }

    /// Writes a tree that was read from this disk to a new, empty file, as a disk of `size` bytes.
    ///
    /// # Errors
    /// A file cannot be read or written, the tree does not fit, or the work was cancelled.
    pub fn write(
        &self,
        tree: &Tree,
        size: u64,
        (container, file, path): (Container, &File, &Path),
        threads: usize,
        monitor: Monitor<'_>,
    ) -> Result<WrittenImage, WriteError> {
        let (listing, contents) = self.list(tree, threads, monitor)?;
        let expected = fingerprint(tree, contents.checks());
        let contents = contents.only_runs();
        let base = BaseDisk {
            disk: &self.disk,
            table: &self.table,
            root: self.root,
            format: &self.format,
        };
        let disk = write::disk(base, size, tree, &contents, &self.files)?;
        drop(contents);
        let image = match container {
            Container::Raw => write_raw(&disk, file, path, threads, monitor)?,
            Container::Qcow2 => write_qcow2(&disk, file, path, threads, monitor)?,
        };
        Ok(WrittenImage {
            image,
            listing,
            expected,
        })
    }
}

impl WrittenImage {
    /// Reads the image back, compares its tree with the expected one, and hashes the file meanwhile.
    ///
    /// # Errors
    /// The image is damaged, or its tree differs.
    pub fn check(
        &self,
        (container, file, path): (Container, &File, &Path),
        threads: usize,
        monitor: Monitor<'_>,
    ) -> Result<HashedImage, WriteError> {
        let hash = Monitor {
            progress: &|_| {},
            ..monitor
        };
        let layer = match container {
            Container::Qcow2 => Layer::Qcow2(path.to_owned()),
            Container::Raw => Layer::Raw(path.to_owned()),
        };
        std::thread::scope(|scope| {
            let hashed = scope.spawn(|| self.image.hash(file, path, hash));
            self.read_back(open_chain(&[layer])?, threads, monitor)?;
            hashed
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn read_back(
        &self,
        image: Arc<dyn BlockRead>,
        threads: usize,
        monitor: Monitor<'_>,
    ) -> Result<(), WriteError> {
        let image = SourceDisk::open(image)?;
        let tree = image.tree()?;
        let checks = ContentChecks::read(&tree, &image.files, threads, monitor)?;
        if fingerprint(&tree, &checks) == self.expected {
            return Ok(());
        }
        // Only for the message: list the whole tree to find the first difference.
        let size = image.format.block_size();
        let contents = Contents::read(&tree, &image.files, size, threads, monitor)?;
        let actual = listing(&tree, &contents)?;
        let actual = actual.split(|byte| *byte == b'\n');
        let mut lines = self.listing.lines().zip(actual);
        let difference = lines.find_map(|(expected, actual)| {
            let (expected, actual) = (expected.ok()?, String::from_utf8_lossy(actual));
            (expected != actual).then(|| format!("{actual} instead of {expected}"))
        });
        let problem = difference.unwrap_or_else(|| "files are missing or added".to_owned());
        Err(WriteError::ReadBack { problem })
    }
}
