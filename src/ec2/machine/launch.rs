//! Launch of an instance from an AMI, where AWS has capacity.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::setup::{InstanceNetwork, SSH_PORT};
use super::{BaseAmi, Ec2Error, Ec2Machine, InstanceHandle, ResourceGuard};
use crate::ec2::client::ec2::{Instance, NewInstance, NewVolume, instances};
use crate::ec2::client::{AwsError, eventually, token};
use crate::machine::guest::{Guest, Keys};
use crate::machine::host;
use crate::plan::{self, Interface};
use crate::size::GIB;
use crate::ssh::Target;
use crate::ui::Ui;

/// Stages of cloud-init after the one that handles the user data: the datasource of instances needs the network.
const LATER_STAGES: &str = "cloud-config.service cloud-final.service";
/// Error codes after which another instance type or zone may have capacity.
const NO_CAPACITY: [&str; 8] = [
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
/// Returns as soon as it exists, so that a cancel always has something to destroy. [`Ec2Machine::wait_ready`] comes next.
#[expect(
    clippy::too_many_arguments,
    reason = "what a launch needs comes from as many places"
)]
pub async fn launch(
    plan: &plan::Plan,
    ec2: &plan::Ec2,
    ami: &BaseAmi,
    network: &InstanceNetwork,
    resources: &ResourceGuard,
    run: &Path,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<Ec2Machine, Ec2Error> {
    let keys = Keys::prepare(&plan.ssh, run)?;
    let user_data = keys.user_data(&plan.ssh.user, LATER_STAGES).text();
    let interface = plan.ssh.interface.unwrap_or(Interface::PublicIp);
    let new = NewInstance {
        image: &ami.pinned.id,
        kind: "",
        subnet: "",
        groups: &network.groups,
        public_address: match interface {
            Interface::PublicIp => Some(true),
            Interface::PrivateIp => Some(false),
            // The agent needs some way out, which the subnet decides on.
            Interface::Ssm => None,
        },
        profile: ec2.instance_profile.as_deref(),
        user_data: &user_data,
        root_device: &ami.root_device,
        volume: NewVolume {
            size: ec2.volume_size.map(|size| size / GIB),
            kind: Some(&ec2.volume_type),
            encrypted: ec2.encrypted,
            kms_key: ec2.kms_key.as_deref(),
        },
        spot: ec2.spot,
        tags: resources.tags(),
        token: "",
    };
    let instance = try_places(&new, ec2, network, resources, ui, cancel).await?;
    ui.detail(&format!("launched {}", instance.id));
    let proxy = (interface == Interface::Ssm).then(|| session(&instance.id, ec2, resources));
    let jump = plan.ssh.jump.as_ref();
    let target = Target {
        // Replaced once the address is known.
        address: instance.id.clone(),
        port: SSH_PORT,
        user: plan.ssh.user.clone(),
        host_key: keys.host_key(),
        auth: keys.auth,
        jump: jump.map(|jump| Box::new(host::through(jump))),
        proxy,
    };
    let handle = InstanceHandle::new(resources.region.clone(), instance.id, interface);
    Ok(Guest::new(handle, target, keys.authorized))
}

/// Tries every instance type in every subnet until AWS has capacity.
async fn try_places(
    new: &NewInstance<'_>,
    ec2: &plan::Ec2,
    network: &InstanceNetwork,
    resources: &ResourceGuard,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<Instance, Ec2Error> {
    let types = ec2.instance_types.iter();
    let tries = types.flat_map(|kind| network.subnets.iter().map(move |subnet| (kind, subnet)));
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
            // AWS may not know the new security group yet.
            let launch = async || instances::launch(&resources.region, &new).await;
            let instance = eventually(launch).await?;
            resources.remember(&instance.id);
            Ok(instance)
        };
        match resources.create(cancel, launch).await {
            Err(Ec2Error::Aws(error))
                if error
                    .error_code()
                    .is_some_and(|code| NO_CAPACITY.contains(&code)) =>
            {
                ui.note(&format!("no capacity for {kind} in {}: {error}", subnet.id));
                last = Some(error);
            }
            done => return done,
        }
    }
    let source = last.expect("a plan has a type, and a place a subnet");
    Err(Ec2Error::NoRoom {
        region: resources.region.name().to_owned(),
        tried: ec2.instance_types.join(", "),
        source: source.into(),
    })
}

/// Returns the command that carries SSH through Systems Manager, as its documentation gives it for `ProxyCommand`.
fn session(instance: &str, ec2: &plan::Ec2, resources: &ResourceGuard) -> Vec<String> {
    let region = resources.region.name();
    let command = format!(
        "aws ssm start-session --target {instance} --document-name AWS-StartSSHSession --parameters portNumber=22 \
         --region {region}"
    );
    let mut command: Vec<String> = command.split(' ').map(str::to_owned).collect();
    if let Some(profile) = &ec2.profile {
        command.extend(["--profile".to_owned(), profile.clone()]);
    }
    command
}

/// Returns the volume that holds the system of an instance, which AWS names within seconds of its launch.
pub(super) async fn root_volume(machine: &Ec2Machine) -> Result<String, Ec2Error> {
    let region = machine.region();
    let look = async || {
        let instance = instances::get(region, machine.id()).await?;
        let volume = instance.root_volume().map(str::to_owned);
        volume.ok_or_else(|| AwsError::Gone {
            what: format!("root volume of {}", machine.id()),
            region: region.name().to_owned(),
        })
    };
    Ok(eventually(look).await?)
}
