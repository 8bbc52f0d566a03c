//! Which paths the package database has.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::{CleanError, content};
use crate::disk::read::FileSystem;
use crate::disk::tree::{Content, Tree};

const INFO: &[u8] = b"/var/lib/dpkg/info/";

/// Paths by package, as dpkg's lists have them.
#[derive(Clone, Default, Debug)]
pub struct Owners {
    packages: Vec<String>,
    /// Hashes of paths with the indices of their packages, sorted: there can be half a million, and two of so many have the
    /// same 64 bits in one of a hundred million systems. A path then would seem to have an owner and stay.
    paths: Vec<(u64, u32)>,
}

impl Owners {
    /// Reads dpkg's lists. A tree without dpkg has none.
    ///
    /// # Errors
    /// A list cannot be read.
    pub fn read(tree: &Tree, files: &dyn FileSystem) -> Result<Self, CleanError> {
        let mut owned = Self {
            packages: Vec::new(),
            paths: Vec::new(),
        };
        let lists: Vec<_> = tree
            .paths()
            .filter(|(path, _)| path.starts_with(INFO) && path.ends_with(b".list"))
            .collect();
        for (path, index) in lists {
            let name =
                String::from_utf8_lossy(&path[INFO.len()..path.len() - ".list".len()]).into_owned();
            let text = content(tree, files, path, index)?;
            // There are as many as files in a directory.
            let package = u32::try_from(owned.packages.len()).unwrap_or(u32::MAX);
            for line in text
                .split(|&byte| byte == b'\n')
                .filter(|line| !line.is_empty() && *line != b"/.")
            {
                owned.paths.push((hash(&resolve(tree, line)), package));
            }
            owned.packages.push(name);
        }
        // A directory is of the last package that has it.
        owned.paths.sort_unstable_by(|one, other| other.cmp(one));
        owned.paths.dedup_by_key(|(path, _)| *path);
        owned.paths.shrink_to_fit();
        Ok(owned)
    }

    /// The package that has this path.
    #[must_use]
    pub fn of(&self, path: &[u8]) -> Option<&str> {
        let path = hash(path);
        let at = self.paths.binary_search_by(|(other, _)| path.cmp(other));
        let (_, package) = self.paths.get(at.ok()?)?;
        self.packages.get(*package as usize).map(String::as_str)
    }
}

fn hash(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// The path behind a link at the top: `/lib/x` is `/usr/lib/x` where `/lib` leads to `usr/lib`.
fn resolve(tree: &Tree, path: &[u8]) -> Box<[u8]> {
    let end = path
        .iter()
        .skip(1)
        .position(|&byte| byte == b'/')
        .map_or(path.len(), |at| at + 1);
    let (top, rest) = path.split_at(end);
    let file = tree.find(top).map(|index| &tree.files()[index]);
    match file.map(|file| &file.content) {
        Some(Content::Link(target)) if !rest.is_empty() => {
            let target = target.strip_prefix(b"/").unwrap_or(target);
            [b"/", target, rest].concat().into()
        }
        _ => path.into(),
    }
}
