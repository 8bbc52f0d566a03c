//! Putting an image and its manifest into the store.
//!
//! The order is image, record, manifest, and each is whole under its final name before the next is begun. So whatever
//! has a manifest is complete, and a crash between any two leaves only what no manifest refers to.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::sidecar::add_beside;
use super::{Blob, Record, Run, Store, StoreError, chunker};
use crate::digest::Digest;
use crate::os::atomic_file::{self, Unfinished};
use crate::os::file_lock::FileLock;
use crate::os::hash_stream::{self, Sparse};
use crate::record::audit::{About, Event};
use crate::record::canonical;
use crate::record::manifest::{Manifest, ManifestId};
use crate::ui::Ui;

/// Nobody changes what is stored; without the write permission not even by accident.
pub(super) const READ_ONLY: u32 = 0o444;

/// The right to write. While any process has it, nothing is removed from the store.
#[derive(Debug)]
pub struct Writing {
    store: Store,
    _lock: FileLock,
}

impl Writing {
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) async fn begin(store: &Store) -> Result<Self, StoreError> {
        for directory in [store.blobs(), store.manifests(), store.records()] {
            atomic_file::make_directory(&directory).map_err(StoreError::io("make", &directory))?;
        }
        let path = store.root().join("lock");
        loop {
            // Whoever is alone clears up what a crash left.
            if let Some(alone) =
                FileLock::try_exclusive(&path).map_err(StoreError::io("lock", &path))?
            {
                store.sweep()?;
                drop(alone);
            }
            if let Some(lock) =
                FileLock::try_shared(&path).map_err(StoreError::io("lock", &path))?
            {
                let store = store.clone();
                return Ok(Self { store, _lock: lock });
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Gets the right to write, and that nobody else has it.
    pub(super) async fn alone(store: &Store, waiting: impl FnOnce()) -> Result<Self, StoreError> {
        let root = store.root();
        if !root.exists() {
            return Self::begin(store).await;
        }
        let path = root.join("lock");
        let lock = FileLock::exclusive(&path, waiting).await;
        let lock = lock.map_err(StoreError::io("lock", &path))?;
        store.sweep()?;
        let store = store.clone();
        Ok(Self { store, _lock: lock })
    }

    /// Moves an image file into the store, in chunks; what another image has too is there already. Its digest is computed
    /// here, from the bytes that are kept.
    ///
    /// # Errors
    /// The file cannot be read, or the store not written. The file is then still at `image`.
    pub async fn add_image(&self, image: &Path, ui: &Ui) -> Result<Blob, StoreError> {
        let blob = self.copy_image(image, ui).await?;
        fs::remove_file(image).map_err(StoreError::io("remove", image))?;
        Ok(blob)
    }

    /// Puts an image into the store like [`Self::add_image`]; the file stays where it is.
    ///
    /// # Errors
    /// The file cannot be read, or the store not written.
    pub async fn copy_image(&self, image: &Path, ui: &Ui) -> Result<Blob, StoreError> {
        let size = fs::metadata(image)
            .map_err(StoreError::io("read", image))?
            .len();
        let bar = ui.bar("storing the image", Some(size));
        let (image, store) = (image.to_owned(), self.store.clone());
        hash_stream::blocking(move |stop| {
            chunker::add(&store, &image, stop, |bytes| bar.advance(bytes))
                .map_err(StoreError::io("store", &image))
        })
        .await
    }

    /// Puts a small text into the store.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add_text(&self, text: &[u8]) -> Result<Blob, StoreError> {
        let digest = Digest::of(text);
        let path = self.store.blob(&digest);
        atomic_file::write(&path, READ_ONLY, text).map_err(StoreError::io("write", &path))?;
        let size = text.len() as u64;
        Ok(Blob { digest, size })
    }

    /// Puts a file of the cache into the store, which stays where it is: a second name for it within a file system,
    /// else a copy. The cache vouches for its digest; a copy is compared.
    ///
    /// # Errors
    /// The file cannot be read, or the store not written.
    pub async fn add_file(&self, file: &Path, digest: Digest) -> Result<(), StoreError> {
        let blob = self.store.blob(&digest);
        let link = || {
            fs::set_permissions(file, fs::Permissions::from_mode(READ_ONLY))?;
            fs::hard_link(file, &blob)
        };
        match link() {
            Ok(()) => atomic_file::sync_directory(atomic_file::directory_of(&blob))
                .map_err(StoreError::io("store", file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(_) => self.add_copy(file, digest).await,
        }
    }

    /// Puts a copy of somebody's file into the store, unless it has those bytes already.
    ///
    /// # Errors
    /// The file cannot be read or has changed since its digest was taken, or the store cannot be written.
    pub async fn add_copy(&self, file: &Path, digest: Digest) -> Result<(), StoreError> {
        let (file, blob) = (file.to_owned(), self.store.blob(&digest));
        let store = self.store.clone();
        hash_stream::blocking(move |stop| {
            let copy = || {
                if store.image(&digest).is_ok() {
                    return Ok(());
                }
                let mut unfinished = Unfinished::create(&blob, READ_ONLY)?;
                let mut sparse = Sparse::new(unfinished.file());
                let (actual, _) = hash_stream::copy(File::open(&file)?, &mut sparse, stop, |_| {})?;
                sparse.finish()?;
                if actual != digest {
                    return Err(io::Error::other(format!(
                        "it is {actual} now, and was {digest}"
                    )));
                }
                unfinished.finish()
            };
            copy().map_err(StoreError::io("store", &file))
        })
        .await
    }

    /// Records a manifest whose image is in the store, with how its build went. A manifest that is there already
    /// only gets one more record.
    ///
    /// # Errors
    /// The image is not in the store, or the store cannot be written.
    pub fn commit(&self, manifest: &Manifest, run: Run) -> Result<ManifestId, StoreError> {
        let image = &manifest.outputs.image;
        if self.store.image(&image.digest)?.size() != image.size {
            return Err(StoreError::NoImage(image.digest));
        }
        let bytes = manifest.to_bytes()?;
        let id = ManifestId::of(&bytes);
        let about = About {
            ids: vec![id],
            subject: Some(manifest.inputs.image.name.clone()),
            ..About::default()
        };
        self.log(Event::Record, about)?;
        self.record(&Record::new(id, run))?;
        let path = self.store.manifest_path(&id);
        // The name is the digest of the bytes, so a file that has it can only be this one, or a spoilt one.
        atomic_file::write(&path, READ_ONLY, &bytes).map_err(StoreError::io("write", &path))?;
        Ok(id)
    }

    fn record(&self, record: &Record) -> Result<(), StoreError> {
        let bytes = canonical::to_bytes(record)?;
        let directory = self.store.records().join(record.manifest.to_string());
        let path = directory.join(format!("{}.json", Digest::of(&bytes).hex()));
        add_beside(&path, &bytes)
    }
}
