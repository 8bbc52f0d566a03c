//! Resources that killed uploads have left.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::progress::{Claim, Progress};
use crate::ec2::client::ec2::{Filter, images, snapshots};
use crate::ec2::client::run_tags::{EXPIRES, PUBLISHED, RUN, is_over};
use crate::ec2::client::sweep::sweep;
use crate::ec2::client::{AwsError, Region};
use crate::ui::Ui;

/// Lists the uploads of this cache, as pairs of region and progress file.
pub fn uploads(cache: &Path) -> Vec<(String, PathBuf)> {
    let files = fs::read_dir(cache.join("uploads")).into_iter().flatten();
    let mut found = Vec::new();
    for file in files.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        // ID-ACCOUNT-REGION
        let mut parts = name.splitn(3, '-');
        if let (Some(_), Some(_), Some(region)) = (parts.next(), parts.next(), parts.next())
            && !region.contains('.')
        {
            found.push((region.to_owned(), file.path()));
        }
    }
    found.sort();
    found
}

/// Removes the AMI and the snapshot of an upload, unless another process continues it.
pub async fn end_upload(region: &Region, path: &Path, ui: &Ui) -> Vec<String> {
    match Progress::open_abandoned(path) {
        Ok(Some(progress)) => {
            let removed = match progress.beginning.tags.get(RUN) {
                Some(run) => sweep(region, run, ui).await,
                None => Vec::new(),
            };
            if let Err(error) = progress.end().and_then(Claim::end) {
                ui.warn(&error.to_string());
            }
            removed
        }
        Ok(None) => Vec::new(),
        Err(error) => {
            ui.warn(&error.to_string());
            Vec::new()
        }
    }
}

/// Removes unpublished AMIs and snapshots of runs of any machine that are over.
pub async fn sweep_region(region: &Region, ui: &Ui) -> Result<Vec<String>, AwsError> {
    let of_runs = [Filter::tagged(RUN)];
    let mut runs = BTreeSet::new();
    for image in images::list(region, &["self"], &of_runs).await? {
        if image.tags.get(PUBLISHED).is_none() && is_over(image.tags.get(EXPIRES)) {
            runs.extend(image.tags.get(RUN).map(str::to_owned));
        }
    }
    for snapshot in snapshots::list(region, &of_runs).await? {
        if snapshot.tags.get(PUBLISHED).is_none() && is_over(snapshot.tags.get(EXPIRES)) {
            runs.extend(snapshot.tags.get(RUN).map(str::to_owned));
        }
    }
    let mut removed = Vec::new();
    for run in runs {
        removed.extend(sweep(region, &run, ui).await);
    }
    Ok(removed)
}
