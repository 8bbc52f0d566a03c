//! Write access to the store, and adding blobs.
//!
//! A build writes image, record, manifest in this order, and each is complete under its final name before the next is begun. So
//! a manifest in the store always has its image, and a crash leaves only files that no manifest refers to.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::layout::entries;
use super::{Blob, Store, StoreError, chunker};
use crate::digest::Digest;
use crate::os::atomic_file::{self, UNFINISHED, Unfinished};
use crate::os::file_lock::FileLock;
use crate::os::hash_stream::{self, Sparse};
use crate::ui::Ui;

/// Permission bits of files that are written once: not even the owner can change them by accident.
pub(super) const READ_ONLY: u32 = 0o444;

/// Interval between attempts to lock the store.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Shared (or, for pruning, exclusive) write access. While a process holds it, no other process removes files.
#[derive(Debug)]
pub struct Transaction {
    store: Store,
    _lock: FileLock,
}

impl Store {
    /// Acquires shared write access, and creates the store's directories.
    ///
    /// # Errors
    /// The store cannot be created or locked.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        for directory in [self.blobs(), self.manifests(), self.records()] {
            atomic_file::make_directory(&directory).map_err(StoreError::io("make", &directory))?;
        }
        let path = self.root.join("lock");
        loop {
            let exclusive =
                FileLock::try_exclusive(&path).map_err(StoreError::io("lock", &path))?;
            if exclusive.is_some() {
                self.sweep()?;
            }
            drop(exclusive);
            let shared = FileLock::try_shared(&path).map_err(StoreError::io("lock", &path))?;
            if let Some(lock) = shared {
                return Ok(Transaction {
                    store: self.clone(),
                    _lock: lock,
                });
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    /// Acquires exclusive write access. Calls `waiting` if another process has access.
    pub(super) async fn begin_exclusive(
        &self,
        waiting: impl FnOnce(),
    ) -> Result<Transaction, StoreError> {
        let path = self.root.join("lock");
        let lock = FileLock::exclusive(&path, waiting)
            .await
            .map_err(StoreError::io("lock", &path))?;
        self.sweep()?;
        Ok(Transaction {
            store: self.clone(),
            _lock: lock,
        })
    }

    /// Removes temporary files of crashed writers. The caller has exclusive access.
    fn sweep(&self) -> Result<(), StoreError> {
        let mut directories = vec![self.root.clone(), self.blobs(), self.manifests()];
        for parent in self.sidecar_directories() {
            directories.extend(entries(&parent)?);
        }
        directories.extend(entries(&self.channels_directory())?);
        directories.extend(entries(&self.images_directory())?);
        for directory in directories {
            for path in entries(&directory)? {
                if is_unfinished(&path) {
                    fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
                }
            }
        }
        Ok(())
    }
}

/// Returns whether a file has a temporary name.
pub(super) fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(UNFINISHED.as_bytes())
}

impl Transaction {
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Moves an image file into the store, in chunks. Chunks that the store has already are not written again. The digest is
    /// computed here, from the bytes that are stored. If this fails, the file is still at `image`.
    ///
    /// # Errors
    /// The file cannot be read, or the store cannot be written.
    pub async fn add_image(&self, image: &Path, ui: &Ui) -> Result<Blob, StoreError> {
        let blob = self.copy_image(image, ui).await?;
        fs::remove_file(image).map_err(StoreError::io("remove", image))?;
        Ok(blob)
    }

    /// Like [`Self::add_image`], but keeps the file.
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

    /// Adds a blob from memory.
    pub fn add_text(&self, text: &[u8]) -> Result<Blob, StoreError> {
        let digest = Digest::of(text);
        let path = self.store.blob(&digest);
        atomic_file::write(&path, READ_ONLY, text).map_err(StoreError::io("write", &path))?;
        let size = text.len() as u64;
        Ok(Blob { digest, size })
    }

    /// Adds a file of the cache as a blob: as a hard link if possible, else as a copy. The cache has verified its digest; a copy
    /// is verified again.
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

    /// Adds a copy of a file as a blob, unless the store has those bytes already. Fails if the file's digest is not `digest`.
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
                        "the file has changed: its digest was {digest} and is now {actual}"
                    )));
                }
                unfinished.finish()
            };
            copy().map_err(StoreError::io("store", &file))
        })
        .await
    }
}
