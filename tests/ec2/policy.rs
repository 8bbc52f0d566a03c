//! `karat iam-policy` allows what `karat publish` does.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::bench::Bench;
use crate::bench::faults::Fault;
use crate::site::{MIB, Site};

const TEMPLATE: &str = "[image]\nname = \"web\"\n[publish.ec2]\nregions = [\"us-east-1\", \"eu-west-1\"]\n\
    accounts = [\"123456789012\"]\norganizations = [\"arn:aws:organizations::123456789012:organization/o-a\"]\n\
    deprecate_after = \"30d\"\nprotect = true\n";

#[test]
fn every_call_of_a_publication_is_allowed() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let site = Site::new(&account);
    site.write("ec2.toml", TEMPLATE);
    let policy: Value = serde_json::from_str(&site.done(&["iam-policy", "ec2.toml"])).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let actions = statements.flat_map(|it| it["Action"].as_array().unwrap());
    let actions: BTreeSet<_> = actions.map(|it| it.as_str().unwrap()).collect();

    let publish = |id: &str| site.karat(&["publish", id, "--template", "ec2.toml", "--verify"]);
    let first = site.import("web", 64 * MIB, &[(0, 1)]);
    // What was made is removed again.
    account.fault("ec2:CreateTags@eu-west-1", 1, Fault::Denied);
    assert_eq!(publish(&first).code, Some(1));
    assert_eq!(publish(&first).code, Some(0));
    let second = site.import("web", 64 * MIB, &[(0, 2)]);
    assert_eq!(publish(&second).code, Some(0));

    let calls = account.calls();
    let called: BTreeSet<_> = calls.iter().map(|call| call.name.as_str()).collect();
    let denied: Vec<_> = called.difference(&actions).collect();
    // Whoever has credentials may ask who that is.
    assert_eq!(denied, [&"sts:GetCallerIdentity"]);
    let unused: Vec<_> = actions.difference(&called).collect();
    assert_eq!(
        unused,
        [&"ec2:DescribeImageAttribute"],
        "for `karat verify`"
    );
}
