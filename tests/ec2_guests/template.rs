//! `templates/ami-web.toml`: built, published, and launched.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::bench::{Account, Bench};
use crate::scene::Scene;
use crate::site::Site;
use crate::support::base as shared;

#[test]
#[ignore = "it builds two images; `make soak` runs it"]
fn the_template_boots_as_an_instance_and_its_next_image_costs_its_changes() {
    let Some(bench) = Bench::start_with_guests() else {
        return;
    };
    let scene = Scene::new(bench);
    let site = Site::new(&scene.account);
    let first = build(&site, "auto");
    let (ami, blocks) = publish(&site, &scene.account, &first);
    let guest = scene.run(&ami, "SecurityGroupIds=[open_group()]");
    let status = guest.says("cloud-init status --wait");
    assert!(status.ends_with("status: done"), "{status}");
    assert_eq!(guest.says("cloud-init query platform"), "ec2");
    let pair = guest.ssh_as("debian", "pair", "sudo id -u");
    assert_eq!(pair.stdout, b"0\n", "the key pair lets debian in");
    let page = guest.says("curl --fail --silent http://127.0.0.1/");
    assert!(page.contains("Built by karat"), "{page}");
    let failed = guest.says("systemctl --failed --plain --no-legend | cat");
    assert_eq!(failed, "");
    let source = guest.says("chronyc -n sources");
    assert!(source.contains("169.254.169.123"), "{source}");
    scene.python(&format!(
        "ec2.terminate_instances(InstanceIds=['{}'])",
        guest.id
    ));

    let second = build(&site, "4");
    assert_ne!(first, second);
    let (_, changed) = publish(&site, &scene.account, &second);
    assert!(changed * 10 < blocks, "{changed} of {blocks} blocks");
    let (_, again) = publish(&site, &scene.account, &second);
    assert_eq!(again, 0);
    counted(&site, &scene.account, &["verify", &second, "--ec2"]);
}

fn build(site: &Site, worker_processes: &str) -> String {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/ami-web.toml");
    let variable = format!("worker_processes={worker_processes}");
    let arguments = ["build", template.to_str().unwrap(), "--var", &variable];
    let output = site
        .command(&arguments)
        .args(["--without", "vulnerabilities"])
        .env("KARAT_CACHE", shared::cache())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The AMI, and how many blocks were written.
fn publish(site: &Site, account: &Account, id: &str) -> (String, usize) {
    let (said, calls) = counted(site, account, &["publish", id]);
    let ami = said.split_whitespace().nth(1).unwrap().to_owned();
    let blocks = calls.get("ebs:PutSnapshotBlock").copied();
    (ami, blocks.unwrap_or_default())
}

/// What karat prints, and the calls that it makes; says what it took.
fn counted(
    site: &Site,
    account: &Account,
    arguments: &[&str],
) -> (String, BTreeMap<String, usize>) {
    let before = account.calls().len();
    let start = Instant::now();
    let said = site.done(arguments);
    let seconds = start.elapsed().as_secs_f64();
    let mut calls = BTreeMap::new();
    for call in &account.calls()[before..] {
        *calls.entry(call.name.clone()).or_insert(0) += 1;
    }
    eprintln!("{} in {seconds:.1} s: {calls:?}", arguments[0]);
    (said, calls)
}
