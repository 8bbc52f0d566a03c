//! From the disk of a guest that was shut down to an image that is the same every time.
//!
//! ```text
//! disk -> partitions -> ext4 -> tree -> (clean-up) -> contents -> disk anew -> image -> read back and compared, and hashed
//! ```

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::digest::Digest;
use crate::disk::read::ext4::{Ext4, Superblock};
use crate::disk::read::partitions::{self, Extent, Table};
use crate::disk::read::qcow2::{Layer, open_chain};
use crate::disk::read::{BlockRead, FileSystem, ReadError, Slice};
use crate::disk::tree::{Checks, Contents, Listing, Tree, Watch, fingerprint, listing};
use crate::disk::write::{
    self, Base, Format, Unhashed, WriteError, Written, find_root, write_qcow2, write_raw,
};

/// What an image is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Container {
    /// A raw disk with holes.
    Raw,
    /// qcow2 with clusters compressed by zstd.
    Qcow2,
}

/// An image with what is meant to be in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rewritten {
    image: Unhashed,
    /// The listing of its root file system.
    pub listing: Listing,
    /// What its tree has to give when it is read back.
    meant: Digest,
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

    /// Bytes of the disk.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.disk.len()
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
        let listing = Listing::of(tree, &contents)?;
        let meant = fingerprint(tree, contents.checks());
        let contents = contents.only_runs();
        let base = Base {
            disk: &self.disk,
            table: &self.table,
            root: self.root,
            format: &self.format,
        };
        let disk = write::disk(base, size, tree, &contents, &self.files)?;
        drop(contents);
        let image = match container {
            Container::Raw => write_raw(&disk, file, path, threads, watch)?,
            Container::Qcow2 => write_qcow2(&disk, file, path, threads, watch)?,
        };
        Ok(Rewritten {
            image,
            listing,
            meant,
        })
    }
}

impl Rewritten {
    /// Reads the file back, compares the tree in it with what was meant, and hashes the file meanwhile.
    ///
    /// # Errors
    /// It is damaged, or something else is in it.
    pub fn check(
        &self,
        (container, file, path): (Container, &File, &Path),
        threads: usize,
        watch: Watch<'_>,
    ) -> Result<Written, WriteError> {
        let hash = Watch {
            progress: &|_| {},
            ..watch
        };
        let layer = match container {
            Container::Qcow2 => Layer::Qcow2(path.to_owned()),
            Container::Raw => Layer::Raw(path.to_owned()),
        };
        std::thread::scope(|scope| {
            let hashed = scope.spawn(|| self.image.hash(file, path, hash));
            self.read_back(open_chain(&[layer])?, threads, watch)?;
            hashed
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn read_back(
        &self,
        image: Arc<dyn BlockRead>,
        threads: usize,
        watch: Watch<'_>,
    ) -> Result<(), WriteError> {
        let image = Source::open(image)?;
        let tree = image.tree()?;
        let checks = Checks::read(&tree, &image.files, threads, watch)?;
        if fingerprint(&tree, &checks) == self.meant {
            return Ok(());
        }
        // Something is wrong: now it matters what.
        let size = image.format.block_size();
        let contents = Contents::read(&tree, &image.files, size, threads, watch)?;
        let found = listing(&tree, &contents)?;
        let found = found.split(|byte| *byte == b'\n');
        let different = self.listing.lines().zip(found).find_map(|(meant, found)| {
            let (meant, found) = (meant.ok()?, String::from_utf8_lossy(found));
            (meant != found).then(|| format!("{found} was to be {meant}"))
        });
        let problem =
            different.unwrap_or_else(|| "files are missing, or there are more".to_owned());
        Err(WriteError::ReadBack { problem })
    }
}
