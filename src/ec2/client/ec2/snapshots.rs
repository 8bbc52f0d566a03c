//! Snapshots of volumes.

use std::time::Duration;

use serde::Deserialize;

use super::tags::value;
use super::{Done, Filter, Items, Tag, ec2};
use crate::ec2::client::{AwsError, Poll, Region};

/// A snapshot of some GiB that was written through the EBS direct APIs is completed within a minute; one of a volume takes
/// longer the more was written since the last one.
const COMPLETED: Duration = Duration::from_hours(1);

/// What is known of a snapshot.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// `snap-...`
    #[serde(rename = "snapshotId")]
    pub id: String,
    /// `pending`, `completed`, `error`, ...
    #[serde(rename = "status")]
    pub state: String,
    #[serde(default)]
    status_message: Option<String>,
    /// Of the volume, in GiB.
    #[serde(default)]
    pub volume_size: u64,
    /// Whether its blocks are encrypted at rest.
    #[serde(default)]
    pub encrypted: bool,
    /// When it was begun, in RFC 3339.
    #[serde(default)]
    pub start_time: String,
    /// What somebody wrote about it.
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    tag_set: Items<Tag>,
}

impl Snapshot {
    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        value(&self.tag_set.item, key)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshots {
    #[serde(default)]
    snapshot_set: Items<Snapshot>,
    #[serde(default)]
    next_token: Option<String>,
}

impl Region {
    /// Snapshots of the caller's own account.
    ///
    /// # Errors
    /// The call failed.
    pub async fn own_snapshots(&self, filters: &[Filter]) -> Result<Vec<Snapshot>, AwsError> {
        let query = ec2("DescribeSnapshots")
            .with_all("Owner", ["self"])
            .with("MaxResults", 1000)
            .filtered(filters);
        let take = |page: Snapshots| (page.snapshot_set.item, page.next_token);
        self.pages(query, take).await
    }

    /// One snapshot.
    ///
    /// # Errors
    /// There is none, or the call failed.
    pub async fn snapshot(&self, id: &str) -> Result<Snapshot, AwsError> {
        let query = ec2("DescribeSnapshots").with_all("SnapshotId", [id]);
        let found: Snapshots = self.query(query).await?;
        let first = found.snapshot_set.item.into_iter().next();
        first.ok_or_else(|| AwsError::Gone {
            what: format!("snapshot {id}"),
            region: self.name.clone(),
        })
    }

    /// Waits until everything of a snapshot is where it is kept.
    ///
    /// # Errors
    /// It failed, or took longer than an hour.
    pub async fn snapshot_completed(&self, id: &str) -> Result<Snapshot, AwsError> {
        self.snapshot_completed_within(id, COMPLETED).await
    }

    /// Waits so long until everything of a snapshot is where it is kept.
    ///
    /// # Errors
    /// It failed, or took longer.
    pub async fn snapshot_completed_within(
        &self,
        id: &str,
        within: Duration,
    ) -> Result<Snapshot, AwsError> {
        let what = format!("snapshot {id}");
        self.wait_for(&what, within, async || {
            let snapshot = self.snapshot(id).await?;
            Ok(match snapshot.state.as_str() {
                "completed" => Poll::Ready(snapshot),
                "error" => Poll::Failed(snapshot.state, snapshot.status_message),
                _ => Poll::Pending(snapshot.state),
            })
        })
        .await
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// There is none, an image uses it, or the principal may not.
    pub async fn delete_snapshot(&self, id: &str) -> Result<(), AwsError> {
        let query = ec2("DeleteSnapshot").with("SnapshotId", id);
        self.query::<Done>(query).await.map(drop)
    }

    /// Lets other accounts make volumes of a snapshot.
    ///
    /// # Errors
    /// There is none, or the principal may not.
    pub async fn share_snapshot(&self, id: &str, accounts: &[String]) -> Result<(), AwsError> {
        let mut query = ec2("ModifySnapshotAttribute")
            .with("SnapshotId", id)
            .with("Attribute", "createVolumePermission");
        for (at, account) in accounts.iter().enumerate() {
            let name = format!("CreateVolumePermission.Add.{}.UserId", at + 1);
            query.set(&name, account);
        }
        self.query::<Done>(query).await.map(drop)
    }
}
