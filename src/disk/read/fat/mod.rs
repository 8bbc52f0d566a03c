//! FAT12, FAT16 and FAT32 with long names: what EFI system partitions are.
//!
//! Not by `fatfs`, which karat writes them with: it follows a chain of clusters that goes in a circle without end, and cannot be
//! shared between threads.

mod entries;
mod geometry;

use super::fields::to_index;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use self::entries::{ENTRY, Stored};
use self::geometry::Geometry;
use super::{BlockRead, Entry, FileSystem, Inode, Kind, Metadata, ReadError, Run, Xattr};

/// What errors call it.
const PART: &str = "FAT file system";
/// The root has no entry of its own; others are called by where theirs is, in entries from the start of the volume.
const ROOT: Inode = Inode(1);
/// Linux reads no larger directory: 65,536 entries.
const MOST_DIRECTORY: u64 = 65_536 * ENTRY as u64;

fn damaged(problem: impl Into<String>) -> ReadError {
    ReadError::Damaged {
        part: PART,
        problem: problem.into(),
    }
}

/// A FAT file system.
pub struct Fat {
    disk: Arc<dyn BlockRead>,
    geometry: Geometry,
    /// The file that was read last, with its clusters.
    last: Mutex<Option<(Inode, Arc<[u32]>)>>,
    claims: Mutex<Claims>,
}

/// No cluster belongs to two files, so together they cannot have more than there are.
#[derive(Default)]
struct Claims {
    counted: HashSet<Inode>,
    clusters: u64,
}

impl Fat {
    /// Whether `disk` starts like a FAT file system.
    #[must_use]
    pub fn is_at(disk: &dyn BlockRead) -> bool {
        Geometry::header(disk).is_ok()
    }

    /// Opens the file system that fills `disk`.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn open(disk: Arc<dyn BlockRead>) -> Result<Self, ReadError> {
        Ok(Self {
            geometry: Geometry::read(&*disk)?,
            disk,
            last: Mutex::default(),
            claims: Mutex::default(),
        })
    }

    /// The directory entry of an inode.
    fn stored(&self, inode: Inode) -> Result<Stored, ReadError> {
        let offset = inode.0.checked_mul(ENTRY as u64);
        let offset = offset.filter(|offset| self.geometry.may_have_entries(*offset));
        let offset = offset.ok_or_else(|| damaged(format!("there is no inode {}", inode.0)))?;
        let mut bytes = [0; ENTRY];
        self.disk.read_at(offset, &mut bytes)?;
        let stored = Stored::parse(bytes);
        stored.ok_or_else(|| damaged(format!("inode {} is not in use", inode.0)))
    }

    /// The clusters of a file or a directory, in order.
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
                "its files together claim more than there is: some are in several files",
            ));
        }
        *last() = Some((inode, Arc::clone(&clusters)));
        Ok(clusters)
    }

    /// A directory's bytes, with where each part of them is.
    fn directory(&self, inode: Inode) -> Result<Vec<(u64, Vec<u8>)>, ReadError> {
        let first = if inode == ROOT {
            match self.geometry.fixed_root() {
                Some((offset, length)) => return Ok(vec![(offset, self.read(offset, length)?)]),
                None => self.geometry.root_cluster(),
            }
        } else {
            let stored = self.stored(inode)?;
            if stored.kind() != Kind::Directory {
                return Err(damaged(format!("inode {} is no directory", inode.0)));
            }
            stored.first_cluster()
        };
        let clusters = self.clusters(inode, first)?;
        let size = self.geometry.cluster_size();
        if clusters.len() as u64 * size > MOST_DIRECTORY {
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

    fn file(&self, inode: Inode) -> Result<(Stored, Arc<[u32]>), ReadError> {
        let stored = match inode {
            ROOT => None,
            _ => Some(self.stored(inode)?).filter(|stored| stored.kind() == Kind::File),
        };
        let stored = stored.ok_or_else(|| damaged(format!("inode {} is no file", inode.0)))?;
        if stored.size() == 0 {
            return Ok((stored, Arc::new([])));
        }
        let clusters = self.clusters(inode, stored.first_cluster())?;
        if (clusters.len() as u64) < stored.size().div_ceil(self.geometry.cluster_size()) {
            return Err(damaged(format!("file {} ends before its size", inode.0)));
        }
        Ok((stored, clusters))
    }
}

impl FileSystem for Fat {
    fn root(&self) -> Inode {
        ROOT
    }

    fn stat(&self, inode: Inode) -> Result<Metadata, ReadError> {
        if inode == ROOT {
            return Ok(Stored::root().metadata());
        }
        Ok(self.stored(inode)?.metadata())
    }

    fn read_dir(&self, inode: Inode) -> Result<Vec<Entry>, ReadError> {
        entries::list(&self.directory(inode)?, inode)
    }

    fn read_link(&self, inode: Inode) -> Result<Vec<u8>, ReadError> {
        Err(damaged(format!("inode {} is no link", inode.0)))
    }

    fn xattrs(&self, _: Inode) -> Result<Vec<Xattr>, ReadError> {
        Ok(Vec::new())
    }

    fn runs(&self, inode: Inode) -> Result<Vec<Run>, ReadError> {
        let (stored, _) = self.file(inode)?;
        let whole = Run {
            offset: 0,
            length: stored.size(),
        };
        Ok(if whole.length == 0 {
            Vec::new()
        } else {
            vec![whole]
        })
    }

    fn read_at(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let (stored, clusters) = self.file(inode)?;
        let left = stored.size().saturating_sub(offset);
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
