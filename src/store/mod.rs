//! Images, manifests and their records on disk.
//!
//! ```text
//! <store>/blobs/sha256/<hex>              build inputs, and chunks of images: write once
//!         images/<image>/<digest>.json    chunk index of an image: write once
//!         manifests/<id>.json             write once
//!         records/<id>/<digest>.json      what differs from build to build: write once
//!         scans/<id>/<digest>.json        scan results: write once
//!         signatures/<id>/<digest>.sig    signatures of a manifest: write once
//!         attestations/<id>/<digest>.json signed statements about a manifest: write once
//!         pins/<id>/<digest>.json         images that are kept regardless of channels
//!         tombstones.json                 images marked for removal, and removed: replaced whole
//!         channels/<image>/<channel>.json a channel's target and all its moves: replaced whole
//!         audit.jsonl                     one line a change, each with the digest of the line before: append only
//!         audit.checkpoint                signed length of the audit log: replaced whole
//!         audit.forwarded                 number of lines sent to each syslog server: replaced whole
//!         lock                            shared by writers, exclusive for pruning
//! ```
//!
//! An image is split into chunks at boundaries that its content determines, so parts that two images share are stored once.
//! An image that is a single blob, as older versions stored them, has no chunk index.
//!
//! Every file but the replaceable ones is named by the SHA-256 of its bytes, which is verified when the file is read. Files are
//! written beside their target, synced, then renamed.
//!
//! Each file of this module holds one noun: its type, and the methods of [`Store`] (reading) and [`Transaction`] (writing)
//! for it. All paths are in `layout.rs`.

mod attestations;
mod audit;
mod background_sync;
mod build_info;
mod channels;
mod checksummed;
mod chunk_index;
mod chunk_reader;
mod chunker;
mod error;
mod export;
mod file_listing;
mod fsck;
mod image;
mod image_disk;
mod import;
mod layout;
mod lineage;
mod manifests;
mod materials;
mod permissions;
mod pins;
pub(crate) mod predicate;
mod prune;
mod removal;
mod retention;
mod scans;
mod sidecar;
mod signatures;
mod status;
mod transaction;

use std::path::{Path, PathBuf};

pub(crate) use crate::time::Timestamp;
pub(crate) use attestations::{Attestation, RevokedImage};
pub(crate) use audit::read_checkpoint;
pub(crate) use build_info::BuildInfo;
pub use build_info::BuildRun;
pub(crate) use channels::{ChannelPolicy, Ec2Targets, PolicyError};
pub use error::StoreError;
pub(crate) use file_listing::CauseLookup;
pub(crate) use fsck::CheckReport;
pub use fsck::Fault;
pub(crate) use image::Image;
pub use image_disk::ImageDisk;
pub(crate) use lineage::Relative;
pub(crate) use manifests::StoredManifest;
pub(crate) use pins::Pin;
pub(crate) use prune::{Pruning, Tombstone};
pub(crate) use retention::Retention;
pub(crate) use scans::ScanRecord;
pub(crate) use status::{ImageStatus, StoreStatus};
pub(crate) use transaction::Transaction;

use crate::digest::Digest;
use crate::os::{atomic_file, xdg};

/// A store in a directory. Cheap to clone; the directory is created by the first write.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// Digest and size of a file in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blob {
    /// SHA-256 of the file, which is also its name.
    pub digest: Digest,
    /// Size of the file in bytes.
    pub size: u64,
}

impl Store {
    /// Returns the store in directory `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the user's store: `karat` in the XDG data directory.
    pub(crate) fn of_user() -> Result<Self, StoreError> {
        xdg::directory("XDG_DATA_HOME", ".local/share")
            .map(|data| Self::new(data.join("karat")))
            .ok_or(StoreError::NoPlace)
    }

    /// Returns the directory of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Checks that files can be written to the store, before a build that takes minutes. Leaves nothing behind.
    ///
    /// # Errors
    /// The directory cannot be created or written to.
    pub fn check_writable(&self) -> Result<(), StoreError> {
        let is_new = !self.root.exists();
        atomic_file::make_directory(&self.root)
            .and_then(|()| tempfile::tempfile_in(&self.root))
            .map_err(StoreError::io("write to", &self.root))?;
        if is_new {
            // Another build may have begun to fill it.
            let _ = std::fs::remove_dir(&self.root);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
