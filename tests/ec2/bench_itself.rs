//! The bench against boto3, which knows AWS's own interfaces and nothing of the bench.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::bench::{Account, Bench, Fault};

/// Runs lines of Python in an account, after `boto/prelude.py`.
pub fn python(bench: &Bench, account: &Account, lines: &str) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ec2/boto");
    let program = format!("from prelude import *\n{lines}");
    let output = Command::new(bench.tool("python"))
        .args(["-B", "-c", &program])
        .env_clear()
        .env("PYTHONPATH", place)
        .envs(account.environment())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let calls = account.calls().into_iter();
    let calls: Vec<_> = calls.map(|call| (call.name, call.status)).collect();
    assert!(output.status.success(), "{stderr}\n{calls:?}");
}

#[test]
fn snapshots_are_written_and_read_block_by_block() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    python(bench, &account, include_str!("boto/snapshots.py"));
    assert_eq!(account.left(), [""; 0]);
    assert!(account.count("ebs:PutSnapshotBlock") > 100);
}

#[test]
fn images_keep_what_they_are_registered_with() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    python(bench, &account, include_str!("boto/images.py"));
    assert_eq!(account.left(), [""; 0]);
}

#[test]
fn instances_go_through_their_states() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    python(bench, &account, include_str!("boto/instances.py"));
    assert_eq!(account.left(), [""; 0]);
}

#[test]
fn two_accounts_see_only_what_is_shared() {
    let Some(bench) = Bench::start() else { return };
    let (ours, theirs) = (bench.account(), bench.account());
    python(bench, &ours, "available('web')");
    let left = ours.left();
    let id = |kind: &str| {
        let mut words = left.iter().map(|line| line.split(' ').collect::<Vec<_>>());
        words.find(|words| words[1] == kind).unwrap()[2].to_owned()
    };
    let (ami, snapshot) = (id("image"), id("snapshot"));
    let see = format!("refused('InvalidAMIID.NotFound', image, ami='{ami}')");
    python(bench, &theirs, &see);
    let share = format!(
        "ec2.modify_image_attribute(ImageId='{ami}', LaunchPermission={{'Add': [{{'UserId': '{}'}}]}})",
        theirs.id
    );
    python(bench, &ours, &share);
    let lines = format!(
        "assert image('{ami}')['OwnerId'] == '{}'\n\
         refused('AuthFailure', ec2.deregister_image, ImageId='{ami}')\n\
         refused('InvalidSnapshot.NotFound', status, snapshot='{snapshot}')\n\
         id = run('{ami}')['InstanceId']\n\
         wait('the instance', lambda: state(id) == 'running')",
        ours.id
    );
    python(bench, &theirs, &lines);
    assert_eq!(theirs.left().len(), 2, "an instance and its volume");
    assert_eq!(ours.left(), left);
}

#[test]
fn faults_happen_to_the_call_that_they_are_meant_for() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    python(bench, &account, "available('web')");
    let describe = "ec2:DescribeImages";
    for (fault, expected) in [
        (
            Fault::Throttle,
            "refused('RequestLimitExceeded', ec2.describe_images)",
        ),
        (
            Fault::Internal,
            "refused('InternalError', ec2.describe_images)",
        ),
        (
            Fault::NotFound("InvalidAMIID.NotFound"),
            "refused('InvalidAMIID.NotFound', ec2.describe_images)",
        ),
        (
            Fault::Denied,
            "refused('UnauthorizedOperation', ec2.describe_images)",
        ),
    ] {
        account.fault(describe, 2, fault);
        let lines = format!("ec2.describe_images()\n{expected}\nec2.describe_images()");
        python(bench, &account, &lines);
    }
    account.fault("ebs:StartSnapshot", 1, Fault::Throttle);
    python(
        bench,
        &account,
        "refused('RequestThrottledException', ebs.start_snapshot, VolumeSize=1)",
    );
    account.fault("ec2:CreateKeyPair@eu-west-1", 1, Fault::Internal);
    python(
        bench,
        &account,
        "ec2.create_key_pair(KeyName='k')\nwest = client('ec2', 'eu-west-1')\n\
         refused('InternalError', west.create_key_pair, KeyName='k')",
    );
    account.fault("ec2:CreateSecurityGroup", 1, Fault::DropAfter);
    account.fault("ec2:CreateLaunchTemplate", 1, Fault::DropBefore);
    python(
        bench,
        &account,
        "from botocore.exceptions import HTTPClientError\n\
         for lost in (lambda: ec2.create_security_group(GroupName='g', Description='d'),\n\
             \x20       lambda: ec2.create_launch_template(LaunchTemplateName='l', LaunchTemplateData={'ImageId': 'ami-1'})):\n\
         \x20   try: lost()\n\
         \x20   except HTTPClientError: pass\n\
         \x20   else: raise AssertionError('an answer came')",
    );
    let left = account.left();
    assert!(
        left.contains(&"us-east-1 security group g".to_owned()),
        "{left:?}"
    );
    assert!(
        left.contains(&"us-east-1 key pair k".to_owned()),
        "{left:?}"
    );
    assert!(
        !left
            .iter()
            .any(|line| line.contains("template") || line.contains("eu-west-1")),
        "{left:?}"
    );
}

#[test]
fn what_is_made_can_fail_later() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    account.fault("ec2:RegisterImage", 2, Fault::Fails);
    account.fault("ec2:RunInstances", 1, Fault::Fails);
    account.fault("ebs:CompleteSnapshot", 2, Fault::Fails);
    python(
        bench,
        &account,
        "ami = available('web')\n\
         failed = register('other', image(ami)['BlockDeviceMappings'][0]['Ebs']['SnapshotId'])\n\
         wait('the image', lambda: image(failed)['State'] == 'failed')\n\
         id = run(ami)['InstanceId']\n\
         wait('the instance', lambda: state(id) == 'terminated')\n\
         assert instance(id)['StateReason']['Code'] == 'Server.InternalError'\n\
         snapshot = ebs.start_snapshot(VolumeSize=1)['SnapshotId']\n\
         ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=0)\n\
         wait('the snapshot', lambda: status(snapshot) == 'error')",
    );
}

#[test]
fn a_test_is_called_before_and_after_a_call() {
    let Some(bench) = Bench::start() else { return };
    let account = Arc::new(bench.account());
    let seen = Arc::new(AtomicU32::new(0));
    let (before, after) = (Arc::clone(&seen), Arc::clone(&seen));
    account.before("*", 3, move || {
        before.fetch_add(1, Ordering::Relaxed);
    });
    account.after("ec2:CreateKeyPair", 1, move || {
        after.fetch_add(10, Ordering::Relaxed);
    });
    let lines = "ec2.describe_images()\nec2.create_key_pair(KeyName='k')\nec2.describe_images()";
    python(bench, &account, lines);
    assert_eq!(seen.load(Ordering::Relaxed), 11);
    let calls: Vec<_> = account
        .calls()
        .into_iter()
        .map(|call| (call.name, call.status))
        .collect();
    assert_eq!(calls[1], ("ec2:CreateKeyPair".to_owned(), Some(200)));
}

#[test]
fn strangers_are_refused() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let lines = "from botocore import UNSIGNED\n\
        refused('MissingAuthenticationToken', client('ec2', config=Config(signature_version=UNSIGNED)).describe_images)\n\
        stranger = boto3.client('ec2', region_name='us-east-1', aws_access_key_id='AKIASTRANGER', aws_secret_access_key='x')\n\
        refused('AuthFailure', stranger.describe_images)";
    python(bench, &account, lines);
    assert_eq!(account.calls().len(), 0);
}
