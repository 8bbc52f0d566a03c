//! Exit codes: 0 success, 1 failure, 2 invalid input, 3 refused by a policy, 4 verification failed, 130 cancelled.

use std::io::ErrorKind;

use miette::Diagnostic;

use crate::cli::shared::syslog::SyslogError;
use crate::disk::DiskError;
use crate::ec2::client::AwsError;
use crate::ec2::machine::Ec2Error;
use crate::ec2::publish::PublishError;
use crate::fetch::FetchError;
use crate::pipeline::BuildError;
use crate::pipeline::rebuild::RebuildError;
use crate::plan::secrets::MissingSecrets;
use crate::record::lock::LockError;
use crate::repository::ArchiveError;
use crate::scan::ScanError;
use crate::scan::report::vex::VexError;
use crate::scan::vulnerability::DbError;
use crate::sign::{SignError, TrustError};
use crate::store::{PolicyError, StoreError};
use crate::ui::report::Position;

/// An error that decides the exit code of a verb.
pub(crate) trait ExitStatus: Diagnostic {
    /// Exit code of all errors of the type, unless `exit_code` tells them apart.
    const EXIT_CODE: u8 = 1;

    fn exit_code(&self) -> u8 {
        Self::EXIT_CODE
    }

    /// Returns the place in a template that the error is about.
    fn position(&self) -> Option<&Position> {
        None
    }
}

impl ExitStatus for ArchiveError {}
impl ExitStatus for AwsError {}

impl ExitStatus for DiskError {
    fn exit_code(&self) -> u8 {
        Self::exit_code(self)
    }
}

impl ExitStatus for Ec2Error {}
impl ExitStatus for RebuildError {}
impl ExitStatus for VexError {}

impl ExitStatus for ScanError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Disk(error) => error.exit_code(),
            Self::NotARoot(_) => 2,
            _ => 1,
        }
    }
}

impl ExitStatus for MissingSecrets {
    const EXIT_CODE: u8 = 2;
}

impl ExitStatus for PolicyError {
    const EXIT_CODE: u8 = 2;
}

impl ExitStatus for TrustError {
    const EXIT_CODE: u8 = 2;
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
            Self::Read { source, .. } if source.kind() == ErrorKind::NotFound => 2,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Scratch { .. }
            | Self::Damaged { .. }
            | Self::Fetch { .. }
            | Self::Update { .. } => 1,
        }
    }
}

impl ExitStatus for BuildError {
    fn exit_code(&self) -> u8 {
        Self::exit_code(self)
    }

    fn position(&self) -> Option<&Position> {
        Self::position(self)
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
