//! Disk of an image in the store.

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

/// Readable disk of an image. Each part is verified against its recorded digest when it is read.
pub struct VerifiedDisk {
    pub disk: Arc<dyn BlockRead>,
    /// Converted copy, removed with this value.
    _converted: Option<TempPath>,
}

impl VerifiedDisk {
    /// Opens the disk of an image. A format that only `qemu-img` reads is converted into the directory `scratch`.
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
                let raw = tempfile::NamedTempFile::new_in(scratch)
                    .map_err(failed)?
                    .into_temp_path();
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

    /// Returns the digest of the disk: the recorded one, or else computed now.
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
