//! `karat iam-policy` allows what karat does with what is there, and nothing that it never does. Builds are in `finishing`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::bench::faults::Fault;
use crate::bench::{Account, Bench};
use crate::site::{MIB, Ran, Site};

const TEMPLATE: &str = "[image]\nname = \"web\"\n[publish.ec2]\nregions = [\"us-east-1\", \"eu-west-1\"]\n\
    accounts = [\"123456789012\"]\norganizations = [\"arn:aws:organizations::123456789012:organization/o-a\"]\n\
    deprecate_after = \"30d\"\nprotect = true\n";

/// A site with a template that has every call made.
fn site(account: &Account) -> Site {
    let site = Site::new(account);
    site.write("ec2.toml", TEMPLATE);
    site
}

fn publish(site: &Site, id: &str) -> Ran {
    site.karat(&["publish", id, "--template", "ec2.toml", "--verify"])
}

/// What the policy of the template allows.
fn allowed(site: &Site, more: &[&str]) -> BTreeSet<String> {
    let arguments = [&["iam-policy", "ec2.toml"], more].concat();
    let policy: Value = serde_json::from_str(&site.done(&arguments)).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let actions = statements.flat_map(|it| it["Action"].as_array().unwrap());
    actions.map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// Calls that nobody has to be allowed: whoever has credentials may ask who that is.
fn called(account: &Account) -> BTreeSet<String> {
    let calls = account.calls().into_iter().map(|call| call.name);
    calls.filter(|it| it != "sts:GetCallerIdentity").collect()
}

#[test]
fn every_call_of_a_publication_is_allowed() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let site = site(&account);
    let first = site.import("web", 64 * MIB, &[(0, 1)]);
    // What was made is removed again.
    account.fault("ec2:CreateTags@eu-west-1", 1, Fault::Denied);
    assert_eq!(publish(&site, &first).code, Some(1));
    assert_eq!(publish(&site, &first).code, Some(0));
    let second = site.import("web", 64 * MIB, &[(0, 2)]);
    assert_eq!(publish(&site, &second).code, Some(0));
    site.done(&["verify", &second, "--ec2"]);
    assert_eq!(called(&account), allowed(&site, &[]));
}

#[test]
fn every_call_of_channels_and_prune_is_allowed() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let site = site(&account);
    // By somebody else, whose calls are not karat's.
    bench.python(
        &account,
        "for region in ['us-east-1', 'eu-west-1']:\n\
         \x20   client('ec2', region).create_launch_template(LaunchTemplateName='web', LaunchTemplateData={'InstanceType': 't3.micro'})\n\
         client('autoscaling').create_launch_configuration(LaunchConfigurationName='old', ImageId='ami-1', InstanceType='t3.micro')\n\
         client('autoscaling').create_auto_scaling_group(AutoScalingGroupName='old', LaunchConfigurationName='old', \
         MinSize=0, MaxSize=0, AvailabilityZones=['us-east-1a'])",
    );
    let before: BTreeSet<_> = called(&account);
    let rules = "require_scan = false\n[ec2]\nregions = [\"us-east-1\", \"eu-west-1\"]\n\
        parameter = \"/golden/web\"\nlaunch_template = \"web\"\n";
    std::fs::create_dir_all(site.path().join("store/channels/web")).unwrap();
    site.write("store/channels/web/stable.toml", rules);
    let ids = [1, 2, 3].map(|value| {
        let id = site.import("web", 64 * MIB, &[(0, value)]);
        let ran = publish(&site, &id);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        id
    });
    // The first one is undone, with a parameter that was not there.
    account.fault("ec2:ModifyLaunchTemplate", 2, Fault::Denied);
    assert_eq!(
        site.karat(&["promote", &ids[0], "web/stable"]).code,
        Some(1)
    );
    site.done(&["promote", &ids[0], "web/stable"]);
    site.done(&["promote", &ids[1], "web/stable"]);
    site.done(&["rollback", "web/stable"]);
    site.done(&["verify", "web/stable", "--ec2"]);
    let prune = [
        "prune",
        "--ec2",
        "--keep-within",
        "0s",
        "--keep",
        "1",
        "--grace",
        "0s",
    ];
    site.done(&prune);
    site.done(&["pin", &ids[1]]);
    site.done(&prune);
    site.done(&["unpin", &ids[1]]);
    site.done(&prune);
    site.done(&prune);
    let policy = ["--channels", "--parameter", "/golden/web", "--prune"];
    let (called, allowed) = (called(&account), allowed(&site, &policy));
    let called: BTreeSet<_> = called.difference(&before).collect();
    let denied: Vec<_> = called.iter().filter(|it| !allowed.contains(**it)).collect();
    assert_eq!(denied, [&&""; 0]);
    let unused: Vec<_> = allowed.iter().filter(|it| !called.contains(it)).collect();
    assert_eq!(unused, [""; 0]);
}
