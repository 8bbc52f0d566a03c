//! File access for checks: the tree of an image, walked once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::ScanError;
use crate::disk::read::{FileSystem, FileType, ReadError};
use crate::disk::tree::{Content, File, Tree, follow_links};

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
        follow_links(path, |path| {
            Some(match &self.get(path)?.content {
                Content::Link(target) => Some(target.as_slice()),
                _ => None,
            })
        })
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
