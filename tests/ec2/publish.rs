//! `karat publish`: snapshots that are written block by block, AMIs of them, and what is left when it goes wrong.

use crate::bench::Bench;
use crate::site::{MIB, Site};

const PUT: &str = "ebs:PutSnapshotBlock";

#[test]
fn only_data_is_written_and_then_only_what_differs() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let site = Site::new(&account);
    let first = site.import("web", 64 * MIB, &[(0, 1), (7, 2), (63, 3)]);
    let ran = site.karat(&["publish", &first, "--region", "us-east-1", "--verify"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(account.count(PUT), 3, "a block for each MiB with data");
    assert_eq!(ran.images().len(), 1);

    let again = site.karat(&["publish", &first, "--region", "us-east-1", "--json"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    let line: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(line["image"].as_str(), Some(ran.images()[0].as_str()));
    assert_eq!(line["existing"], true);
    assert_eq!(account.count(PUT), 3, "nothing is written twice");

    let second = site.import("web", 64 * MIB, &[(0, 1), (7, 9)]);
    let ran = site.karat(&["publish", &second, "--region", "us-east-1", "--verify"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // One has other bytes, and one is empty now.
    assert_eq!(account.count(PUT), 5);
    let shown = site.done(&["verify", &second]);
    assert!(shown.contains("publication"), "{shown}");
}

#[test]
fn an_ami_that_is_not_the_image_is_found() {
    let Some(bench) = Bench::start() else { return };
    let account = bench.account();
    let site = Site::new(&account);
    let id = site.import("web", 64 * MIB, &[(0, 1), (7, 2)]);
    site.done(&[
        "publish",
        &id,
        "--region",
        "us-east-1",
        "--region",
        "eu-west-1",
    ]);
    let shown = site.done(&["verify", &id, "--ec2"]);
    assert!(shown.contains("eu-west-1 ami-"), "{shown}");
    assert!(shown.contains("us-east-1 ami-"), "{shown}");
}
