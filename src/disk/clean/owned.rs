//! The owners of paths by the package database.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::{CleanError, content};
use crate::disk::read::FileSystem;
use crate::disk::tree::{Content, Tree};

const INFO: &[u8] = b"/var/lib/dpkg/info/";

/// Packages by path, from the file lists of dpkg.
#[derive(Clone, Default, Debug)]
pub struct Owners {
    packages: Vec<String>,
    /// Hashes of paths with the indices of their packages, sorted. A system has up to half a million paths, and a collision in
    /// 64 bits in one of a hundred million systems; a path then seems to have an owner, and is kept.
    paths: Vec<(u64, u32)>,
}

impl Owners {
    /// Reads the file lists of dpkg. A tree without dpkg has no owners.
    ///
    /// # Errors
    /// A list cannot be read.
    pub fn read(tree: &Tree, files: &dyn FileSystem) -> Result<Self, CleanError> {
        let mut owners = Self::default();
        let lists: Vec<_> = tree
            .paths()
            .filter(|(path, _)| path.starts_with(INFO) && path.ends_with(b".list"))
            .collect();
        for (path, index) in lists {
            let name =
                String::from_utf8_lossy(&path[INFO.len()..path.len() - ".list".len()]).into_owned();
            let text = content(tree, files, path, index)?;
            // At most as many as entries in a directory.
            let package = u32::try_from(owners.packages.len()).unwrap_or(u32::MAX);
            for line in text
                .split(|&byte| byte == b'\n')
                .filter(|line| !line.is_empty() && *line != b"/.")
            {
                owners.paths.push((hash(&resolve(tree, line)), package));
            }
            owners.packages.push(name);
        }
        // A directory of several packages belongs to the last one.
        owners.paths.sort_unstable_by(|one, other| other.cmp(one));
        owners.paths.dedup_by_key(|(path, _)| *path);
        owners.paths.shrink_to_fit();
        Ok(owners)
    }

    /// Returns the package that owns a path.
    #[must_use]
    pub fn package_of(&self, path: &[u8]) -> Option<&str> {
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

/// Resolves a link in the top directory: `/lib/x` is `/usr/lib/x` if `/lib` is a link to `usr/lib`.
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
