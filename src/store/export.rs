//! Export of an image to a file outside the store.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::background_sync::BackgroundSync;
use super::{Blob, Store, StoreError};
use crate::digest::Digest;
use crate::os::atomic_file::Unfinished;
use crate::os::hash_stream::{self, Sparse};
use crate::record::manifest::Manifest;
use crate::ui::Ui;

impl Store {
    /// Copies a manifest's image to `target` and verifies it.
    ///
    /// # Errors
    /// The image is missing or damaged, `target` exists (unless `replace`) or cannot be written. `target` is then unchanged.
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

    /// Like [`Self::export`], for the digest and size of an image that may be known only as the base of another.
    pub(crate) async fn export_image(
        &self,
        (digest, size): (Digest, u64),
        target: &Path,
        replace: bool,
        ui: &Ui,
    ) -> Result<Blob, StoreError> {
        // The rename checks again. This check spares the user a long copy that would fail at its end.
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
            let mut sync = BackgroundSync::new(unfinished.file()).map_err(failed)?;
            let mut sparse = Sparse::new(unfinished.file());
            let blob = image.read(stop, |bytes| {
                bar.advance(bytes.len() as u64);
                sync.advance(bytes.len() as u64);
                sparse.write_all(bytes).map_err(failed)
            })?;
            sparse
                .finish()
                .and_then(|()| sync.finish())
                .map_err(failed)?;
            let renamed = if replace {
                unfinished.finish()
            } else {
                unfinished.finish_new()
            };
            match renamed {
                Ok(()) => Ok(blob),
                Err(error) if !replace && error.kind() == io::ErrorKind::AlreadyExists => {
                    Err(StoreError::Exists(target))
                }
                Err(error) => Err(failed(error)),
            }
        })
        .await
    }
}
