//! Removal of the AMIs and snapshots that a failed run has left.

use super::ec2::{Filter, images, snapshots};
use super::run_tags::{PUBLISHED, RUN};
use super::{AwsError, Region};
use crate::ui::Ui;

/// Removes the unpublished AMIs and snapshots of a run and returns their ids. Warns of what cannot be removed.
pub async fn sweep(region: &Region, run: &str, ui: &Ui) -> Vec<String> {
    let of_run = [Filter::tag(RUN, run)];
    let mut removed = Vec::new();
    let images = images::list(region, &["self"], &of_run).await;
    let images = images.unwrap_or_else(|error| {
        warn_left_over(region, "an AMI of this run, if there is one,", &error, ui);
        Vec::new()
    });
    let unpublished = images.into_iter();
    for image in unpublished.filter(|image| image.tags.get(PUBLISHED).is_none()) {
        match images::remove(region, &image.id).await {
            Ok(()) => removed.push(image.id),
            Err(error) => warn_left_over(region, &image.id, &error, ui),
        }
    }
    let snapshots = snapshots::list(region, &of_run).await;
    let snapshots = snapshots.unwrap_or_else(|error| {
        let what = "a snapshot of this run, if there is one,";
        warn_left_over(region, what, &error, ui);
        Vec::new()
    });
    let unpublished = snapshots.into_iter();
    for snapshot in unpublished.filter(|snapshot| snapshot.tags.get(PUBLISHED).is_none()) {
        match snapshots::delete(region, &snapshot.id).await {
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
