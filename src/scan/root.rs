//! What a scan reads: the tree of an image, walked once for all checks.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::ScanError;
use crate::disk::read::{FileSystem, Kind, ReadError};
use crate::disk::tree::{Content, File, Tree};

/// Links that are followed on the way to one file, as Linux does it.
const MOST_LINKS: usize = 40;

/// An image's files: the tree in memory, contents where they are.
pub struct Root<'a> {
    tree: &'a Tree,
    files: &'a dyn FileSystem,
}

impl<'a> Root<'a> {
    /// What is in `tree`, which was read from `files`.
    #[must_use]
    pub fn new(tree: &'a Tree, files: &'a dyn FileSystem) -> Self {
        Self { tree, files }
    }

    /// Every path with its file.
    #[must_use]
    pub fn tree(&self) -> &'a Tree {
        self.tree
    }

    /// Where contents are.
    #[must_use]
    pub fn files(&self) -> &'a dyn FileSystem {
        self.files
    }

    /// What is at a path, a link itself.
    #[must_use]
    pub fn get(&self, path: &[u8]) -> Option<&'a File> {
        Some(&self.tree.files()[self.tree.find(path)?])
    }

    /// The path without links that a path leads to within the image; `None` where there is nothing.
    #[must_use]
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
                if links > MOST_LINKS {
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

    /// The content of the file that a path leads to; `None` where there is no regular file.
    ///
    /// # Errors
    /// It cannot be read, or has more than `most` bytes.
    pub fn read(&self, path: &[u8], most: u64) -> Result<Option<Vec<u8>>, ScanError> {
        let Some(path) = self.resolve(path) else {
            return Ok(None);
        };
        match self.get(&path) {
            Some(file) if file.kind == Kind::File => self.content(&path, file, most).map(Some),
            _ => Ok(None),
        }
    }

    /// The content of a file that is at hand; `path` is what an error calls it.
    ///
    /// # Errors
    /// It cannot be read, or has more than `most` bytes.
    pub fn content(&self, path: &[u8], file: &File, most: u64) -> Result<Vec<u8>, ScanError> {
        let size = file.content.size();
        let too_large = || ScanError::TooLarge {
            path: shown(path),
            size,
        };
        if size > most {
            return Err(too_large());
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| too_large())?];
        let filled = self.read_at(file, 0, &mut bytes)?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Fills the buffer with what a file has from `offset` on; less only at its end.
    ///
    /// # Errors
    /// It cannot be read.
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

    /// What is directly in the directory at a path without links: path and file, sorted.
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

/// A path of an image as one of this system's, for messages.
#[must_use]
pub fn shown(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path))
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}
