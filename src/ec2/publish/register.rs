//! Registration of a snapshot as an AMI, and its publication.

use super::ami_metadata::{AmiMetadata, ROOT_DEVICE};
use crate::ec2::client::ec2::{Image, NewImage, Shares, Tags, images, snapshots};
use crate::ec2::client::run_tags::{PUBLISHED, after};
use crate::ec2::client::{AwsError, Region, eventually};
use crate::plan::PublishEc2;
use crate::time::Timestamp;

/// Registers a completed snapshot as an AMI. The AMI is not available yet.
pub async fn register(
    region: &Region,
    metadata: &AmiMetadata,
    settings: &PublishEc2,
    snapshot: &str,
    tags: &Tags,
) -> Result<String, AwsError> {
    let new = NewImage {
        name: &metadata.name,
        description: &metadata.description,
        architecture: metadata.architecture,
        boot_mode: metadata.boot_mode,
        root_device: ROOT_DEVICE,
        snapshot,
        volume_type: &settings.volume_type,
        volume_size: settings
            .volume_size
            .unwrap_or(metadata.size)
            .max(metadata.size),
        tags,
    };
    eventually(async || images::register(region, &new).await).await
}

/// Publishes an AMI as the template says: shares it, schedules its deprecation, protects it, and tags it as published.
/// Repeating this changes nothing.
pub async fn offer(region: &Region, image: &Image, settings: &PublishEc2) -> Result<(), AwsError> {
    let snapshot = image.root_snapshot();
    let shares = shares(settings);
    if !shares.is_empty() {
        eventually(async || images::share(region, &image.id, &shares).await).await?;
    }
    if let Some(snapshot) = snapshot
        && !shares.accounts.is_empty()
    {
        let share = async || snapshots::share(region, snapshot, &shares.accounts).await;
        eventually(share).await?;
    }
    if let Some(time) = settings.deprecate_after
        && image.deprecation_time.is_none()
    {
        let time = after(time).to_string();
        eventually(async || images::deprecate(region, &image.id, &time).await).await?;
    }
    if settings.protect {
        eventually(async || images::protect(region, &image.id).await).await?;
    }
    if image.tags.get(PUBLISHED).is_none() {
        let mut resources = vec![image.id.as_str()];
        resources.extend(snapshot);
        let now = Tags::from([(PUBLISHED.to_owned(), Timestamp::now().to_string())]);
        eventually(async || region.tag(&resources, &now).await).await?;
    }
    Ok(())
}

/// Returns the accounts and organisations that may launch the AMIs of a template.
fn shares(settings: &PublishEc2) -> Shares {
    Shares {
        accounts: settings.accounts.clone(),
        organizations: settings.organizations.clone(),
    }
}
