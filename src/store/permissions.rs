//! Whether others could have changed a store: what is believed because of where it lies must be its owner's alone.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Store, StoreError, entries};

/// Write permission of the group and of others.
const OTHERS: u32 = 0o022;

impl Store {
    /// Checks owner and permissions of the store's directories, its channels and its log. Blobs and manifests are called by their
    /// digests, and need no such trust.
    ///
    /// # Errors
    /// Somebody else could change them, or they cannot be looked at.
    pub fn guard(&self) -> Result<(), StoreError> {
        let user = rustix::process::geteuid().as_raw();
        let check = |path: &Path| {
            let found = match fs::metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                found => found.map_err(StoreError::io("read", path))?,
            };
            let path = path.to_owned();
            if found.uid() != user && found.uid() != 0 {
                let owner = found.uid();
                return Err(StoreError::Foreign { path, owner });
            }
            let mode = found.mode() & 0o7777;
            if mode & OTHERS != 0 {
                return Err(StoreError::Writable { path, mode });
            }
            Ok(())
        };
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
