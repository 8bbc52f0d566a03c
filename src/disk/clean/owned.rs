//! Which paths the package database has.

use std::collections::HashMap;

use super::{CleanError, content};
use crate::disk::read::FileSystem;
use crate::disk::tree::{Content, Tree};

const INFO: &[u8] = b"/var/lib/dpkg/info/";

/// Paths by package, as dpkg's lists have them.
#[derive(Clone, Default, Debug)]
pub struct Owners {
    packages: Vec<String>,
    paths: HashMap<Box<[u8]>, usize>,
}

impl Owners {
    /// Reads dpkg's lists. A tree without dpkg has none.
    ///
    /// # Errors
    /// A list cannot be read.
    pub fn read(tree: &Tree, files: &dyn FileSystem) -> Result<Self, CleanError> {
        let mut owned = Self {
            packages: Vec::new(),
            paths: HashMap::new(),
        };
        let lists: Vec<_> = tree
            .paths()
            .filter(|(path, _)| path.starts_with(INFO) && path.ends_with(b".list"))
            .collect();
        for (path, index) in lists {
            let name =
                String::from_utf8_lossy(&path[INFO.len()..path.len() - ".list".len()]).into_owned();
            let text = content(tree, files, path, index)?;
            for line in text
                .split(|&byte| byte == b'\n')
                .filter(|line| !line.is_empty() && *line != b"/.")
            {
                owned
                    .paths
                    .insert(resolve(tree, line), owned.packages.len());
            }
            owned.packages.push(name);
        }
        Ok(owned)
    }

    /// The package that has this path.
    #[must_use]
    pub fn of(&self, path: &[u8]) -> Option<&str> {
        self.paths
            .get(path)
            .map(|&package| self.packages[package].as_str())
    }
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
