//! The bench against boto3, which knows AWS's own interfaces and nothing of the bench.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::bench::Bench;
use crate::bench::faults::Fault;

#[test]
fn snapshots_are_written_and_read_block_by_block() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    bench.python(&account, include_str!("boto/snapshots.py"));
    assert_eq!(account.left(), [""; 0]);
    assert!(account.count("ebs:PutSnapshotBlock") > 100);
}

#[test]
fn images_keep_what_they_are_registered_with() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    bench.python(&account, include_str!("boto/images.py"));
    assert_eq!(account.left(), [""; 0]);
}

#[test]
fn instances_go_through_their_states() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    // The script looks at what is pending: it must still be when this host is busy.
    account.delay(Duration::from_secs(2));
    bench.python(&account, include_str!("boto/instances.py"));
    assert_eq!(account.left(), [""; 0]);
}

#[test]
fn two_accounts_see_only_what_is_shared() {
    let Some(bench) = Bench::start() else { return };
    let (ours, theirs) = (bench.account(), bench.account());
    bench.python(&ours, "available('web')");
    let left = ours.left();
    let id = |kind: &str| {
        let mut words = left.iter().map(|line| line.split(' ').collect::<Vec<_>>());
        words.find(|words| words[1] == kind).unwrap()[2].to_owned()
    };
    let (ami, snapshot) = (id("image"), id("snapshot"));
    let see = format!("refused('InvalidAMIID.NotFound', image, ami='{ami}')");
    bench.python(&theirs, &see);
    let share = format!(
        "ec2.modify_image_attribute(ImageId='{ami}', LaunchPermission={{'Add': [{{'UserId': '{}'}}]}})",
        theirs.id
    );
    bench.python(&ours, &share);
    let lines = format!(
        "assert image('{ami}')['OwnerId'] == '{}'\n\
         refused('AuthFailure', ec2.deregister_image, ImageId='{ami}')\n\
         refused('InvalidSnapshot.NotFound', status, snapshot='{snapshot}')\n\
         id = run('{ami}')['InstanceId']\n\
         wait('the instance', lambda: state(id) == 'running')",
        ours.id
    );
    bench.python(&theirs, &lines);
    assert_eq!(theirs.left().len(), 2, "an instance and its volume");
    assert_eq!(ours.left(), left);
}

#[test]
fn faults_happen_to_the_call_that_they_are_meant_for() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    bench.python(&account, "available('web')");
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
        bench.python(&account, &lines);
    }
    account.fault("ebs:StartSnapshot", 1, Fault::Throttle);
    bench.python(
        &account,
        "refused('RequestThrottledException', ebs.start_snapshot, VolumeSize=1)",
    );
    account.fault("ec2:CreateKeyPair@eu-west-1", 1, Fault::Internal);
    bench.python(
        &account,
        "ec2.create_key_pair(KeyName='k')\nwest = client('ec2', 'eu-west-1')\n\
         refused('InternalError', west.create_key_pair, KeyName='k')",
    );
    account.fault("ec2:CreateSecurityGroup", 1, Fault::DropAfter);
    account.fault("ec2:CreateLaunchTemplate", 1, Fault::DropBefore);
    bench.python(
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
fn a_process_is_killed_at_a_call() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let lines = "import boto3\nec2 = boto3.client('ec2', region_name='us-east-1')\nec2.create_key_pair(KeyName='k')\nec2.create_key_pair(KeyName='l')";
    let victim = account.kill_after("ec2:CreateKeyPair", 1);
    let mut child = Command::new(bench.tool("python"))
        .args(["-B", "-c", lines])
        .envs(account.environment())
        .spawn()
        .unwrap();
    victim.is(child.id());
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(account.left(), ["us-east-1 key pair k"]);
}

#[test]
fn a_call_can_hang() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    account.fault("ec2:DescribeImages", 1, Fault::Hang);
    let lines = "from botocore.exceptions import ReadTimeoutError\n\
        hasty = client('ec2', config=Config(read_timeout=1, retries={'total_max_attempts': 1}))\n\
        try: hasty.describe_images()\n\
        except ReadTimeoutError: pass\n\
        else: raise AssertionError('an answer came')\n\
        ec2.describe_images()";
    bench.python(&account, lines);
    let statuses: Vec<_> = account
        .calls()
        .into_iter()
        .map(|call| call.status)
        .collect();
    assert_eq!(statuses, [None, Some(200)]);
}

#[test]
fn what_is_made_can_fail_later() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    account.fault("ec2:RegisterImage", 2, Fault::Fails);
    account.fault("ec2:RunInstances", 1, Fault::Fails);
    account.fault("ebs:CompleteSnapshot", 2, Fault::Fails);
    bench.python(
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
    bench.python(&account, lines);
    assert_eq!(seen.load(Ordering::Relaxed), 11);
    let calls: Vec<_> = account
        .calls()
        .into_iter()
        .map(|call| (call.name, call.status))
        .collect();
    assert_eq!(calls[1], ("ec2:CreateKeyPair".to_owned(), Some(200)));
}

#[test]
fn an_instance_dies_with_its_host() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let id = bench.python(
        &account,
        "id = run(available('web'))['InstanceId']\n\
         wait('the instance', lambda: state(id) == 'running')\n\
         print(id)",
    );
    account.kill_instance(&id);
    let lines = format!(
        "assert instance('{id}')['StateReason']['Code'] == 'Server.InternalError'\n\
         wait('the volume', lambda: not ec2.describe_volumes()['Volumes'])"
    );
    bench.python(&account, &lines);
}

#[test]
fn a_role_of_another_account_can_be_assumed() {
    let Some(bench) = Bench::start() else { return };
    let (ours, theirs) = (bench.account(), bench.account());
    let lines = format!(
        "key = sts.assume_role(RoleArn='arn:aws:iam::{id}:role/karat', RoleSessionName='web')['Credentials']\n\
         there = boto3.client('ec2', region_name='us-east-1', aws_access_key_id=key['AccessKeyId'],\n\
             \x20   aws_secret_access_key=key['SecretAccessKey'], aws_session_token=key['SessionToken'])\n\
         there.create_key_pair(KeyName='k')\n\
         refused('AccessDenied', sts.assume_role, RoleArn='arn:aws:iam::100000000000:role/karat', RoleSessionName='web')",
        id = theirs.id
    );
    bench.python(&ours, &lines);
    assert_eq!(theirs.left(), ["us-east-1 key pair k"]);
    assert_eq!(ours.left(), [""; 0]);
}

#[test]
fn groups_are_refreshed() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    // A refresh is to be cancelled before it is done, on a slow machine too.
    account.delay(Duration::from_secs(1));
    bench.python(&account, include_str!("boto/refreshes.py"));
}

#[test]
fn strangers_are_refused() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let lines = "from botocore import UNSIGNED\n\
        refused('MissingAuthenticationToken', client('ec2', config=Config(signature_version=UNSIGNED)).describe_images)\n\
        stranger = boto3.client('ec2', region_name='us-east-1', aws_access_key_id='AKIASTRANGER', aws_secret_access_key='x')\n\
        refused('AuthFailure', stranger.describe_images)";
    bench.python(&account, lines);
    assert_eq!(account.calls().len(), 0);
}
