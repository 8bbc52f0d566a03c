//! Snapshot of an instance's disk, and the end of the instance.

use std::time::Duration;

use super::launch::root_volume;
use super::setup::InstanceNetwork;
use super::teardown::{
    DELETE_GROUP, RELEASE_TIMEOUT, TERMINATE, delete_group, terminate, warn_left,
};
use super::{Ec2Error, Ec2Machine, ResourceGuard};
use crate::ec2::client::Region;
use crate::ec2::client::ec2::{instances, snapshots};
use crate::ui::Ui;

/// Tag that distinguishes the snapshots of a run.
const KIND_TAG: &str = "karat:part";

/// Content of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotKind {
    /// Disk as it was when the instance started.
    Base,
    /// Disk of the finished image.
    Image,
}

/// Begins a snapshot of an instance's disk and returns its id.
pub async fn begin_snapshot(
    machine: &Ec2Machine,
    kind: SnapshotKind,
    image: &str,
    resources: &ResourceGuard,
) -> Result<String, Ec2Error> {
    let volume = root_volume(machine).await?;
    let name = match kind {
        SnapshotKind::Base => "base",
        SnapshotKind::Image => "image",
    };
    let mut tags = resources.tags().clone();
    tags.insert(KIND_TAG.to_owned(), name.to_owned());
    let description = format!("karat {image}, {name}");
    let made = snapshots::create(&resources.region, &volume, &description, &tags).await?;
    resources.remember(&made);
    Ok(made)
}

/// Terminates an instance whose disk is in a snapshot, and deletes the security group created for it. Warns of what is left over.
///
/// Does not wait for the instance: moving it to the VPC's default security group releases the temporary one at once.
pub async fn tear_down(region: &Region, instance: &str, network: &InstanceNetwork, ui: &Ui) {
    if let (Some(_), Some(default)) = (&network.temporary, &network.default_group) {
        // Without the permission, the deletion below waits until the group is unused.
        let _moved = instances::set_security_groups(region, instance, &[default.as_str()]).await;
    }
    // An instance that stays does not release anything.
    let mut within = RELEASE_TIMEOUT;
    if let Err(error) = terminate(region, instance).await {
        within = Duration::ZERO;
        warn_left(region, instance, &error, TERMINATE, ui);
    }
    if let Some(group) = &network.temporary
        && let Err(error) = delete_group(region, group, within).await
    {
        warn_left(region, group, &error, DELETE_GROUP, ui);
    }
}
