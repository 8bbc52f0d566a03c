//! What can go wrong with a publication.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::digest::Digest;
use crate::disk::DiskError;
use crate::disk::read::ReadError;
use crate::ec2::client::AwsError;
use crate::store::StoreError;

/// Why an image was not published.
#[derive(Debug, Error, Diagnostic)]
pub enum PublishError {
    /// A call failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Aws(#[from] AwsError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The image cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Read(#[from] ReadError),
    /// The image cannot be turned into a raw disk.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    /// How far an upload is cannot be kept.
    #[error("cannot keep how far the upload is in {}", path.display())]
    #[diagnostic(help(
        "check the permissions and free space of karat's cache, or use another one with KARAT_CACHE"
    ))]
    Progress {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another karat uploads the same image to the same place.
    #[error("another karat uploads this image to {region}")]
    #[diagnostic(help("wait for it, and publish again: what is there is taken over"))]
    Busy {
        /// Where.
        region: String,
    },
    /// The image's architecture or firmware is unknown or has no name at AWS.
    #[error("an AMI has an architecture and a way to boot, and this image's {what} is {found:?}")]
    #[diagnostic(help(
        "images that were imported say theirs with `karat import --arch x86_64 --firmware bios`"
    ))]
    Unknown {
        /// `architecture`, `firmware`.
        what: &'static str,
        /// What the manifest has.
        found: String,
    },
    /// The snapshot has other bytes than the image.
    #[error(
        "{image} in {region} is not the image that was recorded: its disk is {found}, and should be {wanted}"
    )]
    #[diagnostic(help("do not launch it; remove it, and publish the image again"))]
    Different {
        /// The AMI or snapshot.
        image: String,
        /// Where.
        region: String,
        /// Its disk.
        found: Digest,
        /// What it should be.
        wanted: Digest,
    },
    /// An AMI is not as it was made.
    #[error("{image} in {region} {problem}")]
    #[diagnostic(help("publish the image again"))]
    Changed {
        /// The AMI.
        image: String,
        /// Where.
        region: String,
        /// What is other than it was.
        problem: String,
    },
    /// The user ended it.
    #[error("cancelled; what was being made in {0} was removed")]
    Cancelled(String),
}

impl PublishError {
    /// The exit code: 4 for what is not the recorded image, 2 for wrong input, 130 when cancelled.
    #[must_use]
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
