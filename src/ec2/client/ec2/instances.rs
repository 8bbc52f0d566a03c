//! Instances.

use std::time::Duration;

use data_encoding::BASE64;
use serde::Deserialize;

use super::tags::value;
use super::{Done, Filter, Items, Tag, Tags, ec2};
use crate::ec2::client::query::Query;
use crate::ec2::client::{AwsError, Poll, Region};

/// An instance stops within a minute; AWS takes its power after a few.
const STOPPED: Duration = Duration::from_mins(10);

/// An instance to launch.
#[derive(Clone, Debug)]
pub struct NewInstance<'a> {
    /// The AMI.
    pub image: &'a str,
    /// `t3.small`
    pub kind: &'a str,
    /// Where.
    pub subnet: &'a str,
    /// What lets traffic through.
    pub groups: &'a [String],
    /// Give it a public address, or none; what the subnet says for want of either.
    pub public_address: Option<bool>,
    /// Name or ARN of an instance profile.
    pub profile: Option<&'a str>,
    /// What cloud-init is told.
    pub user_data: &'a str,
    /// The device that the system is on.
    pub root_device: &'a str,
    /// What its volume is to be.
    pub volume: NewVolume<'a>,
    /// Take it from the spare capacity. Such an instance cannot be stopped.
    pub spot: bool,
    /// Tags of instance, volumes, network interfaces and spot request.
    pub tags: &'a Tags,
    /// With the same one it happens once.
    pub token: &'a str,
}

/// What a root volume is to be; for what is left out the AMI decides.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewVolume<'a> {
    /// In GiB.
    pub size: Option<u64>,
    /// `gp3`, ...
    pub kind: Option<&'a str>,
    /// Encrypt it, whatever the AMI is.
    pub encrypted: bool,
    /// With this key rather than the account's.
    pub kms_key: Option<&'a str>,
}

/// What is known of an instance.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// `i-...`
    #[serde(rename = "instanceId")]
    pub id: String,
    /// The AMI that it was launched of.
    #[serde(default, rename = "imageId")]
    pub image: String,
    #[serde(default, rename = "instanceState")]
    now: State,
    #[serde(default)]
    state_reason: Option<Reason>,
    #[serde(default)]
    private_ip_address: Option<String>,
    #[serde(default)]
    ip_address: Option<String>,
    #[serde(default)]
    root_device_name: String,
    #[serde(default)]
    block_device_mapping: Items<Mapping>,
    #[serde(default)]
    tag_set: Items<Tag>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct State {
    #[serde(default)]
    name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Reason {
    #[serde(default)]
    message: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    #[serde(default)]
    device_name: String,
    #[serde(default)]
    ebs: Option<Attached>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attached {
    #[serde(default)]
    volume_id: Option<String>,
}

impl Instance {
    /// `pending`, `running`, `stopping`, `stopped`, `shutting-down`, `terminated`.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.now.name
    }

    /// Whether it is there no more, or will not be soon.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.state(), "shutting-down" | "terminated")
    }

    /// Why it is in its state, in AWS's words.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.state_reason.as_ref()?.message.as_deref()
    }

    /// Its address inside of its network.
    #[must_use]
    pub fn private_address(&self) -> Option<&str> {
        self.private_ip_address.as_deref()
    }

    /// Its address outside.
    #[must_use]
    pub fn public_address(&self) -> Option<&str> {
        self.ip_address.as_deref().filter(|it| !it.is_empty())
    }

    /// The volume that its system is on.
    #[must_use]
    pub fn root_volume(&self) -> Option<&str> {
        let mappings = self.block_device_mapping.item.iter();
        let mut roots = mappings.filter(|it| it.device_name == self.root_device_name);
        roots.next()?.ebs.as_ref()?.volume_id.as_deref()
    }

    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        value(&self.tag_set.item, key)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    #[serde(default)]
    instances_set: Items<Instance>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservations {
    #[serde(default)]
    reservation_set: Items<Reservation>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Console {
    #[serde(default)]
    output: Option<String>,
}

impl Region {
    /// Launches an instance. What it is tagged with, it has from its first moment.
    ///
    /// # Errors
    /// AWS has no room for it, a part of it is not there, or the principal may not.
    pub async fn run_instance(&self, new: &NewInstance<'_>) -> Result<Instance, AwsError> {
        let interface = "NetworkInterface.1";
        let mut kinds = vec!["instance", "volume", "network-interface"];
        let volume = &new.volume;
        let mut query = ec2("RunInstances")
            .with("ClientToken", new.token)
            .with("ImageId", new.image)
            .with("InstanceType", new.kind)
            .with("MinCount", 1)
            .with("MaxCount", 1)
            .with("UserData", BASE64.encode(new.user_data.as_bytes()))
            .with("MetadataOptions.HttpTokens", "required")
            .with("MetadataOptions.HttpEndpoint", "enabled")
            .with(&format!("{interface}.DeviceIndex"), 0)
            .with(&format!("{interface}.SubnetId"), new.subnet)
            .with(&format!("{interface}.DeleteOnTermination"), true)
            .with_all(&format!("{interface}.SecurityGroupId"), new.groups)
            .with_some(
                &format!("{interface}.AssociatePublicIpAddress"),
                new.public_address,
            )
            .with("BlockDeviceMapping.1.DeviceName", new.root_device)
            .with("BlockDeviceMapping.1.Ebs.DeleteOnTermination", true)
            .with_some("BlockDeviceMapping.1.Ebs.VolumeSize", volume.size)
            .with_some("BlockDeviceMapping.1.Ebs.VolumeType", volume.kind)
            .with_some(
                "BlockDeviceMapping.1.Ebs.Encrypted",
                volume.encrypted.then_some(true),
            )
            .with_some("BlockDeviceMapping.1.Ebs.KmsKeyId", volume.kms_key);
        if let Some(profile) = new.profile {
            let is_arn = profile.starts_with("arn:");
            let name = ["IamInstanceProfile.Name", "IamInstanceProfile.Arn"][usize::from(is_arn)];
            query = query.with(name, profile);
        }
        if new.spot {
            kinds.push("spot-instances-request");
            query = query
                .with("InstanceMarketOptions.MarketType", "spot")
                .with(
                    "InstanceMarketOptions.SpotOptions.SpotInstanceType",
                    "one-time",
                )
                .with(
                    "InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior",
                    "terminate",
                );
        } else {
            query = query.with("InstanceInitiatedShutdownBehavior", "stop");
        }
        let launched: Reservation = self.query(query.tagging(&kinds, new.tags)).await?;
        let first = launched.instances_set.item.into_iter().next();
        first.ok_or_else(|| AwsError::Gone {
            what: "instance in the answer of RunInstances".to_owned(),
            region: self.name.clone(),
        })
    }

    /// Instances of the account, also those that are gone since a short time.
    ///
    /// # Errors
    /// The call failed.
    pub async fn instances(&self, filters: &[Filter]) -> Result<Vec<Instance>, AwsError> {
        self.all_instances(ec2("DescribeInstances").filtered(filters))
            .await
    }

    /// One instance.
    ///
    /// # Errors
    /// There is none, or the call failed.
    pub async fn instance(&self, id: &str) -> Result<Instance, AwsError> {
        let query = ec2("DescribeInstances").with_all("InstanceId", [id]);
        let first = self.all_instances(query).await?.into_iter().next();
        first.ok_or_else(|| AwsError::Gone {
            what: format!("instance {id}"),
            region: self.name.clone(),
        })
    }

    async fn all_instances(&self, query: Query) -> Result<Vec<Instance>, AwsError> {
        let take = |page: Reservations| {
            let found = page.reservation_set.item.into_iter();
            let found = found.flat_map(|it| it.instances_set.item);
            (found.collect(), page.next_token)
        };
        self.pages(query, take).await
    }

    /// Waits until an instance has an address by which `address` would reach it.
    ///
    /// # Errors
    /// It ended instead, or took longer than `within`.
    pub async fn instance_addressed(
        &self,
        id: &str,
        within: Duration,
        address: impl Fn(&Instance) -> Option<String>,
    ) -> Result<String, AwsError> {
        let what = format!("instance {id}");
        self.wait_for(&what, within, async || {
            let instance = self.instance(id).await?;
            Ok(match address(&instance) {
                _ if !matches!(instance.state(), "pending" | "running") => Poll::Failed(
                    instance.state().to_owned(),
                    instance.reason().map(str::to_owned),
                ),
                Some(address) => Poll::Ready(address),
                None => Poll::Pending(format!("{} and without an address", instance.state())),
            })
        })
        .await
    }

    /// Waits until an instance has stopped.
    ///
    /// # Errors
    /// It was terminated, or took longer than ten minutes.
    pub async fn instance_stopped(&self, id: &str) -> Result<Instance, AwsError> {
        let what = format!("instance {id}");
        self.wait_for(&what, STOPPED, async || {
            let instance = self.instance(id).await?;
            let state = instance.state().to_owned();
            Ok(match state.as_str() {
                "stopped" => Poll::Ready(instance),
                "shutting-down" | "terminated" => {
                    Poll::Failed(state, instance.reason().map(str::to_owned))
                }
                _ => Poll::Pending(state),
            })
        })
        .await
    }

    /// Waits until an instance is gone for good, and no longer in the way of what it used.
    ///
    /// # Errors
    /// It took longer than ten minutes.
    pub async fn instance_terminated(&self, id: &str) -> Result<(), AwsError> {
        let what = format!("instance {id}");
        self.wait_for(&what, STOPPED, async || {
            Ok(match self.instance(id).await {
                Ok(instance) if instance.state() == "terminated" => Poll::Ready(()),
                Ok(instance) => Poll::Pending(instance.state().to_owned()),
                Err(error) if error.is_not_found() => Poll::Ready(()),
                Err(error) => return Err(error),
            })
        })
        .await
    }

    /// Stops an instance, which stops its system first.
    ///
    /// # Errors
    /// There is none, it cannot be stopped, or the principal may not.
    pub async fn stop_instance(&self, id: &str) -> Result<(), AwsError> {
        let query = ec2("StopInstances").with_all("InstanceId", [id]);
        self.query::<Done>(query).await.map(drop)
    }

    /// Ends an instance for good, with its volumes.
    ///
    /// # Errors
    /// There is none, or the principal may not.
    pub async fn terminate_instance(&self, id: &str) -> Result<(), AwsError> {
        let query = ec2("TerminateInstances").with_all("InstanceId", [id]);
        self.query::<Done>(query).await.map(drop)
    }

    /// Puts an instance into these security groups, and out of all others.
    ///
    /// # Errors
    /// There is none, or the principal may not.
    pub async fn regroup_instance(&self, id: &str, groups: &[&str]) -> Result<(), AwsError> {
        let query = ec2("ModifyInstanceAttribute")
            .with("InstanceId", id)
            .with_all("GroupId", groups);
        self.query::<Done>(query).await.map(drop)
    }

    /// What an instance has written to its console, as far as AWS has it; nothing for want of the right to ask.
    pub async fn console_of(&self, id: &str) -> String {
        let query = ec2("GetConsoleOutput").with("InstanceId", id);
        let answer = self.query::<Console>(query).await;
        let text = answer.ok().and_then(|it| it.output).unwrap_or_default();
        let text: String = text.split_whitespace().collect();
        let bytes = BASE64.decode(text.as_bytes()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
