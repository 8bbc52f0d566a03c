//! A snapshot → an AMI that others can launch; and back to nothing.

use super::ami_metadata::{About, ROOT_DEVICE};
use crate::ec2::client::ec2::{Filter, Image, NewImage, Shares, Tags};
use crate::ec2::client::run_tags::{PUBLISHED, RUN, after};
use crate::ec2::client::{AwsError, Region, eventually};
use crate::plan::PublishEc2;
use crate::time::Timestamp;
use crate::ui::Ui;

/// What AWS calls it when an AMI is protected.
const PROTECTED: &str = "OperationNotPermitted";

/// Makes an AMI of a snapshot that is completed. It is not ready yet.
///
/// # Errors
/// The name is another image's, or the principal may not.
pub async fn register(
    region: &Region,
    about: &About,
    settings: &PublishEc2,
    snapshot: &str,
    tags: &Tags,
) -> Result<String, AwsError> {
    let new = NewImage {
        name: &about.name,
        description: &about.description,
        architecture: about.architecture,
        boot_mode: about.boot_mode,
        root_device: ROOT_DEVICE,
        snapshot,
        volume_type: &settings.volume_type,
        volume_size: settings.volume_size.unwrap_or(about.size).max(about.size),
        tags,
    };
    eventually(async || region.register_image(&new).await).await
}

/// Lets those launch an AMI that the template names, says when it is deprecated, protects it, and says that it is ready. To do so
/// again changes nothing.
///
/// # Errors
/// The principal may not.
pub async fn offer(region: &Region, image: &Image, settings: &PublishEc2) -> Result<(), AwsError> {
    let shares = shares(settings);
    if !shares.is_empty() {
        eventually(async || region.share_image(&image.id, &shares).await).await?;
        if let Some(snapshot) = image
            .root_snapshot()
            .filter(|_| !shares.accounts.is_empty())
        {
            eventually(async || region.share_snapshot(snapshot, &shares.accounts).await).await?;
        }
    }
    if let Some(time) = settings
        .deprecate_after
        .filter(|_| image.deprecation_time.is_none())
    {
        let time = after(time).to_string();
        eventually(async || region.deprecate_image(&image.id, &time).await).await?;
    }
    if settings.protect {
        eventually(async || region.protect_image(&image.id).await).await?;
    }
    if image.tag(PUBLISHED).is_none() {
        let mut resources = vec![image.id.as_str()];
        resources.extend(image.root_snapshot());
        let now = Tags::from([(PUBLISHED.to_owned(), Timestamp::now().to_string())]);
        eventually(async || region.tag(&resources, &now).await).await?;
    }
    Ok(())
}

/// Those who may launch AMIs.
pub(super) fn shares(settings: &PublishEc2) -> Shares {
    Shares {
        accounts: settings.accounts.clone(),
        organizations: settings.organizations.clone(),
    }
}

/// Removes the AMIs and snapshots of a run that were not made ready. What cannot be removed is said.
pub async fn sweep(region: &Region, run: &str, ui: &Ui) -> Vec<String> {
    let of_run = [Filter::tag(RUN, run)];
    let mut removed = Vec::new();
    let left = |what: &str, error: &AwsError| {
        ui.warn(&format!(
            "{what} in {} is left over: {error}; `karat prune --runs --ec2` removes it later",
            region.name()
        ));
    };
    match region.images(&["self"], &of_run).await {
        Err(error) => left("an AMI of this run, if there is one,", &error),
        Ok(images) => {
            for image in images.iter().filter(|it| it.tag(PUBLISHED).is_none()) {
                match deregister(region, &image.id).await {
                    Ok(()) => removed.push(image.id.clone()),
                    Err(error) => left(&image.id, &error),
                }
            }
        }
    }
    match region.own_snapshots(&of_run).await {
        Err(error) => left("a snapshot of this run, if there is one,", &error),
        Ok(snapshots) => {
            for snapshot in snapshots.iter().filter(|it| it.tag(PUBLISHED).is_none()) {
                match region.delete_snapshot(&snapshot.id).await {
                    Ok(()) => removed.push(snapshot.id.clone()),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => left(&snapshot.id, &error),
                }
            }
        }
    }
    removed
}

/// Removes an AMI, protected or not; one that is gone is as good.
pub(super) async fn deregister(region: &Region, image: &str) -> Result<(), AwsError> {
    match region.deregister_image(image).await {
        Err(error) if error.error_code() == Some(PROTECTED) => {
            region.unprotect_image(image).await?;
            region.deregister_image(image).await
        }
        Err(error) if error.is_not_found() => Ok(()),
        done => done,
    }
}
