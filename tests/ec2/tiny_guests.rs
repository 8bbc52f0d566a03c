//! Instances that are guests of one boot sector: they start in a second and do one thing.

use std::net::TcpStream;

use crate::bench::{Account, Bench};
use crate::support::boot_sector::{self, Act};

/// Uploads a disk with a boot sector, registers it and runs it; the instance's id.
fn run(bench: &Bench, account: &Account, act: Act, more: &str) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let disk = scratch.path().join("disk");
    boot_sector::write(&disk, "karat was here", act);
    account.boot_guests();
    let lines = format!(
        "disk = open('{}', 'rb').read(BLOCK)\n\
         ami = available('tiny', uploaded({{0: disk}}))\n\
         id = run(ami, {more})['InstanceId']\n\
         wait('the guest', lambda: state(id) != 'pending')\n\
         print(id)",
        disk.display()
    );
    bench.python(account, &lines)
}

#[test]
fn an_uploaded_disk_boots_and_stops_and_starts_again() {
    let Some(bench) = Bench::start_with_guests() else {
        return;
    };
    let account = bench.account();
    let id = run(bench, &account, Act::PowerOff, "");
    let lines = format!(
        "wait('the end', lambda: state('{id}') == 'stopped')\n\
         assert instance('{id}')['StateReason']['Code'] == 'Client.InstanceInitiatedShutdown'\n\
         wait('the console', lambda: 'karat was here' in ec2.get_console_output(InstanceId='{id}')['Output'])\n\
         ec2.start_instances(InstanceIds=['{id}'])\n\
         assert state('{id}') == 'pending'\n\
         wait('the second end', lambda: state('{id}') == 'stopped')"
    );
    bench.python(&account, &lines);
    assert!(account.console(&id).contains("karat was here"));
}

#[test]
fn a_guest_that_powers_off_can_be_terminated_by_that() {
    let Some(bench) = Bench::start_with_guests() else {
        return;
    };
    let account = bench.account();
    let behaviour = "InstanceInitiatedShutdownBehavior='terminate'";
    let id = run(bench, &account, Act::PowerOff, behaviour);
    let lines = format!(
        "wait('the end', lambda: state('{id}') == 'terminated')\n\
         wait('the volume', lambda: not ec2.describe_volumes()['Volumes'])"
    );
    bench.python(&account, &lines);
    assert_eq!(account.left().len(), 2, "an image and its snapshot");
}

#[test]
fn nobody_reaches_a_guest_that_no_rule_opens() {
    let Some(bench) = Bench::start_with_guests() else {
        return;
    };
    let account = bench.account();
    let id = run(bench, &account, Act::Hang, "");
    let lines = format!("print(instance('{id}')['PublicIpAddress'])");
    assert!(!listens(&bench.python(&account, &lines)));
}

#[test]
fn an_image_is_made_of_a_guest_that_goes_on() {
    let Some(bench) = Bench::start_with_guests() else {
        return;
    };
    let account = bench.account();
    let id = run(
        bench,
        &account,
        Act::Hang,
        "SecurityGroupIds=[open_group()]",
    );
    let lines = format!(
        "second = ec2.create_image(InstanceId='{id}', Name='second', NoReboot=True)['ImageId']\n\
         wait('the image', lambda: image(second)['State'] == 'available')\n\
         snapshot = image(second)['BlockDeviceMappings'][0]['Ebs']['SnapshotId']\n\
         assert [b['BlockIndex'] for b in ebs.list_snapshot_blocks(SnapshotId=snapshot)['Blocks']] == [0]\n\
         assert state('{id}') == 'running'\n\
         print(instance('{id}')['PublicIpAddress'])"
    );
    let address = bench.python(&account, &lines);
    assert!(listens(&address), "QEMU passes SSH on");
    account.kill_instance(&id);
    let lines = format!("assert state('{id}') == 'terminated'");
    bench.python(&account, &lines);
    assert!(!listens(&address), "the guest is gone");
}

fn listens(address: &str) -> bool {
    TcpStream::connect((address, 22)).is_ok()
}
