//! EBS volumes.

use serde::Deserialize;

use super::tags::TagSet;
use super::{Filter, ec2};
use crate::ec2::client::{AwsError, Region};

/// EBS volume as AWS describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct Volume {
    /// `vol-...`
    #[serde(rename = "volumeId")]
    pub id: String,
    /// `available`, `in-use`, ...
    #[serde(default, rename = "status")]
    pub state: String,
    #[serde(default, rename = "tagSet")]
    pub tags: TagSet,
}

/// Lists volumes of the account.
pub async fn list(region: &Region, filters: &[Filter]) -> Result<Vec<Volume>, AwsError> {
    region.list(ec2("DescribeVolumes").filtered(filters)).await
}

/// Deletes a volume that no instance uses.
pub async fn delete(region: &Region, id: &str) -> Result<(), AwsError> {
    region
        .perform(ec2("DeleteVolume").with("VolumeId", id))
        .await
}
