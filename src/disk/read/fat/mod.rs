//! Reads FAT12, FAT16 and FAT32 with long names: the file systems of EFI system partitions.
//!
//! The crate `fatfs`, with which karat writes them, cannot be used here: it follows a circular chain of clusters without end,
//! and cannot be shared between threads.

mod entries;
mod geometry;

use super::fields::to_index;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use self::entries::{ENTRY, ShortEntry};

use self::geometry::Geometry;
use super::{
    BlockRead, DataRun, DirectoryEntry, FileSystem, FileType, Inode, Metadata, ReadError, Xattr,
};

const PART: &str = "FAT file system";
/// The number of the root, which has no entry. That of another inode is the position of its entry in the volume.
const ROOT: Inode = Inode(1);
/// The limit of Linux.
const MAX_DIRECTORY_BYTES: u64 = 65_536 * ENTRY as u64;

fn damaged(problem: impl Into<String>) -> ReadError {
    ReadError::damaged(PART, problem)
}

/// A FAT file system, opened for reading.
pub struct Fat {
    disk: Arc<dyn BlockRead>,
    geometry: Geometry,
    /// The file read last, with its clusters.
    last: Mutex<Option<(Inode, Arc<[u32]>)>>,
    claims: Mutex<Claims>,
}

/// Number of clusters of the files seen so far. A cluster belongs to one file, so together they cannot have more than the
/// file system.
#[derive(Default)]
struct Claims {
    counted: HashSet<Inode>,
    clusters: u64,
}

impl Fat {
    /// Returns whether `disk` starts with the boot sector of a FAT file system.
    #[must_use]
    pub fn is_at(disk: &dyn BlockRead) -> bool {
        Geometry::header(disk).is_ok()
    }

    /// Opens the file system that fills `disk`.
    ///
    /// # Errors
    /// The file system is missing or damaged.
    pub fn open(disk: Arc<dyn BlockRead>) -> Result<Self, ReadError> {
        Ok(Self {
            geometry: Geometry::read(&*disk)?,
            disk,
            last: Mutex::default(),
            claims: Mutex::default(),
        })
    }

    /// Returns the number of bytes before the table of clusters.
    pub(crate) fn boot_bytes(&self) -> u64 {
        self.geometry.table_offset()
    }

    /// Returns the offset of the first cluster in the volume.
    pub(crate) fn data_offset(&self) -> u64 {
        self.geometry.data_offset()
    }

    /// Returns the parts of the volume with the entries of a directory, or the content of a file. A root without clusters has
    /// none.
    pub(crate) fn extents(&self, inode: Inode) -> Result<Vec<Range<u64>>, ReadError> {
        let (first, size) = if inode == ROOT {
            match self.geometry.fixed_root() {
                Some(_) => return Ok(Vec::new()),
                None => (self.geometry.root_cluster(), u64::MAX),
            }
        } else {
            let entry = self.entry(inode)?;
            match entry.kind() {
                FileType::File if entry.size() == 0 => return Ok(Vec::new()),
                FileType::File => (entry.first_cluster(), entry.size()),
                _ => (entry.first_cluster(), u64::MAX),
            }
        };
        let cluster = self.geometry.cluster_size();
        let clusters = self.clusters(inode, first)?;
        let lengths = (0..).map(|index| size.saturating_sub(index * cluster).min(cluster));
        let extents = clusters.iter().zip(lengths).map(|(number, length)| {
            let start = self.geometry.offset(*number);
            start..start + length
        });
        Ok(extents.collect())
    }

    /// Reads the directory entry of an inode.
    fn entry(&self, inode: Inode) -> Result<ShortEntry, ReadError> {
        let offset = inode
            .0
            .checked_mul(ENTRY as u64)
            .filter(|offset| self.geometry.may_have_entries(*offset))
            .ok_or_else(|| damaged(format!("inode {} does not exist", inode.0)))?;
        let mut bytes = [0; ENTRY];
        self.disk.read_at(offset, &mut bytes)?;
        ShortEntry::parse(bytes).ok_or_else(|| damaged(format!("inode {} is not in use", inode.0)))
    }

    /// Returns the clusters of a file or a directory, in order.
    fn clusters(&self, inode: Inode, first: u32) -> Result<Arc<[u32]>, ReadError> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, clusters)) = &*last()
            && *known == inode
        {
            return Ok(Arc::clone(clusters));
        }
        let clusters: Arc<[u32]> = self.geometry.chain(first)?.into();
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if claims.counted.insert(inode) {
            claims.clusters += clusters.len() as u64;
        }
        if claims.clusters > self.geometry.clusters().into() {
            return Err(damaged(
                "its files together claim more clusters than there are: some clusters belong to several files",
            ));
        }
        *last() = Some((inode, Arc::clone(&clusters)));
        Ok(clusters)
    }

    /// Reads the bytes of a directory, in parts with their offsets.
    fn directory(&self, inode: Inode) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
        let first = if inode == ROOT {
            match self.geometry.fixed_root() {
                Some((offset, length)) => return Ok(vec![(offset, self.read(offset, length)?)]),
                None => self.geometry.root_cluster(),
            }
        } else {
            let entry = self.entry(inode)?;
            if entry.kind() != FileType::Directory {
                return Err(damaged(format!("inode {} is not a directory", inode.0)));
            }
            entry.first_cluster()
        };
        let clusters = self.clusters(inode, first)?;
        let size = self.geometry.cluster_size();
        if clusters.len() as u64 * size > MAX_DIRECTORY_BYTES {
            return Err(damaged(format!("directory {} is too large", inode.0)));
        }
        let parts = clusters.iter().map(|cluster| {
            let offset = self.geometry.offset(*cluster);
            Ok((offset, self.read(offset, size)?))
        });
        parts.collect()
    }

    fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, ReadError> {
        // A cluster, or the root directory: 2 MiB at most.
        let mut bytes = vec![0; to_index(length)];
        self.disk.read_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn file(&self, inode: Inode) -> Result<(ShortEntry, Arc<[u32]>), ReadError> {
        let entry = match inode {
            ROOT => None,
            _ => Some(self.entry(inode)?).filter(|entry| entry.kind() == FileType::File),
        };
        let entry =
            entry.ok_or_else(|| damaged(format!("inode {} is not a regular file", inode.0)))?;
        if entry.size() == 0 {
            return Ok((entry, Arc::new([])));
        }
        let clusters = self.clusters(inode, entry.first_cluster())?;
        if (clusters.len() as u64) < entry.size().div_ceil(self.geometry.cluster_size()) {
            return Err(damaged(format!(
                "file {} has fewer clusters than its size needs",
                inode.0
            )));
        }
        Ok((entry, clusters))
    }
}

impl FileSystem for Fat {
    fn root(&self) -> Inode {
        ROOT
    }

    fn stat(&self, inode: Inode) -> Result<Metadata, ReadError> {
        if inode == ROOT {
            return Ok(ShortEntry::root().metadata());
        }
        Ok(self.entry(inode)?.metadata())
    }

    fn read_dir(&self, inode: Inode) -> Result<Vec<DirectoryEntry>, ReadError> {
        entries::list(&self.directory(inode)?, inode)
    }

    fn read_link(&self, inode: Inode) -> Result<Vec<u8>, ReadError> {
        Err(damaged(format!("inode {} is not a link", inode.0)))
    }

    fn xattrs(&self, _: Inode) -> Result<Vec<Xattr>, ReadError> {
        Ok(Vec::new())
    }

    fn runs(&self, inode: Inode) -> Result<Vec<DataRun>, ReadError> {
        let length = self.file(inode)?.0.size();
        let whole = (length > 0).then_some(DataRun { offset: 0, length });
        Ok(whole.into_iter().collect())
    }

    fn read_at(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let (entry, clusters) = self.file(inode)?;
        let left = entry.size().saturating_sub(offset);
        let length = to_index(left).min(buffer.len());
        let size = self.geometry.cluster_size();
        let (mut at, mut rest) = (offset, buffer.get_mut(..length).unwrap_or_default());
        while !rest.is_empty() {
            let index = to_index(at / size);
            let Some(cluster) = clusters.get(index) else {
                break;
            };
            let within = at % size;
            let now = to_index(size - within).min(rest.len());
            let (part, later) = rest.split_at_mut(now);
            self.disk
                .read_at(self.geometry.offset(*cluster) + within, part)?;
            at += now as u64;
            rest = later;
        }
        Ok(length)
    }
}
