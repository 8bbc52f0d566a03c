//! Where a build's base disk comes from.

pub mod bootstrap;
mod file;
mod url;

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::digest::Digest;
use crate::disk::{self, DiskError};
use crate::fetch::{Cache, FetchError};
use crate::os::atomic_file;
use crate::plan;
use crate::record::lock;
use crate::store::{Store, StoreError};
use crate::ui::Ui;

/// A disk image to start from. It is only ever read: a build writes to an overlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseDisk {
    /// The image file and its format.
    pub disk: disk::BaseImage,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size of the file in bytes.
    pub size: u64,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
}

impl BaseDisk {
    /// What a lock says of it.
    #[must_use]
    pub fn locked(&self) -> lock::Base {
        lock::Base {
            digest: self.digest,
            size: self.size,
            ami: None,
        }
    }
}

/// Why there is no base.
#[derive(Debug, Error, Diagnostic)]
pub enum BaseError {
    /// The file cannot be read.
    #[error("cannot read the base {}", path.display())]
    #[diagnostic(help("check `path` in `[base.file]`; it is relative to the template"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory, device or pipe.
    #[error("the base {} is not a regular file", .0.display())]
    #[diagnostic(help("give a disk image; a device can be copied with `qemu-img convert`"))]
    NotAFile(PathBuf),
    /// The file is not the expected one.
    #[error("the base {} is {actual}, not {expected}", path.display())]
    #[diagnostic(help(
        "either the file has changed, or `sha256` in `[base.file]` is that of another one"
    ))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What it should hash to.
        expected: Digest,
        /// What it hashes to.
        actual: Digest,
    },
    /// The image is not in the store, or not as it was stored.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The download failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] FetchError),
    /// The image cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    /// Only AWS can start it.
    #[error("an AMI has no disk that could be started here")]
    Ami,
    /// No base could be made from a package archive.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bootstrap(#[from] bootstrap::BootstrapError),
}

impl BaseError {
    /// The exit code when it is not 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Fetch(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
            Self::NotAFile(_) => 2,
            Self::Mismatch { .. } => 4,
            _ => 1,
        }
    }
}

/// Where a base is looked for.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Downloads, and bases that were made.
    pub cache: &'a Cache,
    /// Images.
    pub store: &'a Store,
    /// For scratch files.
    pub run: &'a Path,
}

/// Gets the base disk, checked, with its format detected for the first and last time.
///
/// # Errors
/// See [`BaseError`].
pub async fn obtain(base: &plan::Base, places: Places<'_>, ui: &Ui) -> Result<BaseDisk, BaseError> {
    let Places { cache, store, run } = places;
    let (path, digest, size) = match base {
        plan::Base::File { path, sha256 } => {
            let (digest, size) = file::check(path, *sha256, cache, ui).await?;
            (path.clone(), digest, size)
        }
        plan::Base::Url { url, checksum } => url::fetch(url, checksum, cache, ui).await?,
        plan::Base::Manifest(name) => image(name, cache, store, ui).await?,
        plan::Base::Ami(_) => return Err(BaseError::Ami),
        plan::Base::Bootstrap(bootstrap) => {
            let path = bootstrap::bootstrap(bootstrap, cache.root(), run, ui).await?;
            let (digest, size) = file::check(&path, None, cache, ui).await?;
            (path, digest, size)
        }
    };
    let info = disk::inspect(&path).await?;
    Ok(BaseDisk {
        disk: disk::BaseImage {
            path,
            format: info.format,
        },
        digest,
        size,
        virtual_size: info.virtual_size,
    })
}

/// Puts an image of the store together in the cache, every byte compared, unless it is there.
async fn image(
    name: &str,
    cache: &Cache,
    store: &Store,
    ui: &Ui,
) -> Result<(PathBuf, Digest, u64), BaseError> {
    let stored = store.manifest(store.resolve(name)?)?;
    let image = &stored.manifest.outputs.image;
    let path = cache.path(&image.digest);
    if !path.is_file() {
        let directory = atomic_file::directory_of(&path);
        std::fs::create_dir_all(directory).map_err(|source| BaseError::Read {
            path: directory.to_owned(),
            source,
        })?;
        store.export(&stored.manifest, &path, true, ui).await?;
    }
    let (digest, size) = file::check(&path, Some(image.digest), cache, ui).await?;
    Ok((path, digest, size))
}

/// The base disk as [`obtain`] gives it, where that takes no work: nothing is downloaded or made for it.
///
/// # Errors
/// See [`BaseError`].
pub async fn at_hand(
    base: &plan::Base,
    places: Places<'_>,
    ui: &Ui,
) -> Result<Option<BaseDisk>, BaseError> {
    let cache = places.cache;
    let there = match base {
        plan::Base::File { .. } | plan::Base::Manifest(_) => true,
        plan::Base::Ami(_) => false,
        plan::Base::Url { url, checksum } => {
            let digest = cache.expected(url, checksum).await?;
            cache.path(&digest).is_file()
        }
        plan::Base::Bootstrap(plan) => bootstrap::path(plan, cache.root())?.is_file(),
    };
    if there {
        obtain(base, places, ui).await.map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Base, Checksum};

    #[tokio::test]
    async fn a_base_is_checked_before_it_is_used() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("disk.raw");
        let bytes = vec![0; 1 << 20];
        std::fs::write(&path, &bytes).unwrap();
        let cache = Cache::new(scratch.path().join("cache"));
        let (right, wrong) = (Digest::of(&bytes), Digest::of(b"other"));
        let file = |sha256| Base::File {
            path: path.clone(),
            sha256,
        };
        let url = |digest| Base::Url {
            url: format!("file://{}", path.display()),
            checksum: Checksum::Sha256(digest),
        };
        for (base, code) in [
            (file(None), None),
            (file(Some(right)), None),
            (file(Some(wrong)), Some(4)),
            (url(right), None),
            (url(wrong), Some(4)),
            (
                Base::File {
                    path: scratch.path().to_owned(),
                    sha256: None,
                },
                Some(2),
            ),
        ] {
            let places = Places {
                cache: &cache,
                store: &Store::new(scratch.path().join("store")),
                run: scratch.path(),
            };
            let outcome = obtain(&base, places, &Ui::default()).await;
            match (outcome, code) {
                (Ok(disk), None) => {
                    assert_eq!(
                        (disk.disk.format.as_str(), disk.digest, disk.size),
                        ("raw", right, 1 << 20)
                    );
                }
                (Err(error), Some(code)) => assert_eq!(error.exit_code(), code, "{error}"),
                (outcome, _) => panic!("{base:?}: {outcome:?}"),
            }
        }
    }
}
