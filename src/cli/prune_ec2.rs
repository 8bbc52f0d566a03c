//! `karat prune --ec2`

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::json;

use super::Failed;
use super::prune::PruneArgs;
use crate::ec2::client::{Aws, AwsError, Settings};
use crate::ec2::machine;
use crate::ec2::publish::prune::{Fate, Pruned, Rules, prune};
use crate::ec2::publish::{leftover, publication};
use crate::fetch::Cache;
use crate::record::manifest::ManifestId;
use crate::store::{Store, StoreError};
use crate::time::Timestamp;
use crate::ui::Ui;

/// Deprecates and removes AMIs of images that nothing holds; prints what became of each.
pub(super) async fn run(args: &PruneArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), Failed> {
    let failed = |error: StoreError| Failed::with(error.exit_code(), error);
    let store = args.store.open().map_err(failed)?;
    let held = store.held(args.keep.keep(), Timestamp::now());
    let held = held.map_err(failed)?;
    let known: BTreeSet<ManifestId> = store.ids().map_err(failed)?.into_iter().collect();
    let aws = connect().await?;
    let rules = Rules {
        known: &|id| known.contains(&id),
        held: &|id| held.contains_key(&id),
        grace: args.grace,
        dry_run: args.dry_run,
    };
    let mut is_whole = true;
    for region in regions(args, &aws, Some(&store))? {
        match prune(&aws.region(&region), &rules).await {
            Ok(done) => {
                for pruned in &done {
                    print(pruned, args.json, out).map_err(Failed::stdout)?;
                }
            }
            Err(error) => {
                is_whole = false;
                ui.error(&error.to_string());
            }
        }
    }
    if args.dry_run {
        ui.note("nothing was done (`--dry-run`)");
    }
    if is_whole {
        return Ok(());
    }
    Err(Failed::new(Partly))
}

/// Not all regions could be looked at.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("AMIs of some regions were not looked at")]
#[diagnostic(help("see what is told of each above"))]
struct Partly;

fn print(pruned: &Pruned, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    let Pruned {
        region,
        image,
        id,
        fate,
    } = pruned;
    let why = match fate {
        Fate::Kept(why) => Some(why),
        _ => None,
    };
    if json {
        let mut line = json!({
            "region": region, "image": image, "manifest": id.to_string(), "fate": fate.name(),
        });
        if let Some(why) = why {
            line["because"] = why.clone().into();
        }
        writeln!(out, "{line}")?;
    } else {
        let why = why.map_or_else(String::new, |why| format!("  {why}"));
        let (fate, id) = (fate.name(), id.short());
        writeln!(out, "{fate:10} {region} {image}  {id}{why}")?;
    }
    out.flush()
}

/// Removes what killed uploads have left, of this machine at once, of others when their time is over.
pub(super) async fn runs(args: &PruneArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), Failed> {
    let cache = Cache::of_user().map_err(Failed::new)?;
    let store = args.store.open().ok();
    let aws = connect().await?;
    let uploads = leftover::uploads(cache.root());
    for (name, path) in &uploads {
        let removed = leftover::end_upload(&aws.region(name), path, ui).await;
        tell(name, &removed, out)?;
    }
    let mut names: BTreeSet<String> = uploads.into_iter().map(|(name, _)| name).collect();
    names.extend(regions(args, &aws, store.as_ref())?);
    for name in names {
        let removed = leftover::sweep_region(&aws.region(&name), ui).await;
        let removed = removed.map_err(Failed::new)?;
        tell(&name, &removed, out)?;
        match machine::expired(&aws.region(&name)).await {
            Ok(over) => {
                for run in over {
                    let removed = run.remove(ui).await.map_err(Failed::new)?;
                    tell(&name, &removed, out)?;
                }
            }
            // Whoever only publishes need not be allowed to.
            Err(error) if error.is_denied() => {
                ui.warn(&format!("instances of builds were not looked for: {error}"));
            }
            Err(error) => return Err(Failed::new(error)),
        }
    }
    Ok(())
}

pub(super) fn tell(region: &str, removed: &[String], out: &mut dyn Write) -> Result<(), Failed> {
    for what in removed {
        writeln!(out, "{region} {what}").map_err(Failed::stdout)?;
    }
    Ok(())
}

async fn connect() -> Result<Aws, Failed> {
    let aws = Aws::connect(&Settings::default()).await;
    aws.map_err(Failed::new)
}

/// Where images were published, what the command line names, and the region of the environment.
fn regions(args: &PruneArgs, aws: &Aws, store: Option<&Store>) -> Result<BTreeSet<String>, Failed> {
    let failed = |error: StoreError| Failed::with(error.exit_code(), error);
    let mut names: BTreeSet<String> = args.regions.iter().cloned().collect();
    names.extend(aws.own_region().map(str::to_owned));
    if let Some(store) = store {
        for id in store.ids().map_err(failed)? {
            let published = publication::of(store, id).map_err(failed)?;
            names.extend(published.into_iter().map(|it| it.publication.region));
        }
    }
    if names.is_empty() {
        return Err(Failed::with(2, AwsError::NoRegion));
    }
    Ok(names)
}
