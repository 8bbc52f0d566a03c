//! Owner and permission check: what is trusted because of where it is stored must not be writable for other users.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::layout::entries;
use super::{Store, StoreError};
use crate::os::if_exists;

/// Entries of which every store has one as soon as it records something.
const STORE_ENTRIES: [&str; 3] = ["audit.jsonl", "blobs/sha256", "manifests"];
/// Entries that may be there before the first image: rules of channels and pins, the lock of the writers, the user's vulnerability
/// database in the same directory, and what a new file system has.
const EARLY_ENTRIES: [&[u8]; 7] = [
    b"audit.lock",
    b"blobs",
    b"channels",
    b"lock",
    b"lost+found",
    b"pins",
    b"vulnerabilities.db",
];
/// Write permission of the group and of others.
const OTHERS_WRITE: u32 = 0o022;

impl Store {
    /// Refuses a directory with other contents than a store's. A store that does not exist is an empty one.
    pub(crate) fn require_store(&self) -> Result<(), StoreError> {
        let root = self.root();
        let not_a_store = || StoreError::NotAStore(root.to_owned());
        match if_exists(fs::metadata(root)).map_err(StoreError::io("read", root))? {
            None => return Ok(()),
            Some(metadata) if !metadata.is_dir() => return Err(not_a_store()),
            Some(_) => {}
        }
        let is_store = STORE_ENTRIES.iter().any(|name| root.join(name).exists());
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            name.starts_with(b".") || EARLY_ENTRIES.contains(&name)
        };
        if is_store || entries(root)?.iter().all(is_ours) {
            return Ok(());
        }
        Err(not_a_store())
    }

    /// Checks owner and permissions of the store's directories, its channels and its log. Blobs and manifests are named by
    /// their digests and need no such trust.
    pub(crate) fn guard(&self) -> Result<(), StoreError> {
        self.require_store()?;
        check(self.root())?;
        for path in entries(self.root())? {
            check(&path)?;
        }
        for directory in entries(&self.channels_directory())? {
            check(&directory)?;
            for path in entries(&directory)? {
                check(&path)?;
            }
        }
        check(&self.blobs())
    }
}

fn check(path: &Path) -> Result<(), StoreError> {
    let metadata = if_exists(fs::metadata(path)).map_err(StoreError::io("read", path))?;
    let Some(metadata) = metadata else {
        return Ok(());
    };
    let (path, owner) = (path.to_owned(), metadata.uid());
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(StoreError::Foreign { path, owner });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 {
        return Err(StoreError::Writable { path, mode });
    }
    Ok(())
}
