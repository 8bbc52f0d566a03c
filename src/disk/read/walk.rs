//! Every path of a file system, once.

use std::collections::HashSet;
use std::vec;

use super::{Entry, FileSystem, Inode, Kind, Metadata, ReadError};

/// What errors call it.
const PART: &str = "file system";
/// A path of the kernel's system calls has 4096 bytes; nothing deep enough to need more belongs into an image.
const MOST_PATH: usize = 1 << 14;
/// A system image has 20,000 to 500,000. What keeps all of them, and a copy to work on, takes half a KiB for each.
pub(super) const MOST_PATHS: usize = 1_250_000;

/// Calls `visit` with every path below the root and the root itself (an empty path), a directory before what is in it, names in
/// the order of their bytes. Paths have no `/` in front.
///
/// # Errors
/// The file system is damaged, so deep or so large that no image would be, a directory has two names, or `visit` fails.
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
        if metadata.kind == Kind::Directory {
            walk.enter(entry.inode)?;
        }
    }
    Ok(())
}

struct Walk<'a> {
    file_system: &'a dyn FileSystem,
    /// Those that were entered: a second name for one would make the tree endless.
    directories: HashSet<Inode>,
    paths: usize,
    path: Vec<u8>,
    /// The directories on the way to here: what is left in each, and how long its own path is.
    open: Vec<(vec::IntoIter<Entry>, usize)>,
}

impl Walk<'_> {
    fn enter(&mut self, directory: Inode) -> Result<(), ReadError> {
        if !self.open.is_empty() && !self.directories.insert(directory) {
            return Err(ReadError::Damaged {
                part: PART,
                problem: format!("directory {} has two names", directory.0),
            });
        }
        let entries = self.file_system.read_dir(directory)?;
        self.paths += entries.len();
        if self.paths > MOST_PATHS {
            return Err(Self::too_large(format!(
                "it has more than {MOST_PATHS} names"
            )));
        }
        self.open.push((entries.into_iter(), self.path.len()));
        Ok(())
    }

    /// The next entry; `path` is its own then.
    fn next(&mut self) -> Result<Option<Entry>, ReadError> {
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
            if self.path.len() > MOST_PATH {
                return Err(Self::too_large(format!(
                    "a path has more than {MOST_PATH} bytes"
                )));
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    fn too_large(problem: String) -> ReadError {
        ReadError::TooLarge {
            part: PART,
            problem,
        }
    }
}
