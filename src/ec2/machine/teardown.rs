//! A run's tag → nothing left that has it.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::ec2::client::ec2::Filter;
use crate::ec2::client::run_tags::RUN;
use crate::ec2::client::{AwsError, Region};
use crate::ec2::publish::sweep;
use crate::ui::Ui;

/// What was just made is not known everywhere at once. After a call whose answer was lost, it is looked for so long.
const APPEARS: Duration = Duration::from_secs(20);
/// A security group is held by a network interface for some time after its instance is gone.
pub(super) const FREED: Duration = Duration::from_mins(5);
const PAUSE: Duration = Duration::from_secs(2);
/// What AWS says while something is used by another thing.
const USED: [&str; 4] = [
    "DependencyViolation",
    "InvalidGroup.InUse",
    "VolumeInUse",
    "IncorrectState",
];

/// Removes the instances, security groups, AMIs, snapshots and volumes of a run, but for AMIs that are offered to others. Returns
/// what was removed; what was not is said, with the command that does it.
///
/// With `uncertain`, things are waited for that may not be known yet.
pub(super) async fn remove(
    region: &Region,
    run: &str,
    known: &[String],
    uncertain: bool,
    ui: &Ui,
) -> Vec<String> {
    let mut removed = Vec::new();
    let until = Instant::now() + APPEARS;
    loop {
        let (ended, all) = instances(region, run, known, ui).await;
        removed.extend(ended);
        // Nothing becomes free of an instance that stays.
        let within = if all { FREED } else { Duration::ZERO };
        removed.extend(sweep(region, run, ui).await);
        for id in of_kind(known, "snap-")
            .filter(|id| !removed.contains(id))
            .collect::<Vec<_>>()
        {
            match region.delete_snapshot(&id).await {
                Ok(()) => removed.push(id),
                Err(error) if error.is_not_found() => {}
                Err(error) => left(region, &id, &error, "delete-snapshot --snapshot-id", ui),
            }
        }
        removed.extend(groups(region, run, known, within, ui).await);
        removed.extend(volumes(region, run, within, ui).await);
        if !uncertain || Instant::now() > until {
            removed.sort();
            removed.dedup();
            return removed;
        }
        sleep(PAUSE).await;
    }
}

fn of_kind<'k>(known: &'k [String], prefix: &'k str) -> impl Iterator<Item = String> + 'k {
    known
        .iter()
        .filter(move |id| id.starts_with(prefix))
        .cloned()
}

/// Ends instances, and waits until they are gone: before that, nothing that they use can be removed. Tells whether all are.
async fn instances(region: &Region, run: &str, known: &[String], ui: &Ui) -> (Vec<String>, bool) {
    let mut ids: Vec<String> = of_kind(known, "i-").collect();
    match region.instances(&[Filter::tag(RUN, run)]).await {
        Ok(found) => {
            let there = found.into_iter().filter(|it| it.state() != "terminated");
            ids.extend(there.map(|it| it.id));
        }
        Err(error) => unknown(region, "instances", &error, ui),
    }
    ids.sort();
    ids.dedup();
    let ended = ids.iter().map(async |id| {
        let end = async {
            terminate(region, id).await?;
            region.instance_terminated(id).await
        };
        match end.await {
            Ok(()) => Ok(Some(id.clone())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => {
                left(region, id, &error, "terminate-instances --instance-ids", ui);
                Err(())
            }
        }
    });
    let ended = join_all(ended).await;
    let all = ended.iter().all(Result::is_ok);
    (ended.into_iter().flatten().flatten().collect(), all)
}

async fn groups(
    region: &Region,
    run: &str,
    known: &[String],
    within: Duration,
    ui: &Ui,
) -> Vec<String> {
    let mut ids: Vec<String> = of_kind(known, "sg-").collect();
    match region.security_groups(&[Filter::tag(RUN, run)]).await {
        Ok(found) => ids.extend(found.into_iter().map(|it| it.id)),
        Err(error) => unknown(region, "security groups", &error, ui),
    }
    ids.sort();
    ids.dedup();
    let mut removed = Vec::new();
    for id in ids {
        match group_gone(region, &id, within).await {
            Ok(()) => removed.push(id),
            Err(error) => left(region, &id, &error, "delete-security-group --group-id", ui),
        }
    }
    removed
}

/// Ends an instance, unless it is ending already.
///
/// # Errors
/// The principal may not.
pub(super) async fn terminate(region: &Region, id: &str) -> Result<(), AwsError> {
    let Err(error) = region.terminate_instance(id).await else {
        return Ok(());
    };
    // An answer may have been lost; to end one that ends is not always a success.
    match region.instance(id).await {
        Ok(instance) if instance.is_gone() => Ok(()),
        Err(unknown) if unknown.is_not_found() => Ok(()),
        _ => Err(error),
    }
}

/// Removes a security group as soon as nothing uses it any more.
///
/// # Errors
/// It is still used after this time, or the principal may not.
pub(super) async fn group_gone(
    region: &Region,
    group: &str,
    within: Duration,
) -> Result<(), AwsError> {
    once_free(within, async || region.delete_security_group(group).await).await
}

async fn volumes(region: &Region, run: &str, within: Duration, ui: &Ui) -> Vec<String> {
    // Those of a terminated instance go with it. This finds what was detached by hand, or outlived a spot instance.
    let Ok(found) = region.volumes(&[Filter::tag(RUN, run)]).await else {
        // Whoever may not ask for volumes has none of karat's but those that go by themselves.
        return Vec::new();
    };
    let mut removed = Vec::new();
    for volume in found.iter().filter(|it| it.state != "deleting") {
        match once_free(within, async || region.delete_volume(&volume.id).await).await {
            Ok(()) => removed.push(volume.id.clone()),
            Err(error) => left(region, &volume.id, &error, "delete-volume --volume-id", ui),
        }
    }
    removed
}

/// Removes something that another thing may still use. One that is gone is as good.
async fn once_free(
    within: Duration,
    mut work: impl AsyncFnMut() -> Result<(), AwsError>,
) -> Result<(), AwsError> {
    let until = Instant::now() + within;
    loop {
        match work().await {
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error)
                if error.error_code().is_some_and(|code| USED.contains(&code))
                    && Instant::now() < until => {}
            done => return done,
        }
        sleep(PAUSE).await;
    }
}

pub(super) fn left(region: &Region, id: &str, error: &AwsError, command: &str, ui: &Ui) {
    let region = region.name();
    ui.warn(&format!(
        "{id} in {region} is left over: {error}; `karat prune --runs --ec2` or `aws ec2 {command} {id} --region {region}` \
         removes it"
    ));
}

fn unknown(region: &Region, kind: &str, error: &AwsError, ui: &Ui) {
    ui.warn(&format!(
        "{kind} of this run may be left over in {}: {error}; `karat prune --runs --ec2` removes them",
        region.name()
    ));
}
