//! Removal of the AMIs and snapshots that a failed run has left.

use super::ec2::Filter;
use super::run_tags::{PUBLISHED, RUN};
use super::{AwsError, Region};
use crate::ui::Ui;

/// Removes the unpublished AMIs and snapshots of a run and returns their ids. Warns of what cannot be removed.
pub async fn sweep(region: &Region, run: &str, ui: &Ui) -> Vec<String> {
    let mut removed = sweep_images(region, run, ui).await;
    removed.extend(sweep_snapshots(region, run, ui).await);
    removed
}

async fn sweep_images(region: &Region, run: &str, ui: &Ui) -> Vec<String> {
    let of_run = [Filter::tag(RUN, run)];
    let images = match region.images().list(&["self"], &of_run).await {
        Ok(images) => images,
        Err(error) => {
            warn_left_over(region, "an AMI of this run, if there is one,", &error, ui);
            return Vec::new();
        }
    };
    let mut removed = Vec::new();
    for image in images {
        if image.tags.get(PUBLISHED).is_some() {
            continue;
        }
        match region.images().remove(&image.id).await {
            Ok(()) => removed.push(image.id),
            Err(error) => warn_left_over(region, &image.id, &error, ui),
        }
    }
    removed
}

async fn sweep_snapshots(region: &Region, run: &str, ui: &Ui) -> Vec<String> {
    let of_run = [Filter::tag(RUN, run)];
    let snapshots = match region.snapshots().list(&of_run).await {
        Ok(snapshots) => snapshots,
        Err(error) => {
            let what = "a snapshot of this run, if there is one,";
            warn_left_over(region, what, &error, ui);
            return Vec::new();
        }
    };
    let mut removed = Vec::new();
    for snapshot in snapshots {
        if snapshot.tags.get(PUBLISHED).is_some() {
            continue;
        }
        match region.snapshots().delete(&snapshot.id).await {
            Ok(()) => removed.push(snapshot.id),
            Err(error) if error.is_not_found() => {}
            Err(error) => warn_left_over(region, &snapshot.id, &error, ui),
        }
    }
    removed
}

fn warn_left_over(region: &Region, what: &str, error: &AwsError, ui: &Ui) {
    ui.warn(&format!(
        "{what} in {} is left over: {error}; `karat prune --runs --ec2` removes it later",
        region.name()
    ));
}
