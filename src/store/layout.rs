//! Paths of the store, and reading its directories and files.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Store, StoreError};
use crate::digest::Digest;
use crate::os::if_exists;
use crate::record::channel::ChannelName;
use crate::record::manifest::ManifestId;

impl Store {
    /// Returns the path of a blob, which may not exist.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    /// Lists the blobs. Files under other names, such as temporary ones, are left out.
    pub(super) fn blob_paths(&self) -> Result<Vec<(Digest, PathBuf)>, StoreError> {
        let paths = entries(&self.blobs())?.into_iter();
        Ok(paths
            .filter_map(|path| Some((parse_name(&path)?, path)))
            .collect())
    }

    /// Directory of chunk indexes, with a directory for each image.
    pub(super) fn images_directory(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(super) fn recipes_of(&self, image: &Digest) -> PathBuf {
        self.images_directory().join(image.hex())
    }

    pub(super) fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    pub(super) fn manifest_path(&self, id: &ManifestId) -> PathBuf {
        self.manifests().join(format!("{id}.json"))
    }

    pub(super) fn records(&self) -> PathBuf {
        self.root.join("records")
    }

    pub(super) fn scans(&self) -> PathBuf {
        self.root.join("scans")
    }

    pub(super) fn signatures(&self) -> PathBuf {
        self.root.join("signatures")
    }

    pub(super) fn attestations(&self) -> PathBuf {
        self.root.join("attestations")
    }

    pub(super) fn pins(&self) -> PathBuf {
        self.root.join("pins")
    }

    /// Directories of sidecar files: each has a directory for each manifest.
    pub(super) fn sidecar_directories(&self) -> [PathBuf; 5] {
        [
            self.records(),
            self.scans(),
            self.signatures(),
            self.attestations(),
            self.pins(),
        ]
    }

    pub(super) fn tombstones_path(&self) -> PathBuf {
        self.root.join("tombstones.json")
    }

    pub(super) fn channels_directory(&self) -> PathBuf {
        self.root.join("channels")
    }

    pub(super) fn channel_path(&self, name: &ChannelName) -> PathBuf {
        let directory = self.channels_directory().join(&name.image);
        directory.join(format!("{}.json", name.channel))
    }

    /// Returns the path of the undo journal that exists while a channel's targets at AWS are moved.
    pub(crate) fn ec2_journal(&self, name: &ChannelName) -> PathBuf {
        let directory = self.channels_directory().join(&name.image);
        directory.join(format!(".{}.ec2.json", name.channel))
    }

    /// Returns the path of the audit log.
    #[must_use]
    pub fn audit_path(&self) -> PathBuf {
        self.root.join("audit.jsonl")
    }

    /// Returns the path of the signed checkpoint of the audit log.
    #[must_use]
    pub fn checkpoint_path(&self) -> PathBuf {
        self.root.join("audit.checkpoint")
    }

    pub(super) fn forwarded_path(&self) -> PathBuf {
        self.root.join("audit.forwarded")
    }
}

/// Lists a directory. A missing directory is empty.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = || {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    };
    let entries = if_exists(read()).map_err(StoreError::io("read", directory))?;
    Ok(entries.unwrap_or_default())
}

/// Parses the file name before `.extension`.
pub(super) fn parse_stem<T: FromStr>(path: &Path, extension: &str) -> Option<T> {
    let has_extension = path.extension() == Some(OsStr::new(extension));
    path.file_stem()?
        .to_str()
        .filter(|_| has_extension)?
        .parse()
        .ok()
}

/// Parses the whole file name.
pub(super) fn parse_name<T: FromStr>(path: &Path) -> Option<T> {
    path.file_name()?.to_str()?.parse().ok()
}

/// Reads a file; `None` if it does not exist.
pub(super) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    if_exists(fs::read(path)).map_err(StoreError::io("read", path))
}

/// Reads a file that is named by the digest of its bytes, and verifies them.
pub(super) fn read_verified(path: &Path) -> Result<Vec<u8>, StoreError> {
    let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
    let actual = Digest::of(&bytes);
    if path.file_stem() == Some(OsStr::new(&actual.hex())) {
        return Ok(bytes);
    }
    let path = path.to_owned();
    Err(StoreError::Tampered { path, actual })
}
