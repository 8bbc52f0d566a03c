//! A file tree in memory: read from a guest's disk, then cleaned, listed and written. Contents stay on the disk.

use std::collections::HashMap;

use super::read::{FileFlags, FileSystem, FileType, Inode, Metadata, ReadError, Time, Xattr, walk};

mod contents;
mod fingerprint;
mod links;
mod listing;
mod merge_join;
mod paths;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod testing;

pub use contents::{BlockRun, ContentChecks, Contents, Monitor};
pub use fingerprint::fingerprint;
pub(crate) use links::follow_links;
pub use listing::{Listing, ListingError, listing};
pub use merge_join::{ListingLine, ListingPair, join_listings, listing_lines};
use paths::Paths;

/// Bytes of all paths together: a million files.
const MAX_PATH_BYTES: usize = 96 << 20;
/// Bytes of all attributes and link targets together. On the disk, many files can share one attribute.
const MAX_ATTRIBUTE_BYTES: usize = 64 << 20;
const PART: &str = "file tree";

/// All paths of a file system, with their files.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: Vec<File>,
    paths: Paths,
}

/// A file of any kind; all its hard links share one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Type of the file.
    pub kind: FileType,
    /// Permissions with set-user-id, set-group-id and sticky bit.
    pub mode: u16,
    /// User id of the owner.
    pub uid: u32,
    /// Group id of the owner.
    pub gid: u32,
    /// Time of the last change of the content: the only time that is kept.
    pub mtime: Time,
    /// Attributes that `chattr` sets.
    pub flags: FileFlags,
    /// Major and minor number of a device.
    pub rdev: Option<(u32, u32)>,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// Content, or a reference to it.
    pub content: Content,
}

/// The content of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// No content, as in directories and devices.
    None,
    /// The content of an inode of the file system that was read.
    Inode {
        /// Inode with the content.
        inode: Inode,
        /// Size of the content in bytes.
        size: u64,
    },
    /// Bytes that replace the original content.
    Bytes(Vec<u8>),
    /// The target of a link.
    Link(Vec<u8>),
}

impl Content {
    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Inode { size, .. } => *size,
            Self::Bytes(bytes) | Self::Link(bytes) => bytes.len() as u64,
        }
    }

    /// Fills the buffer with the content from `offset` on, and returns the number of bytes read.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn read_at(
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
    /// Reads a file system without the contents of its files.
    ///
    /// # Errors
    /// The file system is damaged or exceeds the limits, or a directory has two names.
    pub fn read(files: &dyn FileSystem) -> Result<Self, ReadError> {
        let too_large =
            |what| ReadError::too_large(PART, format!("its {what} are longer than any system's"));
        let mut tree = Self::default();
        let (mut seen, mut attribute_bytes) = (HashMap::new(), 0);
        walk(files, |path, inode, metadata| {
            if tree.paths.bytes() + path.len() > MAX_PATH_BYTES {
                return Err(too_large("paths"));
            }
            let index = if let Some(index) = seen.get(&inode) {
                *index
            } else {
                let file = file(files, inode, metadata)?;
                attribute_bytes += file.attribute_bytes();
                if attribute_bytes > MAX_ATTRIBUTE_BYTES {
                    return Err(too_large("attributes and links"));
                }
                tree.files.push(file);
                seen.insert(inode, tree.files.len() - 1);
                tree.files.len() - 1
            };
            tree.paths.push(&[b"/", path].concat(), index);
            Ok(())
        })?;
        tree.paths.sort();
        tree.files.shrink_to_fit();
        Ok(tree)
    }

    /// Returns all files; [`Tree::paths`] refers to them by index.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Returns every path with the index of its file, sorted by bytes: a directory comes before its entries.
    pub fn paths(&self) -> impl Iterator<Item = (&[u8], usize)> {
        (0..self.paths.len()).filter_map(|number| self.paths.get(number))
    }

    /// Returns the index of the file at a path.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        self.paths.find(path)
    }

    /// Returns a file to change, under all its names.
    pub fn file_mut(&mut self, file: usize) -> Option<&mut File> {
        self.files.get_mut(file)
    }

    /// Puts a file at a path, and replaces a file there.
    pub fn insert(&mut self, path: &[u8], file: File) {
        self.files.push(file);
        self.paths.insert(path, self.files.len() - 1);
    }

    /// Returns whether a directory has entries.
    #[must_use]
    pub fn has_children(&self, path: &[u8]) -> bool {
        self.below(path).next().is_some()
    }

    /// Returns every path below a directory with the index of its file, sorted by bytes.
    pub fn below<'p>(
        &self,
        directory: &'p [u8],
    ) -> impl Iterator<Item = (&[u8], usize)> + use<'_, 'p> {
        self.paths
            .inside(directory)
            .filter(move |(path, _)| *path != directory)
    }

    /// Removes a path and everything below it. Returns whether it existed.
    pub fn remove(&mut self, path: &[u8]) -> bool {
        self.paths.remove(path)
    }

    /// Returns the upper limit of the numbers of paths.
    pub(in crate::disk) fn numbers(&self) -> usize {
        self.paths.len()
    }

    /// Returns the path with a number, unless it was removed. Numbers are in the order of paths; only insertions change them.
    pub(in crate::disk) fn path(&self, number: usize) -> Option<&[u8]> {
        self.numbered(number).map(|(path, _)| path)
    }

    /// Returns the path with a number and the index of its file.
    pub(in crate::disk) fn numbered(&self, number: usize) -> Option<(&[u8], usize)> {
        self.paths.get(number)
    }
}

impl File {
    /// Returns the number of bytes of the attributes and the link target.
    fn attribute_bytes(&self) -> usize {
        let target = match &self.content {
            Content::Link(target) => target.len(),
            _ => 0,
        };
        let sizes = self
            .xattrs
            .iter()
            .map(|xattr| xattr.name.len() + xattr.value.len());
        sizes.sum::<usize>() + target
    }
}

fn file(files: &dyn FileSystem, inode: Inode, metadata: &Metadata) -> Result<File, ReadError> {
    let content = match metadata.kind {
        FileType::File => Content::Inode {
            inode,
            size: metadata.size,
        },
        FileType::Link => Content::Link(files.read_link(inode)?),
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

#[cfg(test)]
mod tests {
    use super::testing::InTree;
    use super::*;
    use crate::os::hash_stream::Stop;

    fn file(kind: FileType, content: Content) -> File {
        File {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 7,
            mtime: Time {
                seconds: -1,
                nanoseconds: 5,
            },
            flags: FileFlags::default(),
            rdev: None,
            xattrs: Vec::new(),
            content,
        }
    }

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for path in paths {
            tree.insert(path.as_bytes(), file(FileType::Directory, Content::None));
        }
        tree
    }

    #[test]
    fn a_path_is_removed_with_everything_below_it_and_nothing_else() {
        let all = ["/", "/a", "/a-b", "/a/b", "/a/b/c", "/ab"];
        for (path, left) in [
            ("/a", &["/", "/a-b", "/ab"][..]),
            ("/a/b", &["/", "/a", "/a-b", "/ab"]),
            ("/ab", &["/", "/a", "/a-b", "/a/b", "/a/b/c"]),
            ("/x", &all),
        ] {
            let mut tree = tree(&all);
            assert_eq!(
                tree.remove(path.as_bytes()),
                left.len() < all.len(),
                "{path}"
            );
            let paths: Vec<_> = tree
                .paths()
                .map(|(path, _)| str::from_utf8(path).unwrap())
                .collect();
            assert_eq!(paths, left, "without {path}");
        }
    }

    /// A file system of files that share one large attribute, or of links with long targets.
    struct Shared {
        kind: FileType,
        attribute: usize,
    }

    impl FileSystem for Shared {
        fn root(&self) -> Inode {
            Inode(0)
        }
        fn stat(&self, inode: Inode) -> Result<Metadata, ReadError> {
            let now = Time::default();
            Ok(Metadata {
                kind: if inode.0 == 0 {
                    FileType::Directory
                } else {
                    self.kind
                },
                mode: 0o755,
                uid: 0,
                gid: 0,
                size: 0,
                links: 1,
                atime: now,
                mtime: now,
                ctime: now,
                crtime: None,
                rdev: None,
                flags: FileFlags::default(),
                project: 0,
            })
        }
        fn read_dir(&self, _: Inode) -> Result<Vec<crate::disk::read::DirectoryEntry>, ReadError> {
            let entry = |number: u64| crate::disk::read::DirectoryEntry {
                name: format!("{number:06}").into_bytes().into(),
                inode: Inode(number + 1),
                kind: None,
            };
            Ok((0..40_000).map(entry).collect())
        }
        fn read_link(&self, _: Inode) -> Result<Vec<u8>, ReadError> {
            Ok(vec![b'x'; 4000])
        }
        fn xattrs(&self, inode: Inode) -> Result<Vec<Xattr>, ReadError> {
            let value = vec![1; if inode.0 == 0 { 0 } else { self.attribute }];
            let name = b"user.x".to_vec();
            Ok(vec![Xattr { name, value }])
        }
        fn runs(&self, _: Inode) -> Result<Vec<crate::disk::read::DataRun>, ReadError> {
            Ok(Vec::new())
        }
        fn read_at(&self, _: Inode, _: u64, _: &mut [u8]) -> Result<usize, ReadError> {
            Ok(0)
        }
    }

    #[test]
    fn attributes_and_links_of_all_files_together_have_a_bound() {
        for (kind, attribute, good) in [
            (FileType::File, 40, true),
            (FileType::File, 4000, false),
            (FileType::Link, 40, false),
        ] {
            let read = Tree::read(&Shared { kind, attribute });
            let wrong = read.err().map(|error| error.to_string());
            assert_eq!(wrong.is_none(), good, "{kind:?} {attribute}: {wrong:?}");
            assert!(wrong.is_none_or(|wrong| wrong.contains("attributes and links")));
        }
    }

    #[test]
    fn a_listing_has_one_line_a_path() {
        let mut tree = tree(&["/"]);
        let mut named = file(FileType::File, Content::Bytes(b"abc".to_vec()));
        named.flags = FileFlags::from_bits(0x10);
        named.xattrs = vec![Xattr {
            name: b"user.x".to_vec(),
            value: vec![0, 255],
        }];
        tree.insert(b"/b", named);
        let first = tree.find(b"/b").unwrap();
        tree.paths.insert(b"/c", first);
        tree.insert(
            b"/\xff",
            file(FileType::Link, Content::Link(b"/b".to_vec())),
        );
        let null = File {
            rdev: Some((1, 3)),
            ..file(FileType::CharDevice, Content::None)
        };
        tree.insert(b"/a", null);
        let stop = Stop::default();
        let monitor = Monitor {
            stop: &stop,
            progress: &|_| {},
        };
        let contents = Contents::read(&tree, &InTree, 4096, 2, monitor).unwrap();
        let lines = String::from_utf8(listing(&tree, &contents).unwrap()).unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let file = r#"{"flags":"i","gid":7,"kind":"file","mode":"0644","mtime":-1,"mtime_ns":5,"path":"PATH",SAME"sha256":"HASH","size":3,"uid":0,"xattrs":[{"name":"user.x","value_hex":"00ff"}]}"#;
        let file = |path: &str, same: &str| {
            file.replace("PATH", path)
                .replace("SAME", same)
                .replace("HASH", sha256)
        };
        let expected = [
            r#"{"gid":7,"kind":"directory","mode":"0644","mtime":-1,"mtime_ns":5,"path":"/","uid":0}"#.to_owned(),
            r#"{"device":"1:3","gid":7,"kind":"char-device","mode":"0644","mtime":-1,"mtime_ns":5,"path":"/a","uid":0}"#.to_owned(),
            file("/b", ""),
            file("/c", r#""same_as":"/b","#),
            r#"{"gid":7,"kind":"link","mode":"0644","mtime":-1,"mtime_ns":5,"path_hex":"2fff","target":"/b","uid":0}"#.to_owned(),
        ];
        assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    }
}
