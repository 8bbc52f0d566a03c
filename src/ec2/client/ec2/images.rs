//! AMIs.

use std::time::Duration;

use serde::Deserialize;

use super::tags::value;
use super::{Done, Filter, Items, Tag, Tags, ec2};
use crate::ec2::client::{AwsError, Poll, Region};

/// An image of a snapshot that is there is available within seconds; a copy takes as long as its bytes need.
const AVAILABLE: Duration = Duration::from_hours(1);

/// What is known of an AMI.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// `ami-...`
    #[serde(rename = "imageId")]
    pub id: String,
    /// `available`, `pending`, `failed`, `disabled`, ...
    #[serde(rename = "imageState")]
    pub state: String,
    #[serde(default)]
    state_reason: Option<StateReason>,
    /// Unique in an account and region.
    #[serde(default)]
    pub name: String,
    /// The account that it belongs to.
    #[serde(default, rename = "imageOwnerId")]
    pub owner: String,
    /// `x86_64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// `legacy-bios`, `uefi`, `uefi-preferred`.
    #[serde(default)]
    pub boot_mode: Option<String>,
    /// When it was made, in RFC 3339.
    #[serde(default)]
    pub creation_date: String,
    /// When it is hidden from others' searches, in RFC 3339.
    #[serde(default)]
    pub deprecation_time: Option<String>,
    /// `v2.0` when its instances answer metadata requests with a token only.
    #[serde(default)]
    pub imds_support: Option<String>,
    /// The device that the system is on.
    #[serde(default)]
    pub root_device_name: String,
    #[serde(default)]
    block_device_mapping: Items<Mapping>,
    #[serde(default)]
    tag_set: Items<Tag>,
}

#[derive(Clone, Debug, Deserialize)]
struct StateReason {
    #[serde(default)]
    message: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    #[serde(default)]
    device_name: String,
    #[serde(default)]
    ebs: Option<EbsMapping>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EbsMapping {
    #[serde(default)]
    snapshot_id: Option<String>,
    #[serde(default)]
    volume_size: u64,
}

impl Image {
    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        value(&self.tag_set.item, key)
    }

    /// The snapshot that its root volume is made of.
    #[must_use]
    pub fn root_snapshot(&self) -> Option<&str> {
        let mappings = self.block_device_mapping.item.iter();
        let mut roots = mappings.filter(|it| it.device_name == self.root_device_name);
        roots.next()?.ebs.as_ref()?.snapshot_id.as_deref()
    }

    /// The size of its root volume, in GiB.
    #[must_use]
    pub fn root_size(&self) -> Option<u64> {
        let mut mappings = self.block_device_mapping.item.iter();
        let root = mappings.find(|it| it.device_name == self.root_device_name);
        Some(root?.ebs.as_ref()?.volume_size)
    }

    /// All snapshots that its volumes are made of.
    #[must_use]
    pub fn snapshots(&self) -> Vec<&str> {
        let mappings = self.block_device_mapping.item.iter();
        let ebs = mappings.filter_map(|it| it.ebs.as_ref());
        ebs.filter_map(|it| it.snapshot_id.as_deref()).collect()
    }
}

/// An AMI to register.
#[derive(Clone, Debug)]
pub struct NewImage<'a> {
    /// Unique in an account and region.
    pub name: &'a str,
    /// Free text.
    pub description: &'a str,
    /// AWS's name: `x86_64`, `arm64`.
    pub architecture: &'a str,
    /// `legacy-bios`, `uefi`, `uefi-preferred`.
    pub boot_mode: &'a str,
    /// The device that the system is on.
    pub root_device: &'a str,
    /// What its volume is made of.
    pub snapshot: &'a str,
    /// Of volumes: `gp3`, ...
    pub volume_type: &'a str,
    /// Of volumes, in GiB.
    pub volume_size: u64,
    /// Of the image; the snapshot has its own.
    pub tags: &'a Tags,
}

/// Who else may launch an AMI.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shares {
    /// Accounts, by their twelve digits.
    pub accounts: Vec<String>,
    /// Organisations and their units, by ARN.
    pub organizations: Vec<String>,
}

impl Shares {
    /// Nobody else.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.organizations.is_empty()
    }

    /// Whether everybody of `wanted` is here too.
    #[must_use]
    pub fn include(&self, wanted: &Self) -> bool {
        wanted.accounts.iter().all(|it| self.accounts.contains(it))
            && (wanted.organizations.iter()).all(|it| self.organizations.contains(it))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Images {
    #[serde(default)]
    images_set: Items<Image>,
    #[serde(default)]
    next_token: Option<String>,
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
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    organization_arn: Option<String>,
    #[serde(default)]
    organizational_unit_arn: Option<String>,
}

impl Region {
    /// AMIs of these owners (`self`, `amazon`, accounts), with those that are disabled or deprecated.
    ///
    /// # Errors
    /// The call failed.
    pub async fn images(
        &self,
        owners: &[&str],
        filters: &[Filter],
    ) -> Result<Vec<Image>, AwsError> {
        let query = ec2("DescribeImages")
            .with_all("Owner", owners)
            .with("IncludeDeprecated", true)
            .with("IncludeDisabled", true)
            .filtered(filters);
        let take = |page: Images| (page.images_set.item, page.next_token);
        self.pages(query, take).await
    }

    /// One AMI.
    ///
    /// # Errors
    /// There is none, or the call failed.
    pub async fn image(&self, id: &str) -> Result<Image, AwsError> {
        let query = ec2("DescribeImages")
            .with_all("ImageId", [id])
            .with("IncludeDeprecated", true)
            .with("IncludeDisabled", true);
        let found: Images = self.query(query).await?;
        let first = found.images_set.item.into_iter().next();
        // One that was deregistered lately is still told, without a state of use.
        let there = first.filter(|it| it.state != "deregistered");
        there.ok_or_else(|| AwsError::Gone {
            what: format!("image {id}"),
            region: self.name.clone(),
        })
    }

    /// Makes an AMI of a snapshot, or finds the one of this name that a lost answer has made.
    ///
    /// # Errors
    /// An image of this name has another snapshot, or the principal may not.
    pub async fn register_image(&self, new: &NewImage<'_>) -> Result<String, AwsError> {
        // Sent again after a lost answer it is refused, since names are unique: it happens once.
        let query = ec2("RegisterImage")
            .with("Name", new.name)
            .with_some(
                "Description",
                Some(new.description).filter(|it| !it.is_empty()),
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
        match self.query::<Registered>(query).await {
            Err(error) if error.error_code() == Some("InvalidAMIName.Duplicate") => {
                let named = Filter::new("name", [new.name]);
                let images = self.images(&["self"], &[named]).await?;
                let mut images = images.into_iter();
                let ours = images.find(|it| it.root_snapshot() == Some(new.snapshot));
                ours.map(|it| it.id).ok_or(error)
            }
            answer => Ok(answer?.image_id),
        }
    }

    /// Waits until instances can be launched of an AMI.
    ///
    /// # Errors
    /// It failed, or took longer than an hour.
    pub async fn image_available(&self, id: &str) -> Result<Image, AwsError> {
        let what = format!("image {id}");
        self.wait_for(&what, AVAILABLE, async || {
            let image = self.image(id).await?;
            Ok(match image.state.as_str() {
                "available" => Poll::Ready(image),
                "pending" | "transient" => Poll::Pending(image.state),
                _ => Poll::Failed(image.state, image.state_reason.and_then(|it| it.message)),
            })
        })
        .await
    }

    /// Removes an AMI; instances of it go on, and its snapshot stays.
    ///
    /// # Errors
    /// There is none, it is protected, or the principal may not.
    pub async fn deregister_image(&self, id: &str) -> Result<(), AwsError> {
        let query = ec2("DeregisterImage").with("ImageId", id);
        self.query::<Done>(query).await.map(drop)
    }

    /// Lets others launch an AMI.
    ///
    /// # Errors
    /// There is none, or the principal may not.
    pub async fn share_image(&self, id: &str, with: &Shares) -> Result<(), AwsError> {
        let mut query = ec2("ModifyImageAttribute")
            .with("ImageId", id)
            .with("Attribute", "launchPermission");
        let accounts = with.accounts.iter().map(|it| ("UserId", it));
        let organizations = with.organizations.iter().map(|it| {
            let is_unit = it.contains(":ou/");
            let name = ["OrganizationArn", "OrganizationalUnitArn"][usize::from(is_unit)];
            (name, it)
        });
        for (at, (name, who)) in accounts.chain(organizations).enumerate() {
            query.set(&format!("LaunchPermission.Add.{}.{name}", at + 1), who);
        }
        self.query::<Done>(query).await.map(drop)
    }

    /// Who else may launch an AMI.
    ///
    /// # Errors
    /// There is none, or the principal may not ask.
    pub async fn shares_of(&self, id: &str) -> Result<Shares, AwsError> {
        let query = ec2("DescribeImageAttribute")
            .with("ImageId", id)
            .with("Attribute", "launchPermission");
        let found: Attribute = self.query(query).await?;
        let mut shares = Shares::default();
        for permission in found.launch_permission.item {
            shares.accounts.extend(permission.user_id);
            let organizations = [
                permission.organization_arn,
                permission.organizational_unit_arn,
            ];
            shares
                .organizations
                .extend(organizations.into_iter().flatten());
        }
        Ok(shares)
    }

    /// Hides an AMI from others' searches from this time on (RFC 3339, by the minute).
    ///
    /// # Errors
    /// There is none, or the principal may not.
    pub async fn deprecate_image(&self, id: &str, at: &str) -> Result<(), AwsError> {
        let query = ec2("EnableImageDeprecation")
            .with("ImageId", id)
            .with("DeprecateAt", at);
        self.query::<Done>(query).await.map(drop)
    }

    /// Keeps an AMI from being deregistered, until somebody allows it.
    ///
    /// # Errors
    /// There is none, or the principal may not.
    pub async fn protect_image(&self, id: &str) -> Result<(), AwsError> {
        let query = ec2("EnableImageDeregistrationProtection")
            .with("ImageId", id)
            .with("WithCooldown", false);
        self.query::<Done>(query).await.map(drop)
    }

    /// Lets a protected AMI be deregistered.
    ///
    /// # Errors
    /// There is none, or the principal may not.
    pub async fn unprotect_image(&self, id: &str) -> Result<(), AwsError> {
        let query = ec2("DisableImageDeregistrationProtection").with("ImageId", id);
        self.query::<Done>(query).await.map(drop)
    }
}
