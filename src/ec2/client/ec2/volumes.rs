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

/// Calls about volumes in a region.
#[derive(Clone, Copy)]
pub struct Volumes<'r>(&'r Region);

impl Region {
    pub fn volumes(&self) -> Volumes<'_> {
        Volumes(self)
    }
}

impl Volumes<'_> {
    /// Lists volumes of the account.
    pub async fn list(self, filters: &[Filter]) -> Result<Vec<Volume>, AwsError> {
        self.0.list(ec2("DescribeVolumes").filtered(filters)).await
    }

    /// Deletes a volume that no instance uses.
    pub async fn delete(self, id: &str) -> Result<(), AwsError> {
        self.0
            .perform(ec2("DeleteVolume").with("VolumeId", id))
            .await
    }
}
