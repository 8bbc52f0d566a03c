//! Snapshots of volumes.

use std::time::Duration;

use serde::Deserialize;

use super::tags::{TagSet, Tags};
use super::{Filter, ec2};
use crate::ec2::client::{AwsError, Poll, Region};

/// Longest wait for a snapshot. One of some GiB that was written through the EBS direct APIs is completed within a minute; one of
/// a volume takes longer the more was written since the previous snapshot.
const COMPLETION_TIMEOUT: Duration = Duration::from_hours(1);

/// Snapshot as AWS describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// `snap-...`
    #[serde(rename = "snapshotId")]
    pub id: String,
    /// `pending`, `completed`, `error`, ...
    #[serde(rename = "status")]
    pub state: String,
    status_message: Option<String>,
    /// Size of the volume, in GiB.
    #[serde(default)]
    pub volume_size: u64,
    #[serde(default)]
    pub encrypted: bool,
    #[serde(default, rename = "tagSet")]
    pub tags: TagSet,
}

/// Lists snapshots of the caller's own account.
pub async fn list(region: &Region, filters: &[Filter]) -> Result<Vec<Snapshot>, AwsError> {
    let query = ec2("DescribeSnapshots")
        .with_all("Owner", ["self"])
        .with("MaxResults", 1000)
        .filtered(filters);
    region.list(query).await
}

pub async fn get(region: &Region, id: &str) -> Result<Snapshot, AwsError> {
    let query = ec2("DescribeSnapshots").with_all("SnapshotId", [id]);
    let found = region.list(query).await?;
    region.first_of(found, format!("snapshot {id}"))
}

/// Waits until all data of a snapshot is stored.
pub async fn wait_completed(region: &Region, id: &str) -> Result<Snapshot, AwsError> {
    wait_completed_within(region, id, COMPLETION_TIMEOUT).await
}

/// As [`wait_completed`], with a timeout of its own.
pub async fn wait_completed_within(
    region: &Region,
    id: &str,
    within: Duration,
) -> Result<Snapshot, AwsError> {
    region
        .wait_for(format!("snapshot {id}"), within, async || {
            let snapshot = get(region, id).await?;
            Ok(match snapshot.state.as_str() {
                "completed" => Poll::Ready(snapshot),
                "error" => Poll::Failed(snapshot.state, snapshot.status_message),
                _ => Poll::Pending(snapshot.state),
            })
        })
        .await
}

/// Begins a snapshot of a volume's present content. The combination of `tags` must be unique to this snapshot: when the
/// response is lost, they are used to find the snapshot, since a second call would make another one.
pub async fn create(
    region: &Region,
    volume: &str,
    description: &str,
    tags: &Tags,
) -> Result<String, AwsError> {
    let query = ec2("CreateSnapshot")
        .with("VolumeId", volume)
        .with("Description", description)
        .tagging(&["snapshot"], tags)
        .once();
    match region.query::<Snapshot>(query.clone()).await {
        Err(error) if error.is_uncertain() => {
            let filters: Vec<_> = tags
                .iter()
                .map(|(key, value)| Filter::tag(key, value))
                .collect();
            match list(region, &filters).await?.into_iter().next() {
                Some(made) => Ok(made.id),
                None => Ok(region.query::<Snapshot>(query).await?.id),
            }
        }
        answer => Ok(answer?.id),
    }
}

/// Deletes a snapshot that no image uses.
pub async fn delete(region: &Region, id: &str) -> Result<(), AwsError> {
    region
        .perform(ec2("DeleteSnapshot").with("SnapshotId", id))
        .await
}

/// Permits other accounts to create volumes from a snapshot.
pub async fn share(region: &Region, id: &str, accounts: &[String]) -> Result<(), AwsError> {
    let mut query = ec2("ModifySnapshotAttribute")
        .with("SnapshotId", id)
        .with("Attribute", "createVolumePermission");
    for (at, account) in accounts.iter().enumerate() {
        let name = format!("CreateVolumePermission.Add.{}.UserId", at + 1);
        query.set(&name, account);
    }
    region.perform(query).await
}
