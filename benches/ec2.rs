//! Figures for AMIs, in the test bench of EC2: `cargo bench --bench ec2 [-- upload|build]`. Needs `make setup-dev`; `build` needs Packer
//! (`.ci/setup --bench`) and root.
//!
//! `upload`: `karat publish` of random bytes, beside a plain loop of boto3's `put_snapshot_block`. `build`: karat's `[builder.ec2]`
//! beside Packer's amazon-ebs, from the same AMI, with the same package; wall time, and calls of AWS. `KARAT_BENCH_ROUNDS=1` for one
//! round of each.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../tests/ec2/bench/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod bench;
#[path = "../tests/ec2/site.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod site;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;

use bench::{Account, Bench};
use site::Site;
use support::base;

const REGION: &str = "us-east-1";
/// Bytes that are uploaded.
const MIB: usize = 512;
/// Ways are taken in turn, so that a busy machine is fair to both.
const ROUNDS: usize = 3;
const PACKAGE: &str = "nginx-light";

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wants = |what: &str| {
        let named = asked.iter().any(|it| it == "upload" || it == "build");
        !named || asked.iter().any(|it| it == what)
    };
    if wants("upload") {
        upload();
    }
    if wants("build") {
        build();
    }
}

fn upload() {
    let Some(bench) = Bench::start() else { return };
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let account = bench.account();
        let site = Site::new(&account);
        let disk = site.path().join("random.raw");
        random(&disk);
        let disk = disk.to_str().unwrap().to_owned();
        let id = site.done(&[
            "import",
            &disk,
            "--name",
            "web",
            "--arch",
            "x86_64",
            "--firmware",
            "bios",
        ]);
        site.done(&["publish", id.trim(), "--region", REGION]);
        ours.push(upload_of(&account));
        let account = bench.account();
        let lines = format!(
            "disk = open('{disk}', 'rb')\n\
             snapshot = ebs.start_snapshot(VolumeSize=1)['SnapshotId']\n\
             index = 0\n\
             while data := disk.read(BLOCK):\n\
             \x20   ebs.put_snapshot_block(SnapshotId=snapshot, BlockIndex=index, BlockData=data, DataLength=BLOCK, Checksum=checksum(data), ChecksumAlgorithm='SHA256')\n\
             \x20   index += 1\n\
             ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=index)"
        );
        bench.python(&account, &lines);
        plain.push(upload_of(&account));
    }
    let (ours, plain) = (median(ours), median(plain));
    println!(
        "upload of {MIB} MiB: karat publish {:.2} s, a plain loop of boto3 {:.2} s: {:.2} of its speed",
        ours.as_secs_f64(),
        plain.as_secs_f64(),
        plain.as_secs_f64() / ours.as_secs_f64()
    );
}

/// From the call that begins a snapshot to the one that ends it: without what AWS does in its own time.
fn upload_of(account: &Account) -> Duration {
    let calls = account.calls();
    let at = |name: &str| calls.iter().find(|it| it.name == name).unwrap().at;
    at("ebs:CompleteSnapshot").saturating_sub(at("ebs:StartSnapshot"))
}

fn random(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut source = File::open("/dev/urandom").unwrap();
    std::io::copy(
        &mut std::io::Read::take(&mut source, (MIB as u64) << 20),
        &mut file,
    )
    .unwrap();
    // The boot signature, without which a disk is not imported.
    file.write_all_at(&[0x55, 0xaa], 510).unwrap();
}

fn build() {
    let Some(bench) = Bench::start_with_guests() else {
        return;
    };
    let packer = Command::new("packer").arg("version").output();
    if packer.is_err() {
        eprintln!("SKIPPED: there is no packer here; `.ci/setup --bench` installs it");
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let base = runtime.block_on(base::make(&base::cache(), scratch.path()));
    let (mut first, mut locked, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds() {
        let account = || {
            let account = bench.account();
            account.boot_guests();
            let (ami, _) = bench.seed_ami(&base, REGION, "debian-12-amd64");
            (account, ami)
        };
        let tell = |name: &str, took: Duration, account: &Account, before: usize| {
            let calls = account.calls().split_off(before);
            let blocks = calls.iter().filter(|it| it.name == "ebs:GetSnapshotBlock");
            let blocks = blocks.count();
            println!(
                "round {round}: {name} {:.1} s, {} calls and {blocks} blocks read",
                took.as_secs_f64(),
                calls.len() - blocks
            );
            took
        };
        let (ours, ami) = account();
        let site = Site::new(&ours);
        let took = karat(&site, &ami, &[]);
        first.push(tell("karat without a lock", took, &ours, 0));
        // As every night: another image, of the same AMI and lock.
        let before = ours.calls().len();
        let took = karat(&site, &ami, &["--locked"]);
        locked.push(tell("karat from its lock", took, &ours, before));
        let (account, ami) = account();
        let took = amazon_ebs(&account, &ami);
        theirs.push(tell("packer", took, &account, 0));
    }
    let seconds = |all| median(all).as_secs_f64();
    let (first, locked, theirs) = (seconds(first), seconds(locked), seconds(theirs));
    println!(
        "build: packer {theirs:.1} s; karat {first:.1} s without a lock ({:.2}), {locked:.1} s from its lock ({:.2})",
        first / theirs,
        locked / theirs
    );
}

/// How often each way is taken: `KARAT_BENCH_ROUNDS`.
fn rounds() -> usize {
    let asked = std::env::var("KARAT_BENCH_ROUNDS").ok();
    asked.and_then(|it| it.parse().ok()).unwrap_or(ROUNDS)
}

/// From the template to the AMI, with the disk read back and scanned.
fn karat(site: &Site, ami: &str, more: &[&str]) -> Duration {
    site.write(
        "web.toml",
        &format!(
            "[image]\nname = \"web\"\n[base.ami]\nid = \"{ami}\"\n[builder.ec2]\n[ssh]\ntimeout = \"10m\"\n\
             [packages.apt]\ninstall = [\"{PACKAGE}\"]\n[publish.ec2]\n"
        ),
    );
    let build = ["build", "web.toml", "--without", "vulnerabilities"];
    let started = Instant::now();
    let ran = site.karat(&[&build[..], more].concat());
    let took = started.elapsed();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for line in ran.stderr.lines().filter(|line| line.contains(" s")) {
        eprintln!("  {line}");
    }
    took
}

fn amazon_ebs(account: &Account, ami: &str) -> Duration {
    let scratch = tempfile::tempdir().unwrap();
    let environment = account.environment();
    let of = |name: &str| {
        let found = environment.iter().find(|(key, _)| *key == name);
        found.unwrap().1.clone()
    };
    let template = serde_json::json!({
        "builders": [{
            "type": "amazon-ebs",
            "access_key": of("AWS_ACCESS_KEY_ID"),
            "secret_key": of("AWS_SECRET_ACCESS_KEY"),
            "region": REGION,
            "custom_endpoint_ec2": of("AWS_ENDPOINT_URL"),
            "skip_region_validation": true,
            "skip_metadata_api_check": true,
            "source_ami": ami,
            "instance_type": "t3.small",
            "ssh_username": "debian",
            "ssh_timeout": "10m",
            "ami_name": "web",
        }],
        "provisioners": [{
            "type": "shell",
            "inline": [
                "cloud-init status --wait >/dev/null",
                "sudo apt-get -q update",
                format!("sudo DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends {PACKAGE}"),
            ],
        }],
    });
    fs::write(scratch.path().join("web.json"), template.to_string()).unwrap();
    let started = Instant::now();
    let output = Command::new("packer")
        .args(["build", "web.json"])
        .current_dir(scratch.path())
        .env("HOME", scratch.path())
        .env("CHECKPOINT_DISABLE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let took = started.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    took
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort();
    all[all.len() / 2]
}
