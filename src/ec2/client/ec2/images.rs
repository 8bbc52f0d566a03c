//! AMIs.

use std::time::Duration;

use serde::Deserialize;

use super::tags::{TagSet, Tags};
use super::{Filter, MappedVolume, Mapping, StateReason, ec2};
use crate::ec2::client::query::{Items, Query};
use crate::ec2::client::{AwsError, Poll, Region};

/// Longest wait for an AMI. One made from a completed snapshot is available within seconds; a copy takes as long as its bytes
/// need.
const AVAILABLE_TIMEOUT: Duration = Duration::from_hours(1);
/// Error code of a call that would deregister a protected AMI.
const PROTECTED: &str = "OperationNotPermitted";

/// AMI as AWS describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// `ami-...`
    #[serde(rename = "imageId")]
    pub id: String,
    /// `available`, `pending`, `failed`, `disabled`, ...
    #[serde(rename = "imageState")]
    pub state: String,
    state_reason: Option<StateReason>,
    /// Name, unique in an account and region.
    #[serde(default)]
    pub name: String,
    /// Account that owns it.
    #[serde(default, rename = "imageOwnerId")]
    pub owner: String,
    /// `x86_64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// `legacy-bios`, `uefi`, `uefi-preferred`.
    pub boot_mode: Option<String>,
    /// Time of registration, in RFC 3339.
    #[serde(default)]
    pub creation_date: String,
    /// Time from which searches of other accounts do not list it, in RFC 3339.
    pub deprecation_time: Option<String>,
    /// Device that holds the system.
    #[serde(default)]
    pub root_device_name: String,
    #[serde(default)]
    block_device_mapping: Items<Mapping>,
    #[serde(default, rename = "tagSet")]
    pub tags: TagSet,
}

impl Image {
    /// Returns the snapshot of its root volume.
    pub fn root_snapshot(&self) -> Option<&str> {
        self.root()?.snapshot_id.as_deref()
    }

    /// Returns the size of its root volume, in GiB.
    pub fn root_size(&self) -> Option<u64> {
        Some(self.root()?.volume_size)
    }

    fn root(&self) -> Option<&MappedVolume> {
        self.block_device_mapping.volume_of(&self.root_device_name)
    }

    /// Returns the snapshots of all its volumes.
    pub fn snapshots(&self) -> Vec<&str> {
        let mappings = self.block_device_mapping.item.iter();
        let ebs = mappings.filter_map(|mapping| mapping.ebs.as_ref());
        ebs.filter_map(|ebs| ebs.snapshot_id.as_deref()).collect()
    }
}

/// AMI to register from a snapshot.
#[derive(Clone, Debug)]
pub struct NewImage<'a> {
    /// Name, unique in an account and region.
    pub name: &'a str,
    pub description: &'a str,
    /// AWS's name of the architecture: `x86_64`, `arm64`.
    pub architecture: &'a str,
    /// `legacy-bios`, `uefi`, `uefi-preferred`.
    pub boot_mode: &'a str,
    /// Device that holds the system.
    pub root_device: &'a str,
    /// Snapshot of the root volume.
    pub snapshot: &'a str,
    /// Type of the root volume of instances, such as `gp3`.
    pub volume_type: &'a str,
    /// Size of the root volume of instances, in GiB.
    pub volume_size: u64,
    /// Tags of the AMI; its snapshot has tags of its own.
    pub tags: &'a Tags,
}

/// Accounts and organisations that may launch an AMI besides its owner.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shares {
    /// Account ids of twelve digits.
    pub accounts: Vec<String>,
    /// ARNs of organisations and organisational units.
    pub organizations: Vec<String>,
}

impl Shares {
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.organizations.is_empty()
    }

    /// Returns whether all of `wanted` are included.
    pub fn include(&self, wanted: &Self) -> bool {
        let mut accounts = wanted.accounts.iter();
        let mut organizations = wanted.organizations.iter();
        accounts.all(|id| self.accounts.contains(id))
            && organizations.all(|arn| self.organizations.contains(arn))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registered {
    image_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attribute {
    #[serde(default)]
    launch_permission: Items<Permission>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permission {
    user_id: Option<String>,
    organization_arn: Option<String>,
    organizational_unit_arn: Option<String>,
}

/// Lists AMIs of these owners (`self`, `amazon`, account ids), including disabled and deprecated ones.
pub async fn list(
    region: &Region,
    owners: &[&str],
    filters: &[Filter],
) -> Result<Vec<Image>, AwsError> {
    let query = describe().with_all("Owner", owners).filtered(filters);
    region.list(query).await
}

pub async fn get(region: &Region, id: &str) -> Result<Image, AwsError> {
    let mut found: Vec<Image> = region.list(describe().with_all("ImageId", [id])).await?;
    // AWS lists an AMI for a while after it was deregistered.
    found.retain(|image| image.state != "deregistered");
    region.first_of(found, format!("image {id}"))
}

/// Registers an AMI, or finds the one that a call whose response was lost has registered from the same snapshot.
pub async fn register(region: &Region, new: &NewImage<'_>) -> Result<String, AwsError> {
    // Names are unique, so AWS refuses a repeated call: the AMI is registered once.
    let query = ec2("RegisterImage")
        .with("Name", new.name)
        .with_some(
            "Description",
            Some(new.description).filter(|text| !text.is_empty()),
        )
        .with("Architecture", new.architecture)
        .with("BootMode", new.boot_mode)
        .with("VirtualizationType", "hvm")
        .with("EnaSupport", true)
        .with("ImdsSupport", "v2.0")
        .with("RootDeviceName", new.root_device)
        .with("BlockDeviceMapping.1.DeviceName", new.root_device)
        .with("BlockDeviceMapping.1.Ebs.SnapshotId", new.snapshot)
        .with("BlockDeviceMapping.1.Ebs.VolumeType", new.volume_type)
        .with("BlockDeviceMapping.1.Ebs.VolumeSize", new.volume_size)
        .with("BlockDeviceMapping.1.Ebs.DeleteOnTermination", true)
        .tagging(&["image"], new.tags);
    match region.query::<Registered>(query).await {
        Err(error) if error.error_code() == Some("InvalidAMIName.Duplicate") => {
            let named = Filter::new("name", [new.name]);
            let mut images = list(region, &["self"], &[named]).await?.into_iter();
            let ours = images.find(|image| image.root_snapshot() == Some(new.snapshot));
            ours.map(|image| image.id).ok_or(error)
        }
        answer => Ok(answer?.image_id),
    }
}

/// Waits until instances can be launched from an AMI.
pub async fn wait_available(region: &Region, id: &str) -> Result<Image, AwsError> {
    region
        .wait_for(format!("image {id}"), AVAILABLE_TIMEOUT, async || {
            let image = get(region, id).await?;
            Ok(match image.state.as_str() {
                "available" => Poll::Ready(image),
                "pending" | "transient" => Poll::Pending(image.state),
                _ => Poll::Failed(
                    image.state,
                    image.state_reason.and_then(|reason| reason.message),
                ),
            })
        })
        .await
}

/// Deregisters an AMI that is not protected. Its instances continue to run, and its snapshot stays.
pub async fn deregister(region: &Region, id: &str) -> Result<(), AwsError> {
    region
        .perform(ec2("DeregisterImage").with("ImageId", id))
        .await
}

/// Deregisters an AMI, lifting its protection first if it has one. An AMI that does not exist counts as deregistered.
pub async fn remove(region: &Region, id: &str) -> Result<(), AwsError> {
    match deregister(region, id).await {
        Err(error) if error.error_code() == Some(PROTECTED) => {
            unprotect(region, id).await?;
            deregister(region, id).await
        }
        Err(error) if error.is_not_found() => Ok(()),
        done => done,
    }
}

/// Permits others to launch an AMI.
pub async fn share(region: &Region, id: &str, with: &Shares) -> Result<(), AwsError> {
    let mut query = ec2("ModifyImageAttribute")
        .with("ImageId", id)
        .with("Attribute", "launchPermission");
    let accounts = with.accounts.iter().map(|account| ("UserId", account));
    let organizations = with.organizations.iter().map(|arn| {
        let is_unit = arn.contains(":ou/");
        let name = ["OrganizationArn", "OrganizationalUnitArn"][usize::from(is_unit)];
        (name, arn)
    });
    for (at, (name, grantee)) in accounts.chain(organizations).enumerate() {
        query.set(&format!("LaunchPermission.Add.{}.{name}", at + 1), grantee);
    }
    region.perform(query).await
}

/// Returns the accounts and organisations that may launch an AMI besides its owner.
pub async fn shares(region: &Region, id: &str) -> Result<Shares, AwsError> {
    let query = ec2("DescribeImageAttribute")
        .with("ImageId", id)
        .with("Attribute", "launchPermission");
    let found: Attribute = region.query(query).await?;
    let mut shares = Shares::default();
    for permission in found.launch_permission.item {
        shares.accounts.extend(permission.user_id);
        let organizations = &mut shares.organizations;
        organizations.extend(permission.organization_arn);
        organizations.extend(permission.organizational_unit_arn);
    }
    Ok(shares)
}

/// Deprecates an AMI from this time on (RFC 3339, to the minute): searches of other accounts no longer list it.
pub async fn deprecate(region: &Region, id: &str, at: &str) -> Result<(), AwsError> {
    let query = ec2("EnableImageDeprecation")
        .with("ImageId", id)
        .with("DeprecateAt", at);
    region.perform(query).await
}

/// Cancels the deprecation of an AMI.
pub async fn undeprecate(region: &Region, id: &str) -> Result<(), AwsError> {
    region
        .perform(ec2("DisableImageDeprecation").with("ImageId", id))
        .await
}

/// Protects an AMI from being deregistered.
pub async fn protect(region: &Region, id: &str) -> Result<(), AwsError> {
    let query = ec2("EnableImageDeregistrationProtection")
        .with("ImageId", id)
        .with("WithCooldown", false);
    region.perform(query).await
}

/// Lifts the protection of an AMI from being deregistered.
pub async fn unprotect(region: &Region, id: &str) -> Result<(), AwsError> {
    let query = ec2("DisableImageDeregistrationProtection").with("ImageId", id);
    region.perform(query).await
}

fn describe() -> Query {
    ec2("DescribeImages")
        .with("IncludeDeprecated", true)
        .with("IncludeDisabled", true)
}
