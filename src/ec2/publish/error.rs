//! Errors of publications.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::digest::Digest;
use crate::disk::DiskError;
use crate::disk::read::ReadError;
use crate::ec2::client::AwsError;
use crate::store::StoreError;

/// Failure to publish an image.
#[derive(Debug, Error, Diagnostic)]
pub enum PublishError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The image cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Read(#[from] ReadError),
    /// The image cannot be converted to a raw disk.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    #[error("cannot record the progress of the upload in {}", path.display())]
    #[diagnostic(help(
        "check the permissions and free space of karat's cache, or use another one with KARAT_CACHE"
    ))]
    Progress { path: PathBuf, source: io::Error },
    #[error("another karat process is uploading this image to {region}")]
    #[diagnostic(help("wait for it, then publish again: karat reuses the AMI that exists then"))]
    Busy { region: String },
    /// The manifest does not name an architecture or firmware that AWS has.
    #[error("an AMI needs an architecture and a boot mode, but this image's {what} is {found:?}")]
    #[diagnostic(help(
        "set them when importing an image: `karat import --arch x86_64 --firmware bios`"
    ))]
    Unknown {
        /// `architecture` or `firmware`.
        what: &'static str,
        /// Value in the manifest.
        found: String,
    },
    /// The snapshot differs from the image.
    #[error(
        "{image} in {region} does not match the recorded image: its disk is {found}, expected {wanted}"
    )]
    #[diagnostic(help("do not launch it; remove it, and publish the image again"))]
    Different {
        /// Id of the AMI or snapshot.
        image: String,
        region: String,
        /// Digest of its disk.
        found: Digest,
        /// Digest of the recorded disk.
        wanted: Digest,
    },
    /// An AMI was changed since its publication.
    #[error("{image} in {region} {problem}")]
    #[diagnostic(help("publish the image again"))]
    Changed {
        /// Id of the AMI or snapshot.
        image: String,
        region: String,
        /// Difference, as the predicate of a sentence.
        problem: String,
    },
    #[error("cancelled; unfinished resources in {0} were removed")]
    Cancelled(String),
}

impl PublishError {
    /// Returns the exit code: 4 if an AMI does not match the recorded image, 2 for wrong input, 130 when cancelled.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Different { .. } | Self::Changed { .. } => 4,
            Self::Store(error) => error.exit_code(),
            Self::Unknown { .. } | Self::Aws(AwsError::NoRegion | AwsError::NoProvider) => 2,
            Self::Cancelled(_) => 130,
            _ => 1,
        }
    }
}
