//! Base disks: local files, downloads and bootstrapping.

pub mod bootstrap;
mod file;
mod url;

pub(crate) use file::disk_size;

use std::io;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::digest::Digest;
use crate::disk::{self, DiskError};
use crate::fetch::{Cache, FetchError};
use crate::os::hash_stream;
use crate::plan;
use crate::record::lock;
use crate::ui::Ui;

/// A disk image to start a build from. It is never written: a build writes to an overlay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseDisk {
    /// Path and format of the image file.
    pub disk: disk::BaseImage,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size of the file in bytes.
    pub size: u64,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
}

impl BaseDisk {
    /// Returns the base as a lock file records it.
    #[must_use]
    pub fn locked(&self) -> lock::LockedBase {
        lock::LockedBase {
            digest: self.digest,
            size: self.size,
            ami: None,
        }
    }
}

/// A base that cannot be prepared.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the message of a variant documents it")]
pub enum BaseError {
    #[error("cannot read the base {}", path.display())]
    #[diagnostic(help("check `path` in `[base.file]`; it is relative to the template"))]
    Read { path: PathBuf, source: io::Error },
    #[error("the base {} is not a regular file", .0.display())]
    #[diagnostic(help("give a disk image; a device can be copied with `qemu-img convert`"))]
    NotAFile(PathBuf),
    #[error("the base {} is {actual}, not {expected}", path.display())]
    #[diagnostic(help("either the file has changed, or `sha256` in `[base.file]` is wrong"))]
    Mismatch {
        path: PathBuf,
        expected: Digest,
        actual: Digest,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    /// An AMI, or an image of the store that was not exported.
    #[error("the base has no disk on this host")]
    NotLocal,
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bootstrap(#[from] bootstrap::BootstrapError),
}

impl BaseError {
    /// Returns the process exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Fetch(error) => error.exit_code(),
            Self::Disk(error) => error.exit_code(),
            Self::NotAFile(_) | Self::Bootstrap(bootstrap::BootstrapError::NoSuite { .. }) => 2,
            Self::Mismatch { .. } => 4,
            _ => 1,
        }
    }
}

/// Directories that preparing a base uses.
#[derive(Clone, Copy)]
pub(crate) struct BaseContext<'a> {
    /// Downloads, and bases that were bootstrapped.
    pub cache: &'a Cache,
    /// Scratch directory of this run.
    pub run: &'a Path,
}

/// Prepares the base disk and verifies it. This is the only place that detects its format.
pub(crate) async fn prepare(
    base: &plan::Base,
    context: BaseContext<'_>,
    ui: &Ui,
) -> Result<BaseDisk, BaseError> {
    let BaseContext { cache, run } = context;
    let (path, digest, size) = match base {
        plan::Base::File { path, sha256 } => {
            let (digest, size) = file::check(path, *sha256, cache, ui).await?;
            (path.clone(), digest, size)
        }
        plan::Base::Url { url, checksum } => url::fetch(url, checksum, cache, ui).await?,
        plan::Base::Manifest(_) | plan::Base::Ami(_) => return Err(BaseError::NotLocal),
        plan::Base::Bootstrap(bootstrap) => {
            let path = bootstrap::bootstrap(bootstrap, cache.root(), run, ui).await?;
            let (digest, size) = file::check(&path, None, cache, ui).await?;
            (path, digest, size)
        }
    };
    let info = disk::inspect(&path).await?;
    let disk = disk::BaseImage {
        path,
        format: info.format,
    };
    let checked = disk.clone();
    hash_stream::blocking(move |_| disk::require_system(&checked)).await?;
    Ok(BaseDisk {
        disk,
        digest,
        size,
        virtual_size: info.virtual_size,
    })
}

/// Like [`prepare`], but returns `None` if the base would have to be downloaded or bootstrapped.
pub(crate) async fn find_local(
    base: &plan::Base,
    context: BaseContext<'_>,
    ui: &Ui,
) -> Result<Option<BaseDisk>, BaseError> {
    let cache = context.cache;
    let is_local = match base {
        plan::Base::File { .. } => true,
        plan::Base::Manifest(_) | plan::Base::Ami(_) => false,
        plan::Base::Url { url, checksum } => {
            let digest = cache.expected(url, checksum).await?;
            cache.path(&digest).is_file()
        }
        plan::Base::Bootstrap(plan) => bootstrap::path(plan, cache.root())?.is_file(),
    };
    if is_local {
        prepare(base, context, ui).await.map(Some)
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
        let mut bytes = vec![0; 1 << 20];
        // An XFS, which karat does not read, with a boot signature.
        bytes[..4].copy_from_slice(b"XFSB");
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
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
            let context = BaseContext {
                cache: &cache,
                run: scratch.path(),
            };
            let outcome = prepare(&base, context, &Ui::default()).await;
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
