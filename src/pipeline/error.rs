//! Errors of builds, and their exit codes.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use super::compare::{Comparison, Level};
use crate::base::BaseError;
use crate::disk::write::WriteError;
use crate::disk::{DiskError, NormalizeError};
use crate::ec2::client::AwsError;
use crate::ec2::machine::Ec2Error;
use crate::ec2::publish::PublishError;
use crate::fetch::FetchError;
use crate::machine::MachineError;
use crate::machine::qemu::QemuError;
use crate::network::EgressError;
use crate::pipeline::manifest_inputs::InputError;
use crate::provision::ProvisionError;
use crate::record::lock::LockError;
use crate::record::manifest::ManifestId;
use crate::scan::ScanError;
use crate::scan::report::vex::VexError;
use crate::scan::vulnerability::DbError;
use crate::ssh::SshError;
use crate::store::StoreError;
use crate::ui::report::Position;
use crate::ui::text::human_size;

/// Failure of a build.
#[derive(Debug, Error, Diagnostic)]
pub(crate) enum BuildError {
    #[error("cannot use a run directory in the cache")]
    #[diagnostic(help("free some space, or choose another cache directory with `KARAT_CACHE`"))]
    RunDirectory(#[source] io::Error),
    #[error("{} has {} of free space, and the build needs about {}", directory.display(), human_size(*free), human_size(*needed))]
    #[diagnostic(help(
        "free some space (`karat prune`, and `karat prune --runs` after a crash), or choose another directory with {option}"
    ))]
    NoSpace {
        directory: PathBuf,
        free: u64,
        needed: u64,
        /// Option or variable that chooses another directory.
        option: &'static str,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Base(#[from] BaseError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Qemu(#[from] QemuError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ec2(Ec2Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Publish(#[from] PublishError),
    #[error("the image {} is recorded, but no AMI was registered in {region}", id.short())]
    #[diagnostic(help("its snapshot was removed; fix the cause, then `karat publish {}` uploads the image", id.short()))]
    NotRegistered {
        id: ManifestId,
        region: String,
        source: Box<BuildError>,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ssh(#[from] SshError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Egress(#[from] EgressError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Provision(#[from] ProvisionError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Normalize(#[from] NormalizeError),
    #[error("two builds of the same inputs differ: reached {}, expected {claimed}\n{}", comparison.level, comparison.told())]
    #[diagnostic(help(
        "nothing was recorded; make these paths reproducible in a step, or drop them with `[[finish.drop]]`"
    ))]
    Differs {
        claimed: Level,
        comparison: Comparison,
    },
    #[error("cannot scan the finished image")]
    #[diagnostic(help("fix the cause, or skip the check with `--without CHECK`"))]
    Scan(
        #[from]
        #[diagnostic_source]
        ScanError,
    ),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Vex(#[from] VexError),
    #[error("the policy refuses the image; it is {}\n{report}", kept.as_deref().map_or("not kept".to_owned(), |path| format!("kept as {}", path.display())))]
    #[diagnostic(help(
        "fix the findings, or accept them with `[[policy.ignore]]` and a reason; `--keep-failed` keeps the image"
    ))]
    Refused {
        report: String,
        /// Path of the image with `--keep-failed`.
        kept: Option<PathBuf>,
        /// A failing finding is undeclared content.
        undeclared: bool,
    },
    #[error("the policy refuses the image, which could not be kept as {}\n{report}", path.display())]
    NotKept {
        report: String,
        path: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    #[error("an image built on EC2 is not reproducible bit for bit")]
    #[diagnostic(help(
        "its disk is not rewritten; omit `--twice`, or build with `[builder.qemu]` and publish the image"
    ))]
    NotReproducible,
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
    /// Returns the exit code of `karat build`: 130 if cancelled, 4 for a wrong digest or undeclared content, 3 if the policy
    /// refuses the image, 2 for wrong input, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Cancelled => 130,
            Self::Differs { .. }
            | Self::Refused {
                undeclared: true, ..
            } => 4,
            Self::Refused { .. } => 3,
            Self::Base(error) => error.exit_code(),
            Self::Disk(error) => error.exit_code(),
            Self::Ec2(error) => error.exit_code(),
            Self::NotReproducible
            | Self::Normalize(NormalizeError::Write(WriteError::Unknown { .. }))
            | Self::Aws(AwsError::NoRegion | AwsError::NoProvider) => 2,
            Self::Fetch(error) => error.exit_code(),
            Self::Lock(error) => error.exit_code(),
            Self::Store(error) => error.exit_code(),
            _ => 1,
        }
    }

    /// Returns the place in the template of the failed step, test or file.
    pub(crate) fn position(&self) -> Option<&Position> {
        match self {
            Self::Provision(
                ProvisionError::Step { position, .. } | ProvisionError::File { position, .. },
            ) => position.as_ref(),
            _ => None,
        }
    }

    /// Removes that place: the template of a rebuild is a copy that goes with the run directory.
    pub(crate) fn without_position(mut self) -> Self {
        if let Self::Provision(
            ProvisionError::Step { position, .. } | ProvisionError::File { position, .. },
        ) = &mut self
        {
            *position = None;
        }
        self
    }

    /// Returns the name of the failed step, for `$KARAT_FAILED_STEP`.
    pub(super) fn step(&self) -> &str {
        match self {
            Self::Provision(ProvisionError::Step { name, .. }) => name,
            _ => "",
        }
    }
}
