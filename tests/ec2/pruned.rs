//! `karat prune --ec2`: what goes, and what is kept because something uses it.

use crate::bench::Bench;
use crate::bench::faults::Fault;
use crate::site::{MIB, Site};

/// What `karat prune --ec2` says, fate by AMI.
fn prune(site: &Site, more: &[&str]) -> Vec<(String, String)> {
    let mut arguments = vec!["prune", "--ec2", "--keep-within", "0s", "--keep", "1"];
    arguments.extend(more);
    let printed = site.done(&arguments);
    let lines = printed.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let fate = words.next()?.to_owned();
        Some((words.nth(1)?.to_owned(), fate))
    });
    lines.collect()
}

#[test]
fn amis_that_nothing_uses_are_deprecated_and_then_removed() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let site = Site::new(&account);
    std::fs::create_dir_all(site.path().join("store/channels/web")).unwrap();
    site.write("store/channels/web/stable.toml", "require_scan = false\n");
    let mut amis = Vec::new();
    for value in 1..=5 {
        let id = site.import("web", 64 * MIB, &[(0, 1), (7, value)]);
        let ran = site.karat(&["publish", &id, "--region", "us-east-1"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        amis.push(ran.images()[0].clone());
        if value == 1 {
            site.done(&["promote", &id, "web/stable"]);
        }
    }
    // The first is a channel's, the last one the last of its name; an instance runs of the second, a launch template names the third.
    let lines = format!(
        "run('{}')\n\
         ec2.create_launch_template(LaunchTemplateName='other', LaunchTemplateData={{'ImageId': '{}'}})",
        amis[1], amis[2]
    );
    bench.python(&account, &lines);
    let fates = |of: &[(usize, &str)]| -> Vec<(String, String)> {
        let named = of.iter();
        named
            .map(|(at, fate)| (amis[*at].clone(), (*fate).to_owned()))
            .collect()
    };
    let condemned = fates(&[(1, "deprecated"), (2, "deprecated"), (3, "deprecated")]);
    assert_eq!(prune(&site, &["--dry-run"]), condemned);
    assert_eq!(prune(&site, &[]), condemned);
    let waiting = fates(&[(1, "waiting"), (2, "waiting"), (3, "waiting")]);
    assert_eq!(prune(&site, &[]), waiting);

    // What cannot be asked keeps everything.
    account.fault("ec2:DescribeInstances", 0, Fault::Denied);
    let kept = fates(&[(1, "kept"), (2, "kept"), (3, "kept")]);
    assert_eq!(prune(&site, &["--grace", "0s"]), kept);
    account.clear();
    let mixed = fates(&[(1, "kept"), (2, "kept"), (3, "removed")]);
    assert_eq!(prune(&site, &["--grace", "0s"]), mixed);
    let left = account.left();
    let count = |kind: &str| left.iter().filter(|it| it.contains(kind)).count();
    assert_eq!((count(" image "), count(" snapshot ")), (4, 4), "{left:?}");
    assert!(!left.iter().any(|it| it.contains(&amis[3])), "{left:?}");
}

#[test]
fn an_ami_that_is_held_again_is_restored() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let site = Site::new(&account);
    let ids = [1, 2].map(|value| {
        let id = site.import("web", 64 * MIB, &[(0, value)]);
        site.done(&["publish", &id, "--region", "us-east-1"]);
        id
    });
    assert_eq!(prune(&site, &[])[0].1, "deprecated");
    site.done(&["pin", &ids[0]]);
    assert_eq!(prune(&site, &["--grace", "0s"])[0].1, "restored");
    assert_eq!(prune(&site, &["--grace", "0s"]), []);
    let shown = bench.python(
        &account,
        "print([it.get('DeprecationTime') for it in ec2.describe_images(Owners=['self'])['Images']])",
    );
    assert_eq!(shown.trim(), "[None, None]");
}

#[test]
fn what_a_killed_upload_has_left_is_removed() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let site = Site::new(&account);
    let id = site.import("web", 64 * MIB, &[(0, 1), (7, 2)]);
    let mut at = 1;
    loop {
        let victim = account.kill_after("*", at);
        let mut child = site
            .command(&["publish", &id, "--region", "us-east-1"])
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        victim.is(child.id());
        let ended = child.wait().unwrap();
        account.clear();
        if ended.success() {
            break;
        }
        assert!(
            ended.code().is_none(),
            "it failed before it was killed: {ended}"
        );
        let is_published = account.left().iter().any(|it| it.contains(" image "))
            && account.calls().last().unwrap().name == "ec2:CreateTags";
        site.done(&["prune", "--runs", "--ec2"]);
        if is_published {
            // All was done but the statement: the next run finds it.
            break;
        }
        assert_eq!(account.left(), [""; 0], "killed after call {at}");
        at += 1;
    }
    assert!(at > 8, "{at} calls");
    let again = site.karat(&["publish", &id, "--region", "us-east-1"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(account.left().len(), 2, "{:?}", account.left());
}
