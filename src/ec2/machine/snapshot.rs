//! A disk at rest → a snapshot, and the end of the instance that it was of.

use std::time::Duration;

use super::launch::root_volume;
use super::setup::Place;
use super::teardown::{FREED, group_gone, left, terminate};
use super::{Ec2Error, Ec2Machine, Rental};
use crate::ec2::client::Region;
use crate::ui::Ui;

/// Which of the snapshots of a run one is.
const PART: &str = "karat:part";

/// What a snapshot is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The disk that the instance starts from.
    Base,
    /// The finished disk.
    Image,
}

/// Begins a snapshot of an instance's disk.
///
/// # Errors
/// The principal may not.
pub async fn begin_snapshot(
    machine: &Ec2Machine,
    part: Part,
    image: &str,
    rental: &Rental,
) -> Result<String, Ec2Error> {
    let volume = root_volume(machine).await?;
    let name = match part {
        Part::Base => "base",
        Part::Image => "image",
    };
    let mut tags = rental.tags().clone();
    tags.insert(PART.to_owned(), name.to_owned());
    let description = format!("karat {image}, {name}");
    let made = rental
        .region
        .create_snapshot(&volume, &description, &tags)
        .await?;
    rental.know(&made);
    Ok(made)
}

/// Ends an instance whose disk is in a snapshot, and the security group that was made for it. What is left over is said.
///
/// Nobody waits for the instance: put into the VPC's own security group, it sets the other one free at once.
pub async fn end(region: &Region, instance: &str, place: &Place, ui: &Ui) {
    if let (Some(_), Some(default)) = (&place.temporary, &place.default_group) {
        // When that may not be, the group is waited for below.
        let _moved = region.regroup_instance(instance, &[default.as_str()]).await;
    }
    // Nothing becomes free of an instance that stays.
    let mut within = FREED;
    if let Err(error) = terminate(region, instance).await {
        within = Duration::ZERO;
        let command = "terminate-instances --instance-ids";
        left(region, instance, &error, command, ui);
    }
    if let Some(group) = &place.temporary
        && let Err(error) = group_gone(region, group, within).await
    {
        left(
            region,
            group,
            &error,
            "delete-security-group --group-id",
            ui,
        );
    }
}
