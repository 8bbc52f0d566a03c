//! Volumes, and snapshots of them.

use serde::Deserialize;

use super::tags::value;
use super::{Done, Filter, Items, Snapshot, Tag, Tags, ec2};
use crate::ec2::client::{AwsError, Region};

/// What is known of a volume.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// `vol-...`
    #[serde(rename = "volumeId")]
    pub id: String,
    /// `available`, `in-use`, ...
    #[serde(default, rename = "status")]
    pub state: String,
    #[serde(default)]
    tag_set: Items<Tag>,
}

impl Volume {
    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        value(&self.tag_set.item, key)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volumes {
    #[serde(default)]
    volume_set: Items<Volume>,
    #[serde(default)]
    next_token: Option<String>,
}

impl Region {
    /// Volumes of the account.
    ///
    /// # Errors
    /// The call failed.
    pub async fn volumes(&self, filters: &[Filter]) -> Result<Vec<Volume>, AwsError> {
        let query = ec2("DescribeVolumes").filtered(filters);
        let take = |page: Volumes| (page.volume_set.item, page.next_token);
        self.pages(query, take).await
    }

    /// Removes a volume.
    ///
    /// # Errors
    /// There is none, an instance has it, or the principal may not.
    pub async fn delete_volume(&self, id: &str) -> Result<(), AwsError> {
        let query = ec2("DeleteVolume").with("VolumeId", id);
        self.query::<Done>(query).await.map(drop)
    }

    /// Begins a snapshot of what is on a volume now; `tags` are on no other snapshot.
    ///
    /// When the answer is lost, the snapshot is looked for by its tags, since the call would make another one.
    ///
    /// # Errors
    /// There is no such volume, or the principal may not.
    pub async fn create_snapshot(
        &self,
        volume: &str,
        description: &str,
        tags: &Tags,
    ) -> Result<String, AwsError> {
        let query = ec2("CreateSnapshot")
            .with("VolumeId", volume)
            .with("Description", description)
            .tagging(&["snapshot"], tags)
            .once();
        match self.query::<Snapshot>(query.clone()).await {
            Err(error) if error.is_uncertain() => {
                let filters: Vec<_> = tags
                    .iter()
                    .map(|(key, value)| Filter::tag(key, value))
                    .collect();
                match self.own_snapshots(&filters).await?.into_iter().next() {
                    Some(made) => Ok(made.id),
                    None => Ok(self.query::<Snapshot>(query).await?.id),
                }
            }
            answer => Ok(answer?.id),
        }
    }
}
