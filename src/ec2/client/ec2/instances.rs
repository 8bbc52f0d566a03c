//! Instances.

use std::time::Duration;

use data_encoding::BASE64;
use serde::Deserialize;

use super::tags::{TagSet, Tags};
use super::{Filter, Mapping, StateReason, ec2};
use crate::ec2::client::query::{Items, Query};
use crate::ec2::client::{AwsError, Poll, Region};

/// Longest wait for an instance to stop. A system stops within a minute; AWS cuts its power after a few.
const STOP_TIMEOUT: Duration = Duration::from_mins(10);

/// Parameters of an instance to launch.
#[derive(Clone, Debug)]
pub struct NewInstance<'a> {
    /// Id of the AMI.
    pub image: &'a str,
    /// Instance type, such as `t3.small`.
    pub kind: &'a str,
    pub subnet: &'a str,
    /// Ids of security groups.
    pub groups: &'a [String],
    /// Assign a public address; `None` leaves that to the subnet.
    pub public_address: Option<bool>,
    /// Name or ARN of an instance profile.
    pub profile: Option<&'a str>,
    /// Configuration that cloud-init reads.
    pub user_data: &'a str,
    /// Device that holds the system.
    pub root_device: &'a str,
    pub volume: NewVolume<'a>,
    /// Use spare capacity. AWS cannot stop such an instance, only terminate it.
    pub spot: bool,
    /// Tags of the instance, its volumes, network interfaces and spot request.
    pub tags: &'a Tags,
    /// Client token: AWS launches one instance for each.
    pub token: &'a str,
}

/// Root volume of a new instance; the AMI decides what is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewVolume<'a> {
    /// Size of the volume, in GiB.
    pub size: Option<u64>,
    /// Type, such as `gp3`.
    pub kind: Option<&'a str>,
    /// Encrypt it even if the AMI is not encrypted.
    pub encrypted: bool,
    /// KMS key to encrypt with; `None` is the account's own.
    pub kms_key: Option<&'a str>,
}

/// Instance as AWS describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// `i-...`
    #[serde(rename = "instanceId")]
    pub id: String,
    /// AMI that it was launched from.
    #[serde(default, rename = "imageId")]
    pub image: String,
    #[serde(default, rename = "instanceState")]
    current: State,
    state_reason: Option<StateReason>,
    private_ip_address: Option<String>,
    ip_address: Option<String>,
    #[serde(default)]
    root_device_name: String,
    #[serde(default)]
    block_device_mapping: Items<Mapping>,
    #[serde(default, rename = "tagSet")]
    pub tags: TagSet,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct State {
    #[serde(default)]
    name: String,
}

impl Instance {
    /// Returns `pending`, `running`, `stopping`, `stopped`, `shutting-down` or `terminated`.
    pub fn state(&self) -> &str {
        &self.current.name
    }

    /// Returns whether it was terminated, or is being terminated.
    pub fn is_gone(&self) -> bool {
        matches!(self.state(), "shutting-down" | "terminated")
    }

    /// Returns AWS's explanation of its state.
    pub fn reason(&self) -> Option<&str> {
        self.state_reason.as_ref()?.message.as_deref()
    }

    /// Returns its address inside the VPC.
    pub fn private_address(&self) -> Option<&str> {
        self.private_ip_address.as_deref()
    }

    /// Returns its address on the internet.
    pub fn public_address(&self) -> Option<&str> {
        self.ip_address.as_deref().filter(|ip| !ip.is_empty())
    }

    /// Returns the volume that holds its system.
    pub fn root_volume(&self) -> Option<&str> {
        let root = self.block_device_mapping.volume_of(&self.root_device_name);
        root?.volume_id.as_deref()
    }

    /// State as a failure of what was waited for.
    fn failed<T>(&self) -> Poll<T> {
        Poll::Failed(self.state().to_owned(), self.reason().map(str::to_owned))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    #[serde(default)]
    instances_set: Items<Instance>,
}

#[derive(Debug, Deserialize)]
struct Console {
    output: Option<String>,
}

/// Launches an instance, tagged from its first moment on.
pub async fn launch(region: &Region, new: &NewInstance<'_>) -> Result<Instance, AwsError> {
    let launched: Reservation = region.query(run_instances(new)).await?;
    let what = "instance in the answer of RunInstances";
    region.first_of(launched.instances_set.item, what)
}

/// Lists instances of the account, including those terminated lately.
pub async fn list(region: &Region, filters: &[Filter]) -> Result<Vec<Instance>, AwsError> {
    describe(region, ec2("DescribeInstances").filtered(filters)).await
}

pub async fn get(region: &Region, id: &str) -> Result<Instance, AwsError> {
    let query = ec2("DescribeInstances").with_all("InstanceId", [id]);
    let found = describe(region, query).await?;
    region.first_of(found, format!("instance {id}"))
}

/// Lists instances launched from these AMIs that are not terminated. Covers the caller's own account: AWS does not list the
/// instances of other accounts.
pub async fn launched_from(region: &Region, images: &[&str]) -> Result<Vec<Instance>, AwsError> {
    let states = ["pending", "running", "stopping", "stopped"];
    list(
        region,
        &[
            Filter::new("image-id", images.iter().copied()),
            Filter::new("instance-state-name", states),
        ],
    )
    .await
}

async fn describe(region: &Region, query: Query) -> Result<Vec<Instance>, AwsError> {
    let reservations: Vec<Reservation> = region.list(query).await?;
    let reservations = reservations.into_iter();
    let instances = reservations.flat_map(|reservation| reservation.instances_set.item);
    Ok(instances.collect())
}

/// Waits until `address` finds an address in the description of an instance, and returns it.
pub async fn wait_address(
    region: &Region,
    id: &str,
    within: Duration,
    address: impl Fn(&Instance) -> Option<String>,
) -> Result<String, AwsError> {
    region
        .wait_for(format!("instance {id}"), within, async || {
            let instance = get(region, id).await?;
            Ok(match address(&instance) {
                _ if !matches!(instance.state(), "pending" | "running") => instance.failed(),
                Some(address) => Poll::Ready(address),
                None => Poll::Pending(format!("{} and without an address", instance.state())),
            })
        })
        .await
}

/// Waits until an instance has stopped.
pub async fn wait_stopped(region: &Region, id: &str) -> Result<Instance, AwsError> {
    region
        .wait_for(format!("instance {id}"), STOP_TIMEOUT, async || {
            let instance = get(region, id).await?;
            Ok(match instance.state() {
                "stopped" => Poll::Ready(instance),
                "shutting-down" | "terminated" => instance.failed(),
                state => Poll::Pending(state.to_owned()),
            })
        })
        .await
}

/// Waits until an instance is terminated, and so releases the resources it used.
pub async fn wait_terminated(region: &Region, id: &str) -> Result<(), AwsError> {
    region
        .wait_for(format!("instance {id}"), STOP_TIMEOUT, async || {
            Ok(match get(region, id).await {
                Ok(instance) if instance.state() == "terminated" => Poll::Ready(()),
                Ok(instance) => Poll::Pending(instance.state().to_owned()),
                Err(error) if error.is_not_found() => Poll::Ready(()),
                Err(error) => return Err(error),
            })
        })
        .await
}

/// Stops an instance, after shutting its system down.
pub async fn stop(region: &Region, id: &str) -> Result<(), AwsError> {
    let query = ec2("StopInstances").with_all("InstanceId", [id]);
    region.perform(query).await
}

/// Terminates an instance and deletes its volumes.
pub async fn terminate(region: &Region, id: &str) -> Result<(), AwsError> {
    let query = ec2("TerminateInstances").with_all("InstanceId", [id]);
    region.perform(query).await
}

/// Replaces the security groups of an instance.
pub async fn set_security_groups(
    region: &Region,
    id: &str,
    groups: &[&str],
) -> Result<(), AwsError> {
    let query = ec2("ModifyInstanceAttribute")
        .with("InstanceId", id)
        .with_all("GroupId", groups);
    region.perform(query).await
}

/// Returns the console output that AWS has of an instance; empty if the principal may not read it.
pub async fn console(region: &Region, id: &str) -> String {
    let query = ec2("GetConsoleOutput").with("InstanceId", id);
    let answer = region.query::<Console>(query).await;
    let encoded = answer.ok().and_then(|console| console.output);
    let encoded: String = encoded.unwrap_or_default().split_whitespace().collect();
    let bytes = BASE64.decode(encoded.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn run_instances(new: &NewInstance<'_>) -> Query {
    let interface = |field: &str| format!("NetworkInterface.1.{field}");
    let volume = |field: &str| format!("BlockDeviceMapping.1.Ebs.{field}");
    let mut kinds = vec!["instance", "volume", "network-interface"];
    let mut query = ec2("RunInstances")
        .with("ClientToken", new.token)
        .with("ImageId", new.image)
        .with("InstanceType", new.kind)
        .with("MinCount", 1)
        .with("MaxCount", 1)
        .with("UserData", BASE64.encode(new.user_data.as_bytes()))
        .with("MetadataOptions.HttpTokens", "required")
        .with("MetadataOptions.HttpEndpoint", "enabled")
        .with(&interface("DeviceIndex"), 0)
        .with(&interface("SubnetId"), new.subnet)
        .with(&interface("DeleteOnTermination"), true)
        .with_all(&interface("SecurityGroupId"), new.groups)
        .with_some(&interface("AssociatePublicIpAddress"), new.public_address)
        .with("BlockDeviceMapping.1.DeviceName", new.root_device)
        .with(&volume("DeleteOnTermination"), true)
        .with_some(&volume("VolumeSize"), new.volume.size)
        .with_some(&volume("VolumeType"), new.volume.kind)
        .with_some(&volume("Encrypted"), new.volume.encrypted.then_some(true))
        .with_some(&volume("KmsKeyId"), new.volume.kms_key);
    if let Some(profile) = new.profile {
        let is_arn = profile.starts_with("arn:");
        let name = ["IamInstanceProfile.Name", "IamInstanceProfile.Arn"][usize::from(is_arn)];
        query = query.with(name, profile);
    }
    if new.spot {
        kinds.push("spot-instances-request");
        let options = |field: &str| format!("InstanceMarketOptions.SpotOptions.{field}");
        query = query
            .with("InstanceMarketOptions.MarketType", "spot")
            .with(&options("SpotInstanceType"), "one-time")
            .with(&options("InstanceInterruptionBehavior"), "terminate");
    } else {
        query = query.with("InstanceInitiatedShutdownBehavior", "stop");
    }
    query.tagging(&kinds, new.tags)
}
