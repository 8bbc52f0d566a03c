//! A place and an AMI → an instance.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::setup::Place;
use super::{Ami, Ec2Error, Ec2Machine, Rental};
use crate::ec2::client::ec2::{Instance, NewInstance, NewVolume};
use crate::ec2::client::{AwsError, eventually, token};
use crate::machine::guest::{Keys, UserData};
use crate::machine::host;
use crate::plan::{self, HostKey, Interface};
use crate::ssh::Target;
use crate::ui::Ui;

const GIB: u64 = 1 << 30;
const SSH: u16 = 22;
/// In instances the datasource needs the network, so everything is done in the stage after it.
const LATER_STAGES: &str = "cloud-config.service cloud-final.service";
/// What AWS says when another type or zone may have what this one has not.
const NO_ROOM: [&str; 8] = [
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "SpotMaxPriceTooLow",
    "MaxSpotInstanceCountExceeded",
    "Unsupported",
    "InstanceLimitExceeded",
];

/// Launches an instance.
///
/// Returns as soon as it exists, so that a cancel always has something to destroy; then comes [`Ec2Machine::wait_ready`].
///
/// # Errors
/// AWS has no room in any of the places, or the principal may not.
#[expect(
    clippy::too_many_arguments,
    reason = "what a launch needs comes from as many places"
)]
pub async fn launch(
    plan: &plan::Plan,
    ec2: &plan::Ec2,
    ami: &Ami,
    place: &Place,
    rental: &Rental,
    run: &Path,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<Ec2Machine, Ec2Error> {
    let keys = Keys::prepare(&plan.ssh, run)?;
    let authorized: Vec<String> = keys.authorized.iter().cloned().collect();
    let user_data = UserData {
        user: &plan.ssh.user,
        authorized: &authorized,
        host_key_private: keys.host.private_openssh(),
        host_key_public: keys.host.public_line(),
        later_stages: LATER_STAGES,
    };
    let interface = plan.ssh.interface.unwrap_or(Interface::PublicIp);
    let new = NewInstance {
        image: &ami.pinned.id,
        kind: "",
        subnet: "",
        groups: &place.groups,
        public_address: match interface {
            Interface::PublicIp => Some(true),
            Interface::PrivateIp => Some(false),
            // The agent has to get out by some way, which the subnet knows.
            Interface::Ssm => None,
        },
        profile: ec2.instance_profile.as_deref(),
        user_data: &user_data.text(),
        root_device: &ami.root_device,
        volume: NewVolume {
            size: ec2.volume_size.map(|size| size / GIB),
            kind: Some(&ec2.volume_type),
            encrypted: ec2.encrypted,
            kms_key: ec2.kms_key.as_deref(),
        },
        spot: ec2.spot,
        tags: rental.tags(),
        token: "",
    };
    let instance = somewhere(&new, ec2, place, rental, ui, cancel).await?;
    ui.detail(&format!("launched {}", instance.id));
    let target = Target {
        // Known later.
        address: instance.id.clone(),
        port: SSH,
        user: plan.ssh.user.clone(),
        auth: keys.auth,
        host_key: HostKey::Key(keys.host.public_line().to_owned()),
        jump: plan
            .ssh
            .jump
            .as_ref()
            .map(|jump| Box::new(host::through(jump))),
        proxy: (interface == Interface::Ssm).then(|| session(&instance.id, ec2, rental)),
    };
    let region = rental.region.clone();
    let id = instance.id;
    Ok(Ec2Machine::new(
        region,
        id,
        interface,
        target,
        keys.authorized,
    ))
}

/// Tries every type in every subnet, until AWS has room.
async fn somewhere(
    new: &NewInstance<'_>,
    ec2: &plan::Ec2,
    place: &Place,
    rental: &Rental,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<Instance, Ec2Error> {
    let types = ec2.instance_types.iter();
    let tries = types.flat_map(|kind| place.subnets.iter().map(move |subnet| (kind, subnet)));
    let mut last = None;
    for (kind, subnet) in tries {
        let token = token();
        let new = NewInstance {
            kind,
            subnet: &subnet.id,
            token: &token,
            ..new.clone()
        };
        let launch = async {
            // The security group is only just made.
            let instance = eventually(async || rental.region.run_instance(&new).await).await?;
            rental.know(&instance.id);
            Ok(instance)
        };
        match rental.make(cancel, launch).await {
            Err(Ec2Error::Aws(error))
                if error
                    .error_code()
                    .is_some_and(|code| NO_ROOM.contains(&code)) =>
            {
                ui.note(&format!("no room for {kind} in {}: {error}", subnet.id));
                last = Some(error);
            }
            done => return done,
        }
    }
    let source = last
        .expect("a plan has a type, and a place a subnet")
        .into();
    Err(Ec2Error::NoRoom {
        region: rental.region.name().to_owned(),
        tried: ec2.instance_types.join(", "),
        source,
    })
}

/// As the documentation of Systems Manager has it for `ProxyCommand`.
fn session(instance: &str, ec2: &plan::Ec2, rental: &Rental) -> Vec<String> {
    let mut command: Vec<String> = [
        "aws",
        "ssm",
        "start-session",
        "--target",
        instance,
        "--document-name",
        "AWS-StartSSHSession",
        "--parameters",
        "portNumber=22",
        "--region",
        rental.region.name(),
    ]
    .map(str::to_owned)
    .to_vec();
    if let Some(profile) = &ec2.profile {
        command.extend(["--profile".to_owned(), profile.clone()]);
    }
    command
}

/// The volume that an instance's system is on, which AWS names within seconds.
///
/// # Errors
/// The call failed, or there is none after a minute.
pub(super) async fn root_volume(machine: &Ec2Machine) -> Result<String, Ec2Error> {
    let region = machine.region();
    let look = async || {
        let instance = region.instance(machine.id()).await?;
        let volume = instance.root_volume().map(str::to_owned);
        volume.ok_or_else(|| AwsError::Gone {
            what: format!("root volume of {}", machine.id()),
            region: region.name().to_owned(),
        })
    };
    Ok(eventually(look).await?)
}
