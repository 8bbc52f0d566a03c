//! The bench's instances: cloud-init takes them for EC2's, and an image made of one boots again.

use std::path::Path;

use crate::bench::Bench;
use crate::scene::{Guest, Scene};
use crate::site::Site;
use crate::support::base as shared;

#[tokio::test]
#[ignore = "the builder's tests boot AMIs on the same bench; `make soak` runs it"]
async fn an_image_that_was_published_boots_and_an_image_made_of_it_boots_again() {
    let Some(bench) = Bench::start_with_guests() else {
        return;
    };
    let scene = Scene::new(bench);
    let base = shared::make(&shared::cache(), scene.scratch()).await;
    let ami = published(&scene, &base);
    let disk = "SecurityGroupIds=[open_group()], BlockDeviceMappings=[{'DeviceName': '/dev/xvda', 'Ebs': {'VolumeSize': 4}}]";
    let guest = scene.run(&ami, disk);
    cloud_init_takes_it_for_one_of_ec2(&guest);

    let pair = guest.ssh_as("debian", "pair", "sudo id -u");
    assert_eq!(pair.stdout, b"0\n", "the key pair lets the image's user in");
    let root: u64 = guest
        .says("df -B1 --output=size / | tail -1")
        .parse()
        .unwrap();
    assert!(root > 7 << 29, "the root has grown with its volume: {root}");

    // What is written is in the image that is made of it; the guest powers off for that by itself.
    guest.says("echo golden >/var/lib/mark; sync");
    let id = &guest.id;
    let lines = format!(
        "ec2.stop_instances(InstanceIds=['{id}'])\n\
         wait('the stop', lambda: state('{id}') == 'stopped', 120)\n\
         volume = instance('{id}')['BlockDeviceMappings'][0]['Ebs']['VolumeId']\n\
         snapshot = ec2.create_snapshot(VolumeId=volume)['SnapshotId']\n\
         wait('the snapshot', lambda: status(snapshot) == 'completed', 120)\n\
         ec2.terminate_instances(InstanceIds=['{id}'])\n\
         print(available('web', snapshot))"
    );
    let golden = scene.python(&lines);
    assert!(
        !guest.ssh("true").status.success(),
        "a terminated guest is gone"
    );
    let more = "InstanceInitiatedShutdownBehavior='terminate', SecurityGroups=['open']";
    let next = scene.run(&golden, more);
    assert_eq!(next.says("cat /var/lib/mark"), "golden");
    assert_eq!(next.says("cloud-init query v1.instance_id"), next.id);

    // It ends by itself, and its console was kept.
    next.ssh("systemctl poweroff");
    let id = &next.id;
    let lines = format!(
        "wait('the end', lambda: state('{id}') == 'terminated', 120)\n\
         print(ec2.get_console_output(InstanceId='{id}')['Output'])"
    );
    let console = scene.python(&lines);
    assert!(console.contains("Cloud-init v."), "{console}");
    let mut left = scene.account.left();
    left.retain(|line| !line.contains(" image ") && !line.contains(" snapshot "));
    let ours = ["us-east-1 key pair pair", "us-east-1 security group open"];
    assert_eq!(left, ours);
}

/// An AMI that `karat publish` makes of a disk.
fn published(scene: &Scene, disk: &Path) -> String {
    let site = Site::new(&scene.account);
    let disk = disk.to_str().unwrap();
    let id = site.done(&[
        "import",
        disk,
        "--name",
        "base",
        "--arch",
        "x86_64",
        "--firmware",
        "bios",
    ]);
    let ran = site.karat(&["publish", id.trim(), "--region", "us-east-1"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.images()[0].clone()
}

fn cloud_init_takes_it_for_one_of_ec2(guest: &Guest) {
    // It warns about the configuration that the test wrote, by its exit code too.
    guest.ssh("cloud-init status --wait");
    for (query, expected) in [
        ("cloud_name", "aws"),
        ("platform", "ec2"),
        ("v1.instance_id", &guest.id),
        ("region", "us-east-1"),
    ] {
        assert_eq!(
            guest.says(&format!("cloud-init query {query}")),
            expected,
            "{query}"
        );
    }
    let ask = "import urllib.request as r; r.urlopen('http://169.254.169.254/latest/meta-data/')";
    let asked = guest.ssh(&format!("python3 -c \"{ask}\""));
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(said.contains("401"), "a token is required: {said}");
    let bytes: u64 = guest.says("lsblk -bdno SIZE /dev/vda").parse().unwrap();
    assert_eq!(bytes >> 30, 4, "the disk is as large as asked for");
}
