//! Several regions, several karats, several accounts, and AMIs that somebody else has made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use super::stage::Stage;
use crate::bench::Bench;
use crate::bench::faults::Fault;

#[test]
fn a_region_that_fails_does_not_disturb_the_other() {
    let Some(stage) = Stage::new() else { return };
    let case = stage.case();
    let denied = "ec2:RegisterImage@eu-west-1";
    case.account.fault(denied, 0, Fault::Denied);
    let publish = || {
        let regions = ["--region", "us-east-1", "--region", "eu-west-1"];
        case.site.karat(&[&case.arguments()[..], &regions].concat())
    };
    let ran = publish();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.starts_with("us-east-1 "), "{ran:?}");
    assert!(
        ran.stderr.contains("eu-west-1: ec2:RegisterImage"),
        "{ran:?}"
    );
    case.is_published();
    case.account.clear();
    let ran = publish();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.images().len(), 2, "{ran:?}");
    assert_eq!(
        case.account.left().len(),
        4,
        "an AMI and a snapshot in each"
    );
}

#[test]
fn two_karats_of_one_host_make_one_ami() {
    let Some(stage) = Stage::new() else { return };
    let case = stage.case();
    let both = scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| case.publish()));
        both.map(|ran| ran.join().unwrap())
    });
    assert!(both.iter().any(|ran| ran.code == Some(0)), "{both:?}");
    for ran in both.iter().filter(|ran| ran.code != Some(0)) {
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(
            ran.stderr.contains("another karat process is uploading"),
            "{ran:?}"
        );
    }
    case.is_published();
}

#[test]
fn two_karats_of_two_hosts_make_one_ami() {
    let Some(stage) = Stage::new() else { return };
    let case = stage.case();
    let other = case.site.copy(&case.account);
    // The first waits with its AMI until the other has begun its own.
    let begun = Arc::new(AtomicU32::new(0));
    let (both, seen) = (Arc::clone(&begun), begun);
    case.account.after("ebs:StartSnapshot", 0, move || {
        both.fetch_add(1, Ordering::SeqCst);
    });
    case.account.before("ec2:RegisterImage", 1, move || {
        for _ in 0..2000 {
            if seen.load(Ordering::SeqCst) == 2 {
                return;
            }
            sleep(Duration::from_millis(5));
        }
    });
    let both = scope(|scope| {
        let both = [&case.site, &other].map(|site| scope.spawn(|| site.karat(&case.arguments())));
        both.map(|ran| ran.join().unwrap())
    });
    assert!(both.iter().all(|ran| ran.code == Some(0)), "{both:?}");
    assert_eq!(both[0].images(), both[1].images());
    case.is_published();
    assert_eq!(case.account.count("ebs:StartSnapshot"), 2, "both had begun");
}

#[test]
fn another_account_can_use_what_is_shared_with_it() {
    let Some(stage) = Stage::new() else { return };
    let Some(bench) = Bench::start() else { return };
    let (case, theirs) = (stage.case(), bench.account());
    let settings = format!(
        "[image]\nname = \"web\"\n[publish.ec2]\naccounts = [\"{}\"]\n",
        theirs.id
    );
    case.site.write("ec2.toml", &settings);
    let ran = case.publish();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let image = &ran.images()[0];
    let lines = format!(
        "found = image('{image}')\n\
         assert found['OwnerId'] == '{}' and found['State'] == 'available'\n\
         assert status(found['BlockDeviceMappings'][0]['Ebs']['SnapshotId']) == 'completed'",
        case.account.id
    );
    bench.python(&theirs, &lines);
    let stranger = bench.account();
    let lines = format!("refused('InvalidAMIID.NotFound', image, ami='{image}')");
    bench.python(&stranger, &lines);
}

#[test]
fn an_ami_that_has_our_tags_and_other_bytes_is_refused() {
    let Some(stage) = Stage::new() else { return };
    let Some(bench) = Bench::start() else { return };
    let case = stage.case();
    let lines = format!(
        "tags = [{{'Key': 'karat:manifest', 'Value': '{}'}}]\n\
         available('web', TagSpecifications=[{{'ResourceType': 'image', 'Tags': tags}}])",
        stage.id
    );
    bench.python(&case.account, &lines);
    let left = case.account.left();
    let ran = case.site.karat(&case.arguments()[..4]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(
        ran.stderr.contains("does not match the recorded image"),
        "{ran:?}"
    );
    assert_eq!(ran.stdout, "");
    assert_eq!(case.account.left(), left, "nothing is made or removed");
}
