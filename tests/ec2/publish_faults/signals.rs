//! Interrupted and killed at every call.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::stage::{Case, Stage, each};
use crate::bench::faults::Fault;

const PUT: &str = "ebs:PutSnapshotBlock";

/// When the signal comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    /// The call has arrived, and is carried out.
    Arrived,
    /// It has arrived, and is not carried out.
    Lost,
    /// It was carried out, and is not answered yet.
    Done,
}

/// Sends a signal to whatever `pid` says as soon as it says something.
fn signal(name: &'static str, pid: &Arc<AtomicU32>) -> impl Fn() + Send + Sync + use<> {
    let pid = Arc::clone(pid);
    move || {
        while pid.load(Ordering::SeqCst) == 0 {
            sleep(Duration::from_millis(1));
        }
        let pid = pid.load(Ordering::SeqCst).to_string();
        let killed = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(killed.unwrap().success());
    }
}

/// Publishes, and has a signal come at the nth call.
fn publish(case: &Case, name: &'static str, nth: u32, when: When) -> crate::site::Ran {
    let pid = Arc::new(AtomicU32::new(0));
    let send = signal(name, &pid);
    match when {
        When::Done => case.account.after("*", nth, send),
        When::Arrived | When::Lost => case.account.before("*", nth, send),
    }
    if when == When::Lost {
        case.account.fault("*", nth, Fault::DropBefore);
    }
    case.publish_as(&pid)
}

fn moments(stage: &Stage, whens: &[When]) -> Vec<(u32, When)> {
    let calls = u32::try_from(stage.calls().len()).unwrap();
    assert!(calls > 12);
    let moments = (1..=calls).flat_map(|nth| whens.iter().map(move |when| (nth, *when)));
    moments.collect()
}

#[test]
fn interrupted_at_any_call_it_leaves_nothing_or_all() {
    let Some(stage) = Stage::new() else { return };
    let moments = moments(&stage, &[When::Arrived]);
    each(moments, |(nth, when)| {
        let case = stage.case();
        let ran = publish(&case, "INT", *nth, *when);
        match ran.code {
            Some(130) => assert_eq!(case.account.left(), [""; 0], "{ran:?}"),
            Some(0) => case.is_published(),
            _ => panic!("{ran:?}"),
        }
        // Nothing of it is in the way.
        let ran = case.publish();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        case.is_published();
    });
}

/// Kills karat, and has the next one do the rest.
fn killed(case: &Case, nth: u32, when: When, amis: usize) {
    let first = case.account.count(PUT);
    let ran = publish(case, "KILL", nth, when);
    assert_eq!(ran.code, None, "{ran:?}");
    let known = acknowledged(case);
    // What was on its way when karat was killed arrives all the same.
    std::thread::sleep(Duration::from_millis(500));
    let before = case.account.count(PUT);
    case.account.clear();
    let ran = case.publish();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.images().len(), 1, "{ran:?}");
    case.are_published(amis);
    // No block is sent again whose answer was read, and none at all to a snapshot that is written.
    let sent = case.account.count(PUT) - before;
    let none = if before == first { 2 } else { 0 };
    let left = known.map_or(none, |known| 2 - known);
    assert!(sent <= left, "{sent} sent, {left} left");
    let uploads = case.site.path().join("cache/uploads");
    let files = std::fs::read_dir(uploads).map_or(0, Iterator::count);
    assert_eq!(files, 0, "something is kept of an upload that is over");
}

#[test]
fn killed_at_any_call_the_next_one_goes_on() {
    let Some(stage) = Stage::new() else { return };
    each(moments(&stage, &[When::Lost, When::Done]), |(nth, when)| {
        killed(&stage.case(), *nth, *when, 1);
    });
}

#[test]
fn killed_at_any_call_the_next_one_goes_on_with_what_differs() {
    let Some(stage) = Stage::new() else { return };
    each(moments(&stage, &[When::Done]), |(nth, when)| {
        killed(&stage.case().second(&stage), *nth, *when, 2);
    });
}

#[test]
fn an_ami_that_has_failed_is_not_in_the_way() {
    let Some(stage) = Stage::new() else { return };
    let case = stage.case();
    case.account.fault("ec2:RegisterImage", 1, Fault::Fails);
    let pid = Arc::new(AtomicU32::new(0));
    let kill = signal("KILL", &pid);
    case.account.before("ec2:DescribeImages", 2, kill);
    let ran = case.publish_as(&pid);
    assert_eq!(ran.code, None, "{ran:?}");
    case.is_published();
    case.account.clear();
    let ran = case.publish();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    case.is_published();
}

/// How many blocks an upload that was killed knows AWS to have; `None` when there is none.
fn acknowledged(case: &Case) -> Option<usize> {
    let files = std::fs::read_dir(case.site.path().join("cache/uploads")).ok()?;
    let mut files = files.map(|file| file.unwrap().path());
    let file = files.find(|file| file.extension().is_none_or(|it| it != "lock"))?;
    let text = std::fs::read_to_string(file).unwrap();
    // What it was begun with, and the snapshot.
    Some(text.lines().count().saturating_sub(2))
}
