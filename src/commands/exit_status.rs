//! Exit codes: 0 success, 1 failure, 2 invalid input, 3 refused by a policy, 4 verification failed, 130 cancelled.

use miette::Diagnostic;

use crate::archives::ArchiveError;
use crate::aws::AwsError;
use crate::build::BuildError;
use crate::builder::ec2::Ec2Error;
use crate::disk::DiskError;
use crate::fetch::FetchError;
use crate::lock::LockError;
use crate::plan::secrets::MissingSecrets;
use crate::publish::ec2::PublishError;
use crate::rebuild::RebuildError;
use crate::scan::ScanError;
use crate::scan::vex::VexError;
use crate::scan::vulnerability::DbError;
use crate::sign::{SignError, TrustError};
use crate::store::{PolicyError, StoreError};
use crate::syslog::SyslogError;

/// An error that decides the exit code of a verb.
pub(crate) trait ExitStatus: Diagnostic {
    fn exit_code(&self) -> u8 {
        1
    }
}

impl ExitStatus for ArchiveError {}
impl ExitStatus for AwsError {}
impl ExitStatus for DiskError {}
impl ExitStatus for Ec2Error {}
impl ExitStatus for RebuildError {}
impl ExitStatus for ScanError {}
impl ExitStatus for VexError {}

impl ExitStatus for MissingSecrets {
    fn exit_code(&self) -> u8 {
        2
    }
}

impl ExitStatus for PolicyError {
    fn exit_code(&self) -> u8 {
        2
    }
}

impl ExitStatus for TrustError {
    fn exit_code(&self) -> u8 {
        2
    }
}

impl ExitStatus for SignError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. } | Self::Form { .. } => 2,
            _ => 1,
        }
    }
}

impl ExitStatus for SyslogError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Address(_) => 2,
            _ => 1,
        }
    }
}

impl ExitStatus for DbError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Import { .. } | Self::Missing { .. } | Self::NoPlace => 2,
            Self::Read { .. } | Self::Write { .. } | Self::Damaged { .. } | Self::Fetch { .. } => 1,
        }
    }
}

impl ExitStatus for BuildError {
    fn exit_code(&self) -> u8 {
        Self::exit_code(self)
    }
}

impl ExitStatus for FetchError {
    fn exit_code(&self) -> u8 {
        Self::exit_code(self)
    }
}

impl ExitStatus for LockError {
    fn exit_code(&self) -> u8 {
        Self::exit_code(self)
    }
}

impl ExitStatus for PublishError {
    fn exit_code(&self) -> u8 {
        Self::exit_code(self)
    }
}

impl ExitStatus for StoreError {
    fn exit_code(&self) -> u8 {
        Self::exit_code(self)
    }
}
