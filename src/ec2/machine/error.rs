//! Errors of builds on EC2.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::ec2::client::AwsError;
use crate::machine::MachineError;
use crate::machine::guest::GuestError;
use crate::ssh::SshError;

/// Failure to build an image on EC2.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum Ec2Error {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Guest(#[from] GuestError),
    #[error("no AMI in {region} matches [base.ami]: {asked}")]
    #[diagnostic(help(
        "look with `aws ec2 describe-images --owners ...`; names may have `*`, and each region has AMIs of its own"
    ))]
    NoAmi {
        region: String,
        /// Owners and filters of the search.
        asked: String,
    },
    /// A build with `--locked` whose locked AMI is not usable.
    #[error("the AMI in lock file {} is gone or does not match [base.ami]: {ami}", path.display())]
    #[diagnostic(help(
        "run `karat lock --update` and commit the file, or build without `--locked`"
    ))]
    NotLocked { path: PathBuf, ami: String },
    #[error("cannot build on {ami}: {problem}")]
    #[diagnostic(help("name another AMI in [base.ami], or set `arch` in [builder.ec2]"))]
    Unfit { ami: String, problem: String },
    #[error("no subnet to launch into in {region}: {place}")]
    #[diagnostic(help("name one with `subnet` in [builder.ec2]"))]
    NoSubnet {
        region: String,
        /// Subnet or VPC of the template.
        place: String,
    },
    #[error("security group {group} does not exist in {region}")]
    #[diagnostic(help("check `security_groups` in [builder.ec2]"))]
    NoGroup { group: String, region: String },
    #[error("the network is sealed, but security group {group} allows outbound traffic")]
    #[diagnostic(help(
        "remove its outbound rules, leave `security_groups` out, or open the network: [network] with `open = true`"
    ))]
    LetsOut { group: String },
    #[error("AWS has no capacity in {region} for {tried}")]
    #[diagnostic(help(
        "add more `instance_types`, name a subnet in another zone, leave `spot` out, or try again later"
    ))]
    NoRoom {
        region: String,
        /// Instance types that were tried.
        tried: String,
        /// Refusal of the last attempt.
        source: Box<AwsError>,
    },
    #[error("the instance {instance} did not become reachable{}", ends_with(.console))]
    #[diagnostic(help(
        "check the route from here to its address (`ssh.interface`, route tables, network ACLs), or raise `ssh.timeout`"
    ))]
    NotReady {
        instance: String,
        /// End of its console.
        console: String,
        /// Failure of the last attempt.
        source: Box<SshError>,
    },
    #[error("the disk of {instance} could not be made read-only for its snapshot")]
    #[diagnostic(help("leave `spot` out: other instances are stopped instead"))]
    NotAtRest { instance: String },
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("check permissions and free space"))]
    Write { path: PathBuf, source: io::Error },
    #[error("cancelled")]
    Cancelled,
}

impl From<Ec2Error> for MachineError {
    fn from(error: Ec2Error) -> Self {
        Self::backend(error)
    }
}

impl Ec2Error {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Cancelled => 130,
            Self::NotLocked { .. } => 4,
            Self::Unfit { .. }
            | Self::NoAmi { .. }
            | Self::NoGroup { .. }
            | Self::LetsOut { .. }
            | Self::Aws(AwsError::NoRegion | AwsError::NoProvider) => 2,
            _ => 1,
        }
    }
}

fn ends_with(text: &str) -> String {
    match text.trim_end() {
        "" => String::new(),
        text => format!("; its console ends with:\n{text}"),
    }
}
