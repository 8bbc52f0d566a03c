//! File access for checks: the tree of an image, walked once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::ScanError;
use crate::disk::read::{FileSystem, FileType, ReadError};
use crate::disk::tree::{Content, File, Tree};

/// Symbolic links followed for one path: Linux's limit.
const MAX_LINKS: usize = 40;

/// Files of an image: the tree in memory, contents on the disk.
pub struct Root<'a> {
    tree: &'a Tree,
    files: &'a dyn FileSystem,
}

impl<'a> Root<'a> {
    /// Combines a tree with the file system that it was read from.
    pub fn new(tree: &'a Tree, files: &'a dyn FileSystem) -> Self {
        Self { tree, files }
    }

    pub fn tree(&self) -> &'a Tree {
        self.tree
    }

    pub fn files(&self) -> &'a dyn FileSystem {
        self.files
    }

    /// Returns the file at a path without following links.
    pub fn get(&self, path: &[u8]) -> Option<&'a File> {
        Some(&self.tree.files()[self.tree.find(path)?])
    }

    /// Follows the links of a path within the image; `None` if it leads nowhere.
    pub fn resolve(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut todo: Vec<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
        todo.reverse();
        let (mut here, mut links) = (Vec::new(), 0);
        while let Some(name) = todo.pop() {
            if name == b".." {
                let end = here.iter().rposition(|&byte| byte == b'/');
                here.truncate(end.unwrap_or(0));
                continue;
            }
            let before = here.len();
            here.push(b'/');
            here.extend(&name);
            if let Content::Link(target) = &self.get(&here)?.content {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                here.truncate(if target.starts_with(b"/") { 0 } else { before });
                let target: Vec<_> = components(target).map(<[u8]>::to_vec).collect();
                todo.extend(target.into_iter().rev());
            }
        }
        if here.is_empty() {
            here.push(b'/');
        }
        Some(here)
    }

    /// Reads the regular file that a path leads to; `None` if there is none.
    ///
    /// Fails for a file of more than `max_bytes`.
    pub fn read(&self, path: &[u8], max_bytes: u64) -> Result<Option<Vec<u8>>, ScanError> {
        let Some(path) = self.resolve(path) else {
            return Ok(None);
        };
        match self.get(&path) {
            Some(file) if file.kind == FileType::File => {
                self.content(&path, file, max_bytes).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Reads a file of at most `max_bytes`; errors call it `path`.
    pub fn content(&self, path: &[u8], file: &File, max_bytes: u64) -> Result<Vec<u8>, ScanError> {
        let size = file.content.size();
        let too_large = || ScanError::TooLarge {
            path: display_path(path),
            size,
        };
        if size > max_bytes {
            return Err(too_large());
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| too_large())?];
        let filled = self.read_at(file, 0, &mut bytes)?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Fills the buffer from `offset` on; returns fewer bytes only at the end of the file.
    pub fn read_at(&self, file: &File, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let from = offset.saturating_add(filled as u64);
            match file
                .content
                .read_at(self.files, from, &mut buffer[filled..])?
            {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// Returns the direct children of a directory whose path has no links, sorted by path.
    pub fn children<'p>(
        &self,
        directory: &'p [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a File)> + use<'a, 'p> {
        let tree = self.tree;
        let name = if directory == b"/" {
            1
        } else {
            directory.len() + 1
        };
        tree.below(directory)
            .filter(move |(path, _)| !path[name..].contains(&b'/'))
            .map(move |(path, index)| (path, &tree.files()[index]))
    }
}

/// Converts a path of an image for messages.
pub fn display_path(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path))
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}
