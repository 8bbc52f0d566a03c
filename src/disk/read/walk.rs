//! Visits every path of a file system once.

use std::collections::HashSet;
use std::vec;

use super::{DirectoryEntry, FileSystem, FileType, Inode, Metadata, ReadError};

const PART: &str = "file system";
/// Paths of system calls have at most 4096 bytes; images contain nothing so deep that it needs more.
const MAX_PATH_BYTES: usize = 1 << 14;
/// A system image has 20,000 to 500,000. Keeping all of them, and a copy to work on, takes half a KiB for each.
pub(super) const MAX_PATHS: usize = 1_250_000;

/// Calls `visit` for the root, whose path is empty, and for every path below it: directories before their entries, names in
/// byte order. Paths do not start with `/`.
///
/// # Errors
/// The file system is damaged or exceeds the limits, a directory has two names, or `visit` fails.
pub fn walk<E: From<ReadError>>(
    file_system: &dyn FileSystem,
    mut visit: impl FnMut(&[u8], Inode, &Metadata) -> Result<(), E>,
) -> Result<(), E> {
    let root = file_system.root();
    let metadata = file_system.stat(root)?;
    visit(b"", root, &metadata)?;
    let mut walk = Walk {
        file_system,
        directories: [root].into(),
        paths: 0,
        path: Vec::new(),
        open: Vec::new(),
    };
    walk.enter(root)?;
    while let Some(entry) = walk.next()? {
        let metadata = file_system.stat(entry.inode)?;
        visit(&walk.path, entry.inode, &metadata)?;
        if metadata.kind == FileType::Directory {
            walk.enter(entry.inode)?;
        }
    }
    Ok(())
}

struct Walk<'a> {
    file_system: &'a dyn FileSystem,
    /// Directories that were entered: a second name for one could make the tree endless.
    directories: HashSet<Inode>,
    paths: usize,
    path: Vec<u8>,
    /// The directories of `path`: the remaining entries of each, and the length of its own path.
    open: Vec<(vec::IntoIter<DirectoryEntry>, usize)>,
}

impl Walk<'_> {
    fn enter(&mut self, directory: Inode) -> Result<(), ReadError> {
        if !self.open.is_empty() && !self.directories.insert(directory) {
            let problem = format!("directory {} has two names", directory.0);
            return Err(ReadError::damaged(PART, problem));
        }
        let entries = self.file_system.read_dir(directory)?;
        self.paths += entries.len();
        if self.paths > MAX_PATHS {
            return Err(too_large(format!("it has more than {MAX_PATHS} names")));
        }
        self.open.push((entries.into_iter(), self.path.len()));
        Ok(())
    }

    /// Returns the next entry, and sets `path` to its path.
    fn next(&mut self) -> Result<Option<DirectoryEntry>, ReadError> {
        while let Some((entries, length)) = self.open.last_mut() {
            self.path.truncate(*length);
            let Some(entry) = entries.next() else {
                self.open.pop();
                continue;
            };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend(&entry.name);
            if self.path.len() > MAX_PATH_BYTES {
                return Err(too_large(format!(
                    "a path has more than {MAX_PATH_BYTES} bytes"
                )));
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }
}

fn too_large(problem: String) -> ReadError {
    ReadError::too_large(PART, problem)
}
