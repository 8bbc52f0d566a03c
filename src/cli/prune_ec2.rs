//! `karat prune --ec2`

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::shared::stdout::{OutputFormat, Records, Stdout};
use super::shared::store_args::StoreArgs;
use super::{CommandError, ExitStatus};
use crate::ec2::client::{Aws, AwsError, Settings};
use crate::ec2::machine;
use crate::ec2::publish::prune::{Fate, Pruned, Rules, prune};
use crate::ec2::publish::{leftover, publication};
use crate::fetch::Cache;
use crate::record::manifest::ManifestId;
use crate::store::{Retention, Store};
use crate::time::Timestamp;
use crate::ui::Ui;

pub(super) struct Ec2Options<'a> {
    pub(super) store: &'a StoreArgs,
    /// Regions to prune in, besides those where images were published.
    pub(super) regions: &'a [String],
    pub(super) keep: Retention,
    /// Time between the deprecation and the removal of an AMI.
    pub(super) grace: Duration,
    pub(super) dry_run: bool,
    pub(super) format: OutputFormat,
}

/// Deprecates AMIs of unreferenced images, and removes those whose grace period is over. Prints what was done to each.
pub(super) async fn prune_amis(
    options: &Ec2Options<'_>,
    ui: &Ui,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    let store = options.store.open()?;
    let held = store.held(options.keep, Timestamp::now())?;
    let known: BTreeSet<ManifestId> = store.ids()?.into_iter().collect();
    let aws = Aws::connect(&Settings::default()).await?;
    let rules = Rules {
        known: &|id| known.contains(&id),
        held: &|id| held.contains_key(&id),
        grace: options.grace,
        dry_run: options.dry_run,
    };
    let mut has_failed = false;
    let mut records = out.records(options.format);
    for region in regions(options.regions, &aws, Some(&store))? {
        match prune(&aws.region(&region), &rules).await {
            Ok(done) => {
                for pruned in &done {
                    print(pruned, &mut records)?;
                }
            }
            Err(error) => {
                has_failed = true;
                ui.error(&error.to_string());
            }
        }
    }
    records.finish()?;
    if has_failed {
        return Err(RegionsFailed.into());
    }
    Ok(())
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("AMIs of some regions were not pruned")]
#[diagnostic(help("see the errors above"))]
struct RegionsFailed;

impl ExitStatus for RegionsFailed {}

fn print(pruned: &Pruned, records: &mut Records<'_>) -> Result<(), CommandError> {
    let Pruned {
        region,
        image,
        id,
        fate,
    } = pruned;
    let mut line = json!({
        "id": id.to_string(), "region": region, "image": image, "manifest": id.to_string(), "fate": fate.name(),
    });
    let mut why = String::new();
    if let Fate::Kept(because) = fate {
        line["because"] = because.clone().into();
        why = format!("  {because}");
    }
    records.add(&line, || {
        format!("{:10} {region} {image}  {}{why}", fate.name(), id.short())
    })
}

/// Removes the leftovers of killed uploads and builds: those of this machine at once, those of others when they expire.
pub(super) async fn prune_runs(
    options: &Ec2Options<'_>,
    ui: &Ui,
    records: &mut Records<'_>,
) -> Result<(), CommandError> {
    let cache = Cache::of_user()?;
    let store = options.store.open().ok();
    let aws = Aws::connect(&Settings::default()).await?;
    let uploads = leftover::uploads(cache.root());
    for (name, path) in &uploads {
        let removed = leftover::end_upload(&aws.region(name), path, ui).await;
        print_removed(name, &removed, records)?;
    }
    let mut names: BTreeSet<String> = uploads.into_iter().map(|(name, _)| name).collect();
    names.extend(regions(options.regions, &aws, store.as_ref())?);
    for name in names {
        let region = aws.region(&name);
        print_removed(&name, &leftover::sweep_region(&region, ui).await?, records)?;
        match machine::find_expired(&region).await {
            Ok(expired) => {
                for run in expired {
                    print_removed(&name, &run.remove(ui).await?, records)?;
                }
            }
            // Publishing needs no permission to list instances.
            Err(error) if error.is_denied() => {
                ui.warn(&format!("instances of builds were not listed: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

pub(super) fn print_removed(
    region: &str,
    removed: &[String],
    records: &mut Records<'_>,
) -> Result<(), CommandError> {
    for what in removed {
        let line = json!({"region": region, "removed": what});
        records.add(&line, || format!("{region} {what}"))?;
    }
    Ok(())
}

/// Returns the regions where images were published, those of the command line, and that of the environment.
fn regions(
    requested: &[String],
    aws: &Aws,
    store: Option<&Store>,
) -> Result<BTreeSet<String>, CommandError> {
    let mut names: BTreeSet<String> = requested.iter().cloned().collect();
    names.extend(aws.own_region().map(str::to_owned));
    if let Some(store) = store {
        for id in store.ids()? {
            let published = publication::list(store, id)?.into_iter();
            names.extend(published.map(|published| published.publication.region));
        }
    }
    if names.is_empty() {
        return Err(CommandError::from(AwsError::NoRegion).with_exit_code(2));
    }
    Ok(names)
}
