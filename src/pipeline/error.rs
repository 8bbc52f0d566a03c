//! Why a build failed.

use std::io;

use miette::Diagnostic;
use thiserror::Error;

use super::compare::{Comparison, Level};
use super::scan::GateError;
use crate::base::BaseError;
use crate::disk::{AnewError, DiskError};
use crate::ec2::client::AwsError;
use crate::ec2::machine::Ec2Error;
use crate::ec2::publish::PublishError;
use crate::fetch::FetchError;
use crate::machine::MachineError;
use crate::machine::qemu::QemuError;
use crate::network::SealError;
use crate::pipeline::manifest_inputs::InputError;
use crate::provision::ProvisionError;
use crate::record::lock::LockError;
use crate::record::manifest::ManifestId;
use crate::ssh::SshError;
use crate::store::StoreError;

/// Why a build failed.
#[derive(Debug, Error, Diagnostic)]
pub enum BuildError {
    /// No place for the build's own files.
    #[error("cannot use a run directory in the cache")]
    #[diagnostic(help("free some space, or choose another place with `KARAT_CACHE`"))]
    RunDirectory(#[source] io::Error),
    /// The base.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Base(#[from] BaseError),
    /// A file that the template names.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Input(#[from] InputError),
    /// A download.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] FetchError),
    /// The lock.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(#[from] LockError),
    /// QEMU.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Qemu(#[from] QemuError),
    /// EC2.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ec2(Ec2Error),
    /// A call of AWS.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Aws(#[from] AwsError),
    /// The publication of an AMI.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Publish(#[from] PublishError),
    /// There is an image, and no AMI.
    #[error("the image {} is recorded, and no AMI was made of it in {region}", id.short())]
    #[diagnostic(help("its snapshot was removed; `karat publish {}` uploads it once this is mended", id.short()))]
    NotRegistered {
        /// Its manifest.
        id: ManifestId,
        /// Where.
        region: String,
        /// Why.
        source: Box<BuildError>,
    },
    /// The machine died, or could not be reached.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Machine(#[from] MachineError),
    /// The connection, outside a step.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ssh(#[from] SshError),
    /// The machine could not be sealed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Seal(#[from] SealError),
    /// A step.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Provision(#[from] ProvisionError),
    /// The disk could not be turned into an image.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    /// The disk could not be written anew.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Anew(#[from] AnewError),
    /// The second build is not what the first was.
    #[error("two builds of the same inputs differ: {} was reached, {claimed} is claimed\n{}", comparison.level, comparison.told())]
    #[diagnostic(help(
        "nothing was recorded; make what differs the same in a step, or take it out with `[[finish.drop]]`"
    ))]
    Differs {
        /// What the manifest would say of itself.
        claimed: Level,
        /// What the two have in common, and what not.
        comparison: Comparison,
    },
    /// The scan of the finished image.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Gate(#[from] GateError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// Nothing to compare with.
    #[error("an image that is made on EC2 cannot be made again bit by bit")]
    #[diagnostic(help(
        "its disk is not written anew; leave `--twice` out, or build with `[builder.qemu]` and publish the image"
    ))]
    OnceOnly,
    /// The user ended it.
    #[error("cancelled; the machine was destroyed and nothing was kept")]
    Cancelled,
}

impl From<Ec2Error> for BuildError {
    fn from(error: Ec2Error) -> Self {
        match error {
            Ec2Error::Cancelled => Self::Cancelled,
            error => Self::Ec2(error),
        }
    }
}

impl BuildError {
    /// The exit code of `karat build`: 130 when cancelled, 4 when a digest was wrong or something undeclared, 3 when the
    /// policy refuses the image.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Cancelled => 130,
            Self::Differs { .. } => 4,
            Self::Gate(error) => error.exit_code(),
            Self::Base(error) => error.exit_code(),
            Self::Ec2(error) => error.exit_code(),
            Self::OnceOnly | Self::Aws(AwsError::NoRegion | AwsError::NoProvider) => 2,
            Self::Fetch(error) => error.exit_code(),
            Self::Lock(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
            _ => 1,
        }
    }

    /// The step that failed, for `$KARAT_FAILED_STEP`.
    pub(super) fn step(&self) -> &str {
        match self {
            Self::Provision(ProvisionError::Step { name, .. }) => name,
            _ => "",
        }
    }
}

/// An error and its causes in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = chain.map(ToString::to_string).collect();
    texts.join(": ")
}
