//! Owner and permission check: what is trusted because of where it is stored must not be writable for other users.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::layout::entries;
use super::{Store, StoreError};
use crate::os::if_exists;

/// Write permission of the group and of others.
const OTHERS_WRITE: u32 = 0o022;

impl Store {
    /// Checks owner and permissions of the store's directories, its channels and its log. Blobs and manifests are named by
    /// their digests and need no such trust.
    pub(crate) fn guard(&self) -> Result<(), StoreError> {
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
