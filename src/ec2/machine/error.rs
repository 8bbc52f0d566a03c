//! Why an instance could not be had: what, why, and how to mend it.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::ec2::client::AwsError;
use crate::machine::guest::GuestError;
use crate::ssh::SshError;

/// Why an image could not be built on EC2.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum Ec2Error {
    /// A call failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Aws(#[from] AwsError),
    /// What every guest has.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Guest(#[from] GuestError),
    /// Nothing to start from.
    #[error("no AMI in {region} is what [base.ami] asks for: {asked}")]
    #[diagnostic(help(
        "look with `aws ec2 describe-images --owners ...`; names may have `*`, and the region counts"
    ))]
    NoAmi {
        /// Where.
        region: String,
        /// Owners and filters.
        asked: String,
    },
    /// `--locked`, and the AMI of the lock will not do.
    #[error("the AMI that the lock {} names is gone, or not what [base.ami] asks for: {ami}", path.display())]
    #[diagnostic(help(
        "run `karat lock --update` and commit the file, or build without `--locked`"
    ))]
    NotLocked {
        /// The lock.
        path: PathBuf,
        /// The AMI.
        ami: String,
    },
    /// The AMI is for other machines.
    #[error("{ami} cannot be built on: {problem}")]
    #[diagnostic(help("name another AMI in [base.ami], or set `arch` in [builder.ec2]"))]
    Unfit {
        /// The AMI.
        ami: String,
        /// Why.
        problem: String,
    },
    /// Nowhere to launch into.
    #[error("there is no subnet to launch into in {region}: {place}")]
    #[diagnostic(help("name one with `subnet` in [builder.ec2]"))]
    NoSubnet {
        /// Where.
        region: String,
        /// What was asked for.
        place: String,
    },
    /// A security group of the template is not there.
    #[error("there is no security group {group} in {region}")]
    #[diagnostic(help("check `security_groups` in [builder.ec2]"))]
    NoGroup {
        /// The group.
        group: String,
        /// Where.
        region: String,
    },
    /// A security group that lets things out.
    #[error("the network is sealed, and the security group {group} lets the instance out")]
    #[diagnostic(help(
        "remove its outbound rules, leave `security_groups` out, or open the network: [network] with `open = true`"
    ))]
    LetsOut {
        /// The group.
        group: String,
    },
    /// AWS has no such instances now.
    #[error("AWS has no room in {region} for {tried}")]
    #[diagnostic(help(
        "add more `instance_types`, name a subnet in another zone, leave `spot` out, or try again later"
    ))]
    NoRoom {
        /// Where.
        region: String,
        /// Instance types.
        tried: String,
        /// The last refusal.
        source: Box<AwsError>,
    },
    /// SSH did not come up.
    #[error("the instance {instance} did not become reachable{}", ends_with(.console))]
    #[diagnostic(help(
        "see whether a way leads from here to its address (`ssh.interface`, route tables, network ACLs), or raise `ssh.timeout`"
    ))]
    NotReady {
        /// `i-...`
        instance: String,
        /// The end of its console.
        console: String,
        /// The last failure.
        source: Box<SshError>,
    },
    /// The disk of a running instance did not come to rest.
    #[error("the disk of {instance} could not be made read-only for its snapshot")]
    #[diagnostic(help("leave `spot` out: other instances are stopped instead"))]
    NotAtRest {
        /// `i-...`
        instance: String,
    },
    /// A file of this machine.
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("check permissions and free space"))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The user ended it.
    #[error("cancelled")]
    Cancelled,
}

impl Ec2Error {
    /// The exit code when it is not 1.
    #[must_use]
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
