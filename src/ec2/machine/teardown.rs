//! Removal of all resources of a run, found by its tag.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::ec2::client::ec2::{Filter, instances, security_groups, snapshots, volumes};
use crate::ec2::client::run_tags::RUN;
use crate::ec2::client::sweep::sweep;
use crate::ec2::client::{AwsError, Region};
use crate::ui::Ui;

/// Time in which a resource appears in searches after its creation. After a call whose response was lost, karat searches this
/// long.
const APPEAR_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait for a resource to become unused: a network interface uses a security group for some time after its instance is
/// gone.
pub(super) const RELEASE_TIMEOUT: Duration = Duration::from_mins(5);
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Error codes of calls that would delete a resource in use.
const IN_USE: [&str; 4] = [
    "DependencyViolation",
    "InvalidGroup.InUse",
    "VolumeInUse",
    "IncorrectState",
];
/// Commands of `aws ec2` that remove a resource by hand.
pub(super) const TERMINATE: &str = "terminate-instances --instance-ids";
pub(super) const DELETE_GROUP: &str = "delete-security-group --group-id";

/// Removes the instances, security groups, unpublished AMIs, snapshots and volumes of a run, and returns their ids. Warns of what
/// cannot be removed, with the command that removes it.
///
/// `known` are ids of resources that searches may not find yet. With `uncertain`, resources are searched for until they would
/// appear.
pub(super) async fn remove(
    region: &Region,
    run: &str,
    known: &[String],
    uncertain: bool,
    ui: &Ui,
) -> Vec<String> {
    let mut removed = Vec::new();
    let until = Instant::now() + APPEAR_TIMEOUT;
    loop {
        let (terminated, all_gone) = terminate_instances(region, run, known, ui).await;
        removed.extend(terminated);
        // An instance that stays does not release anything.
        let within = if all_gone {
            RELEASE_TIMEOUT
        } else {
            Duration::ZERO
        };
        removed.extend(sweep(region, run, ui).await);
        let missed: Vec<_> = of_kind(known, "snap-")
            .filter(|id| !removed.contains(id))
            .collect();
        for id in missed {
            match snapshots::delete(region, &id).await {
                Ok(()) => removed.push(id),
                Err(error) if error.is_not_found() => {}
                Err(error) => warn_left(region, &id, &error, "delete-snapshot --snapshot-id", ui),
            }
        }
        removed.extend(delete_groups(region, run, known, within, ui).await);
        removed.extend(delete_volumes(region, run, within, ui).await);
        if !uncertain || Instant::now() > until {
            removed.sort();
            removed.dedup();
            return removed;
        }
        sleep(POLL_INTERVAL).await;
    }
}

fn of_kind<'k>(known: &'k [String], prefix: &'k str) -> impl Iterator<Item = String> + 'k {
    known
        .iter()
        .filter(move |id| id.starts_with(prefix))
        .cloned()
}

/// Terminates the instances of a run and waits until they are gone: before that, nothing that they use can be deleted. Also
/// returns whether all of them are gone.
async fn terminate_instances(
    region: &Region,
    run: &str,
    known: &[String],
    ui: &Ui,
) -> (Vec<String>, bool) {
    let mut ids: Vec<String> = of_kind(known, "i-").collect();
    match instances::list(region, &[Filter::tag(RUN, run)]).await {
        Ok(found) => {
            let existing = found
                .into_iter()
                .filter(|instance| instance.state() != "terminated");
            ids.extend(existing.map(|instance| instance.id));
        }
        Err(error) => warn_not_searched(region, "instances", &error, ui),
    }
    ids.sort();
    ids.dedup();
    let ended = ids.iter().map(async |id| {
        let end = async {
            terminate(region, id).await?;
            instances::wait_terminated(region, id).await
        };
        match end.await {
            Ok(()) => Ok(Some(id.clone())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => {
                warn_left(region, id, &error, TERMINATE, ui);
                Err(())
            }
        }
    });
    let ended = join_all(ended).await;
    let all_gone = ended.iter().all(Result::is_ok);
    (ended.into_iter().flatten().flatten().collect(), all_gone)
}

async fn delete_groups(
    region: &Region,
    run: &str,
    known: &[String],
    within: Duration,
    ui: &Ui,
) -> Vec<String> {
    let mut ids: Vec<String> = of_kind(known, "sg-").collect();
    match security_groups::list(region, &[Filter::tag(RUN, run)]).await {
        Ok(found) => ids.extend(found.into_iter().map(|group| group.id)),
        Err(error) => warn_not_searched(region, "security groups", &error, ui),
    }
    ids.sort();
    ids.dedup();
    let mut removed = Vec::new();
    for id in ids {
        match delete_group(region, &id, within).await {
            Ok(()) => removed.push(id),
            Err(error) => warn_left(region, &id, &error, DELETE_GROUP, ui),
        }
    }
    removed
}

/// Terminates an instance that is not terminated already.
pub(super) async fn terminate(region: &Region, id: &str) -> Result<(), AwsError> {
    let Err(error) = instances::terminate(region, id).await else {
        return Ok(());
    };
    // A response may have been lost, and terminating an instance twice is not always a success.
    match instances::get(region, id).await {
        Ok(instance) if instance.is_gone() => Ok(()),
        Err(unknown) if unknown.is_not_found() => Ok(()),
        _ => Err(error),
    }
}

/// Deletes a security group as soon as it is unused, waiting up to `within`.
pub(super) async fn delete_group(
    region: &Region,
    group: &str,
    within: Duration,
) -> Result<(), AwsError> {
    delete_unused(within, async || {
        security_groups::delete(region, group).await
    })
    .await
}

async fn delete_volumes(region: &Region, run: &str, within: Duration, ui: &Ui) -> Vec<String> {
    // Volumes of a terminated instance are deleted with it. This finds those detached by hand, or left by a spot instance.
    let Ok(found) = volumes::list(region, &[Filter::tag(RUN, run)]).await else {
        // A principal that may not list volumes has only those that AWS deletes with their instances.
        return Vec::new();
    };
    let mut removed = Vec::new();
    for volume in found.iter().filter(|volume| volume.state != "deleting") {
        let id = &volume.id;
        match delete_unused(within, async || volumes::delete(region, id).await).await {
            Ok(()) => removed.push(id.clone()),
            Err(error) => warn_left(region, id, &error, "delete-volume --volume-id", ui),
        }
    }
    removed
}

/// Repeats a deletion while the resource is in use, for up to `within`. A resource that does not exist counts as deleted.
async fn delete_unused(
    within: Duration,
    mut delete: impl AsyncFnMut() -> Result<(), AwsError>,
) -> Result<(), AwsError> {
    let until = Instant::now() + within;
    loop {
        match delete().await {
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error)
                if error
                    .error_code()
                    .is_some_and(|code| IN_USE.contains(&code))
                    && Instant::now() < until => {}
            done => return done,
        }
        sleep(POLL_INTERVAL).await;
    }
}

pub(super) fn warn_left(region: &Region, id: &str, error: &AwsError, command: &str, ui: &Ui) {
    let region = region.name();
    ui.warn(&format!(
        "{id} in {region} is left over: {error}; `karat prune --runs --ec2` or `aws ec2 {command} {id} --region {region}` \
         removes it"
    ));
}

fn warn_not_searched(region: &Region, kind: &str, error: &AwsError, ui: &Ui) {
    ui.warn(&format!(
        "{kind} of this run may be left over in {}: {error}; `karat prune --runs --ec2` removes them",
        region.name()
    ));
}
