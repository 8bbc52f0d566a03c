//! Where images, manifests and records live.
//!
//! ```text
//! <store>/blobs/sha256/<hex>              what images were made from, and chunks of images: write once
//!         images/<image>/<digest>.json    from which chunks an image is put together: write once
//!         manifests/<id>.json             write once
//!         records/<id>/<digest>.json      what differed from run to run: write once
//!         scans/<id>/<digest>.json        what scans found: write once
//!         signatures/<id>/<digest>.sig    who vouches for a manifest: write once
//!         attestations/<id>/<digest>.json statements about a manifest, signed: write once
//!         pins/<id>/<digest>.json         images that are kept whatever happens
//!         tombstones.json                 images that are to be removed, and that were: replaced whole
//!         channels/<image>/<channel>.json where a channel points, and every move before: replaced whole
//!         audit.jsonl                     a line for every change, each with the digest of the one before: only grows
//!         audit.checkpoint                how many lines there were, signed: replaced whole
//!         audit.forwarded                 how many lines each syslog server was sent: replaced whole
//!         lock                            shared by writers, held alone by what removes
//! ```
//!
//! An image is cut where its content says so, and what two of them have in common is stored once. One that is a single blob, as
//! older versions stored all of them, has no recipe.
//!
//! Every name but a channel's is the SHA-256 of the file's bytes, and is compared when the file is read. Everything is written beside
//! its target, synced, then renamed.

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
mod file_listing;
mod fsck;
mod image;
mod image_disk;
mod import;
mod lineage;
mod permissions;
mod pins;
pub(crate) mod predicate;
mod prune;
mod retention;
mod scans;
mod sidecar;
mod signatures;
mod status;
mod transaction;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

pub use crate::time::{InvalidTime, Timestamp};
pub use attestations::{Attestation, Revoked};
pub use audit::read_checkpoint;
pub use build_info::{Record, Run};
pub use channels::{ChannelPolicy, Ec2Targets, PolicyError};
pub use error::StoreError;
pub use fsck::{Checked, Fault};
pub use image::Image;
pub use image_disk::ImageDisk;
pub use lineage::{Lineage, Relative};
pub use pins::Pin;
pub use prune::{Pruning, Tombstone, Tombstones};
pub use retention::{Held, Holder, Keep};
pub use scans::ScanRecord;
pub use signatures::StoredSignature;
pub use status::{ImageStatus, Status};
pub use transaction::Writing;

use self::background_sync::Behind;
use crate::digest::Digest;
use crate::os::atomic_file::{UNFINISHED, Unfinished};
use crate::os::hash_stream::{self, Sparse};
use crate::os::xdg;
use crate::record::channel::ChannelName;
use crate::record::manifest::{IdPrefix, Manifest, ManifestId};
use crate::ui::Ui;

/// A store; cheap to clone. Nothing is made on disk before something is written.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A file in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blob {
    /// Its digest, which is its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A manifest as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Its id.
    pub id: ManifestId,
    /// What it says.
    pub manifest: Manifest,
    /// The bytes that were hashed.
    pub bytes: Vec<u8>,
}

impl Store {
    /// The store in this directory.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The store of this user: `karat` in the XDG data directory.
    ///
    /// # Errors
    /// The environment names no place.
    pub fn of_user() -> Result<Self, StoreError> {
        xdg::directory("XDG_DATA_HOME", ".local/share")
            .map(|data| Self::new(data.join("karat")))
            .ok_or(StoreError::NoPlace)
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a blob is, if it is there.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Gets the right to write.
    ///
    /// # Errors
    /// The store cannot be made or locked.
    pub async fn begin(&self) -> Result<Writing, StoreError> {
        Writing::begin(self).await
    }

    /// The ids of all manifests, in order.
    ///
    /// # Errors
    /// The store cannot be read. A store that is not there is empty.
    pub fn ids(&self) -> Result<Vec<ManifestId>, StoreError> {
        let paths = entries(&self.manifests())?;
        // Another process may be writing under a passing name; only whole files have an id as theirs.
        let mut ids: Vec<ManifestId> = paths
            .iter()
            .filter_map(|path| name_of(path, "json"))
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// Finds the one manifest whose id begins with `text`, or that the channel of that name points to.
    ///
    /// # Errors
    /// `text` is no beginning of an id, or of none or several that are in the store, and no channel.
    pub fn resolve(&self, text: &str) -> Result<ManifestId, StoreError> {
        if text.contains('/') {
            let name: ChannelName = text.parse()?;
            let head = self.channel(&name)?.head().map(|head| head.manifest);
            return head.ok_or(StoreError::NoChannel(name));
        }
        let prefix: IdPrefix = text.parse()?;
        let mut matches = self.ids()?;
        matches.retain(|id| prefix.matches(id));
        match matches[..] {
            [id] => Ok(id),
            [] => {
                let store = self.root.clone();
                Err(StoreError::Unknown { prefix, store })
            }
            _ => Err(StoreError::Ambiguous { prefix, matches }),
        }
    }

    /// Reads a manifest, and checks that it is the one that was stored.
    ///
    /// # Errors
    /// It cannot be read, or was tampered with.
    pub fn manifest(&self, id: ManifestId) -> Result<Stored, StoreError> {
        let path = self.manifest_path(&id);
        let bytes = intact(&path)?;
        match Manifest::from_bytes(&bytes) {
            Ok(manifest) => Ok(Stored {
                id,
                manifest,
                bytes,
            }),
            Err(source) => Err(StoreError::Unreadable { path, source }),
        }
    }

    /// How the builds of a manifest went, the first one first.
    ///
    /// # Errors
    /// A record cannot be read, or was tampered with.
    pub fn records_of(&self, id: ManifestId) -> Result<Vec<Record>, StoreError> {
        let records = Self::beside(&self.records(), id, |it: &Record| it.manifest)?;
        let mut records: Vec<_> = records.into_iter().map(|(record, _)| record).collect();
        records.sort_by_key(|record| (record.finished, record.started));
        Ok(records)
    }

    /// Copies a manifest's image to `target`, checking its digest on the way.
    ///
    /// # Errors
    /// The image is missing or was tampered with, `target` is there already (unless `replace`) or cannot be written.
    /// Nothing is left at `target` then that was not there before.
    pub async fn export(
        &self,
        manifest: &Manifest,
        target: &Path,
        replace: bool,
        ui: &Ui,
    ) -> Result<Blob, StoreError> {
        let image = &manifest.outputs.image;
        let image = (image.digest, image.size);
        self.export_image(image, target, replace, ui).await
    }

    /// Copies an image of this digest and size to `target` like [`Self::export`], also one that is known only as the base of another.
    ///
    /// # Errors
    /// Those of [`Self::export`].
    pub async fn export_image(
        &self,
        (digest, size): (Digest, u64),
        target: &Path,
        replace: bool,
        ui: &Ui,
    ) -> Result<Blob, StoreError> {
        // Checked again by the rename; but a long copy should not end in this.
        if !replace && fs::symlink_metadata(target).is_ok() {
            return Err(StoreError::Exists(target.to_owned()));
        }
        let bar = ui.bar("exporting", Some(size));
        let (store, target) = (self.clone(), target.to_owned());
        hash_stream::blocking(move |stop| {
            let image = store.image(&digest)?;
            let failed = |source| StoreError::Export {
                path: target.clone(),
                source,
            };
            let mut unfinished = Unfinished::create(&target, 0o644).map_err(failed)?;
            let mut behind = Behind::new(unfinished.file()).map_err(failed)?;
            let mut sparse = Sparse::new(unfinished.file());
            let blob = image.read(stop, |bytes| {
                bar.advance(bytes.len() as u64);
                behind.advance(bytes.len() as u64);
                sparse.write_all(bytes).map_err(failed)
            })?;
            let finished = sparse.finish().and_then(|()| behind.finish());
            finished.map_err(failed)?;
            let finished = if replace {
                unfinished.finish()
            } else {
                unfinished.finish_new()
            };
            match finished {
                Ok(()) => Ok(blob),
                Err(error) if !replace && error.kind() == io::ErrorKind::AlreadyExists => {
                    Err(StoreError::Exists(target))
                }
                Err(error) => Err(failed(error)),
            }
        })
        .await
    }

    /// Removes what a crashed writer left under a passing name. Only for who has the lock alone.
    fn sweep(&self) -> Result<(), StoreError> {
        let mut directories = vec![self.root.clone(), self.blobs(), self.manifests()];
        for kind in self.kinds() {
            directories.extend(entries(&kind)?);
        }
        directories.extend(entries(&self.channels_directory())?);
        directories.extend(entries(&self.images_directory())?);
        for directory in directories {
            for path in entries(&directory)? {
                let name = path.file_name().unwrap_or_default().as_encoded_bytes();
                if name.starts_with(UNFINISHED.as_bytes()) {
                    fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
                }
            }
        }
        Ok(())
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    fn records(&self) -> PathBuf {
        self.root.join("records")
    }

    fn scans(&self) -> PathBuf {
        self.root.join("scans")
    }

    fn signatures(&self) -> PathBuf {
        self.root.join("signatures")
    }

    fn attestations(&self) -> PathBuf {
        self.root.join("attestations")
    }

    fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    fn manifest_path(&self, id: &ManifestId) -> PathBuf {
        self.manifests().join(format!("{id}.json"))
    }
}

/// What a directory holds; nothing when it is not there.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = || {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(StoreError::io("read", directory)),
    }
}

/// What a file is called by, before its extension.
fn name_of<T: std::str::FromStr>(path: &Path, extension: &str) -> Option<T> {
    let is_kind = path.extension() == Some(OsStr::new(extension));
    path.file_stem()?.to_str().filter(|_| is_kind)?.parse().ok()
}

/// Reads a file that is called by the digest of its bytes, and compares them.
fn intact(path: &Path) -> Result<Vec<u8>, StoreError> {
    let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
    let actual = Digest::of(&bytes);
    if path.file_stem() == Some(OsStr::new(&actual.hex())) {
        return Ok(bytes);
    }
    let path = path.to_owned();
    Err(StoreError::Tampered { path, actual })
}

#[cfg(test)]
mod tests;
