//! The disk that an image of the store is.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tempfile::TempPath;

use super::PublishError;
use crate::digest::Digest;
use crate::disk;
use crate::disk::content::{CHUNK, ContentHasher};
use crate::disk::read::qcow2::Qcow2;
use crate::disk::read::{BlockRead, RawFile, ReadError};
use crate::os::hash_stream;
use crate::record::manifest::{self, Manifest};
use crate::store::{ImageDisk, Store};
use crate::ui::Ui;

/// A disk that can be read, and is what it was when it was recorded: every part of it is compared when it is read.
pub struct Source {
    /// Its bytes.
    pub disk: Arc<dyn BlockRead>,
    /// Removed with this value; read until then.
    _converted: Option<TempPath>,
}

impl Source {
    /// Opens the disk of an image. `scratch` has room for it where its format is read by `qemu-img` alone.
    ///
    /// # Errors
    /// The image is not in the store, or cannot be read.
    pub async fn open(
        store: &Store,
        manifest: &Manifest,
        scratch: &Path,
        ui: &Ui,
    ) -> Result<Self, PublishError> {
        let manifest::Image { format, digest, .. } = &manifest.outputs.image;
        let disk: Arc<dyn BlockRead> = match format.as_str() {
            "qcow2" => Arc::new(Qcow2::open(ImageDisk::new(store.image(digest)?), None)?),
            "raw" => Arc::new(ImageDisk::new(store.image(digest)?)),
            _ => {
                let failed = |source| ReadError::Io {
                    what: scratch.display().to_string(),
                    source,
                };
                std::fs::create_dir_all(scratch).map_err(failed)?;
                let directory = tempfile::tempdir_in(scratch).map_err(failed)?;
                let file = directory.path().join("image");
                store.export(manifest, &file, false, ui).await?;
                let raw = tempfile::NamedTempFile::new_in(scratch);
                let raw = raw.map_err(failed)?.into_temp_path();
                disk::to_raw(&file, &raw).await?;
                return Ok(Self {
                    disk: Arc::new(RawFile::open(&raw)?),
                    _converted: Some(raw),
                });
            }
        };
        Ok(Self {
            disk,
            _converted: None,
        })
    }

    /// Digest of the disk: as it was recorded, or else made now.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub async fn digest(&self, manifest: &Manifest) -> Result<Digest, PublishError> {
        if let Some(digest) = manifest.outputs.image.disk {
            return Ok(digest);
        }
        let disk = Arc::clone(&self.disk);
        Ok(hash_stream::blocking(move |_| content(&*disk)).await?)
    }
}

fn content(disk: &dyn BlockRead) -> Result<Digest, ReadError> {
    let mut content = ContentHasher::new(disk.len());
    let mut chunk = vec![0; CHUNK];
    for offset in (0..disk.len()).step_by(CHUNK) {
        let span = disk.span(offset)?;
        if span.zero && span.length >= CHUNK as u64 {
            continue;
        }
        let left = usize::try_from(disk.len() - offset).map_or(CHUNK, |left| left.min(CHUNK));
        disk.read_at(offset, &mut chunk[..left])?;
        content.add(offset, Sha256::digest(&chunk[..left]).into());
    }
    Ok(content.finish())
}
