//! A file tree in memory: what a guest left, to be cleaned, listed and written anew. Contents stay where they are.

use std::collections::{BTreeMap, HashMap};

use super::read::{FileSystem, Flags, Inode, Kind, Metadata, ReadError, Time, Xattr};

mod contents;
mod listing;

pub use contents::{Contents, FileContents, Run, Watch};
pub use listing::listing;

/// A path may be longer than the 4096 bytes that the kernel takes at once, but no package makes one.
const LONGEST_PATH: usize = 16 << 10;
/// Bytes of all paths together: millions of files.
const ALL_PATHS: usize = 512 << 20;
/// What errors call it.
const PART: &str = "file tree";

/// Every path of a file system.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: Vec<File>,
    paths: BTreeMap<Box<[u8]>, usize>,
}

/// A file of any kind, once, however many names it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// What it is.
    pub kind: Kind,
    /// Permissions with set-user-id, set-group-id and sticky bit.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content: the only one of its times that is kept.
    pub mtime: Time,
    /// What `chattr` set.
    pub flags: Flags,
    /// Major and minor number of a device.
    pub rdev: Option<(u32, u32)>,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// Nothing, as in directories and devices.
    None,
    /// What the file system that was read has in an inode.
    Inode {
        /// The inode.
        inode: Inode,
        /// Its size in bytes.
        size: u64,
    },
    /// Bytes that were put in its place.
    Bytes(Vec<u8>),
    /// The target of a link.
    Link(Vec<u8>),
}

impl Content {
    /// Bytes in it.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Inode { size, .. } => *size,
            Self::Bytes(bytes) | Self::Link(bytes) => bytes.len() as u64,
        }
    }

    /// Fills the buffer with what a file has from `offset` on and says how much that is.
    pub(in crate::disk) fn read_at(
        &self,
        files: &dyn FileSystem,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, ReadError> {
        match self {
            Self::Inode { inode, size } => {
                let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
                let length = left.min(buffer.len());
                files.read_at(*inode, offset, &mut buffer[..length])
            }
            Self::Bytes(bytes) | Self::Link(bytes) => {
                let rest = usize::try_from(offset)
                    .ok()
                    .and_then(|from| bytes.get(from..));
                let rest = rest.unwrap_or_default();
                let length = rest.len().min(buffer.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                Ok(length)
            }
            Self::None => Ok(0),
        }
    }
}

impl Tree {
    /// Reads all of a file system but the contents of its files.
    ///
    /// # Errors
    /// It is damaged, a directory is in two places, or its paths are beyond any sensible length.
    pub fn read(files: &dyn FileSystem) -> Result<Self, ReadError> {
        let root = files.root();
        let mut reader = Reader {
            files,
            tree: Self::default(),
            seen: HashMap::new(),
            bytes: 0,
        };
        reader.add(b"/".as_slice().into(), root)?;
        let mut directories = vec![(Vec::new(), root)];
        while let Some((path, inode)) = directories.pop() {
            for entry in files.read_dir(inode)? {
                let mut child = path.clone();
                child.push(b'/');
                child.extend(&entry.name);
                if reader.add(child.as_slice().into(), entry.inode)? == Kind::Directory {
                    directories.push((child, entry.inode));
                }
            }
        }
        Ok(reader.tree)
    }

    /// Every file; [`Tree::paths`] says where.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Every path with the index of its file, sorted by bytes: a directory comes before what is in it.
    pub fn paths(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.paths.iter().map(|(path, file)| (path.as_ref(), *file))
    }

    /// The index of the file at a path.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        self.paths.get(path).copied()
    }

    /// A file, to be changed. Its other names show the change, too.
    pub fn file_mut(&mut self, file: usize) -> Option<&mut File> {
        self.files.get_mut(file)
    }

    /// Puts a file at a path, in place of what was there.
    pub fn insert(&mut self, path: &[u8], file: File) {
        self.files.push(file);
        self.paths.insert(path.into(), self.files.len() - 1);
    }

    /// Takes a path away, and if it is a directory, everything in it. Says whether there was anything.
    pub fn remove(&mut self, path: &[u8]) -> bool {
        let inside: Vec<_> = self
            .paths
            .range::<[u8], _>((std::ops::Bound::Included(path), std::ops::Bound::Unbounded))
            .map(|(other, _)| other)
            .take_while(|other| other.starts_with(path))
            .filter(|other| other.len() == path.len() || other[path.len()] == b'/')
            .cloned()
            .collect();
        for path in &inside {
            self.paths.remove(path);
        }
        !inside.is_empty()
    }
}

/// A tree on its way into memory.
struct Reader<'f> {
    files: &'f dyn FileSystem,
    tree: Tree,
    seen: HashMap<Inode, usize>,
    bytes: usize,
}

impl Reader<'_> {
    fn add(&mut self, path: Box<[u8]>, inode: Inode) -> Result<Kind, ReadError> {
        self.bytes += path.len();
        if path.len() > LONGEST_PATH || self.bytes > ALL_PATHS {
            return Err(ReadError::TooLarge {
                part: PART,
                problem: "its paths are longer than any system's".to_owned(),
            });
        }
        let file = if let Some(file) = self.seen.get(&inode) {
            if self.tree.files[*file].kind == Kind::Directory {
                return Err(ReadError::Damaged {
                    part: PART,
                    problem: format!(
                        "{:?} is a directory with two names",
                        String::from_utf8_lossy(&path)
                    ),
                });
            }
            *file
        } else {
            let metadata = self.files.stat(inode)?;
            self.tree.files.push(file(self.files, inode, metadata)?);
            self.seen.insert(inode, self.tree.files.len() - 1);
            self.tree.files.len() - 1
        };
        let kind = self.tree.files[file].kind;
        self.tree.paths.insert(path, file);
        Ok(kind)
    }
}

fn file(files: &dyn FileSystem, inode: Inode, metadata: Metadata) -> Result<File, ReadError> {
    let content = match metadata.kind {
        Kind::File => Content::Inode {
            inode,
            size: metadata.size,
        },
        Kind::Link => Content::Link(files.read_link(inode)?),
        _ => Content::None,
    };
    Ok(File {
        kind: metadata.kind,
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        mtime: metadata.mtime,
        flags: metadata.flags,
        rdev: metadata.rdev,
        xattrs: files.xattrs(inode)?,
        content,
    })
}
