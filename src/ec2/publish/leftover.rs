//! What uploads have left that were killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::progress::{Claim, Progress};
use super::register::sweep;
use crate::ec2::client::ec2::Filter;
use crate::ec2::client::run_tags::{EXPIRES, PUBLISHED, RUN, is_over};
use crate::ec2::client::{AwsError, Region};
use crate::ui::Ui;

/// Uploads of this cache that nobody goes on with: each with its region, as the names of their files have it.
#[must_use]
pub fn uploads(cache: &Path) -> Vec<(String, std::path::PathBuf)> {
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

/// Removes the AMI and the snapshot of an upload, unless somebody goes on with it just now.
pub async fn end_upload(region: &Region, path: &Path, ui: &Ui) -> Vec<String> {
    match Progress::of_dead(path) {
        Ok(Some(progress)) => {
            let run = progress.beginning.tags.get(RUN).cloned();
            let removed = match run {
                Some(run) => sweep(region, &run, ui).await,
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

/// Removes AMIs and snapshots of runs, of this machine or another, that are over and did not get them ready.
///
/// # Errors
/// They cannot be listed.
pub async fn sweep_region(region: &Region, ui: &Ui) -> Result<Vec<String>, AwsError> {
    let of_runs = [Filter::tagged(RUN)];
    let mut runs = BTreeSet::new();
    for image in region.images(&["self"], &of_runs).await? {
        if image.tag(PUBLISHED).is_none() && is_over(image.tag(EXPIRES)) {
            runs.extend(image.tag(RUN).map(str::to_owned));
        }
    }
    for snapshot in region.own_snapshots(&of_runs).await? {
        if snapshot.tag(PUBLISHED).is_none() && is_over(snapshot.tag(EXPIRES)) {
            runs.extend(snapshot.tag(RUN).map(str::to_owned));
        }
    }
    let mut removed = Vec::new();
    for run in runs {
        removed.extend(sweep(region, &run, ui).await);
    }
    Ok(removed)
}
