//! `karat build` on EC2 without a guest: an instance that nobody can log in to, calls that go wrong, and karats that are ended or
//! killed in the middle of each. What counts is what is left in the account.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::bench::faults::Fault;
use crate::bench::{Account, Bench};
use crate::site::Site;

const REGION: &str = "us-east-1";
const NAME: &str = "debian-12-amd64-20260101";
/// Calls that make something, or change it, until SSH is tried. Others are only read.
const MAKING: [&str; 4] = [
    "ec2:CreateSecurityGroup",
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:RevokeSecurityGroupEgress",
    "ec2:RunInstances",
];

/// An account with an AMI to start from, and a template that does.
struct Scene {
    account: Account,
    site: Site,
    ami: String,
}

impl Scene {
    fn new(bench: &Bench) -> Self {
        let account = bench.account();
        let site = Site::new(&account);
        let disk = site.path().join("base.raw");
        File::create(&disk).unwrap().set_len(1 << 20).unwrap();
        let (ami, _) = bench.seed_ami(&disk, REGION, NAME);
        let scene = Self { account, site, ami };
        scene.template("");
        scene
    }

    fn template(&self, more: &str) {
        let text = format!(
            "[image]\nname = \"web\"\n[base.ami]\nid = \"{}\"\n[builder.ec2]\n{more}\n[ssh]\ntimeout = \"2s\"\n",
            self.ami
        );
        self.site.write("web.toml", &text);
    }

    fn start(&self) -> Child {
        let mut command = self.site.command(&["build", "web.toml"]);
        let log = File::create(self.site.path().join("log")).unwrap();
        command.stderr(log).stdout(Stdio::null()).process_group(0);
        command.spawn().unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.site.path().join("log")).unwrap()
    }

    /// Builds, which fails, and checks that nothing is left.
    fn fails(&self) -> (Option<i32>, String) {
        let ran = self.site.karat(&["build", "web.toml"]);
        assert_eq!(self.account.left(), [""; 0], "{}", ran.stderr);
        assert!(runs(self.site.path()).is_empty());
        (ran.code, ran.stderr)
    }
}

/// Run directories that are there.
fn runs(site: &Path) -> Vec<String> {
    let found = std::fs::read_dir(site.join("cache/runs"));
    let names = found.into_iter().flatten().flatten();
    names
        .map(|it| it.file_name().into_string().unwrap())
        .collect()
}

fn ends(child: &mut Child, within: Duration) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(begun.elapsed() < within, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Has `child`, which is started later, get a signal at the nth call of a kind, and the call wait a little for that.
fn signal_at(
    scene: &Scene,
    call: &str,
    after: bool,
    name: &'static str,
) -> Arc<Mutex<Option<u32>>> {
    let target: Arc<Mutex<Option<u32>>> = Arc::default();
    let of_hook = Arc::clone(&target);
    let hook = move || {
        let pid = loop {
            if let Some(pid) = *of_hook.lock().unwrap() {
                break pid;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let pid = pid.to_string();
        let _gone = std::process::Command::new("kill")
            .args(["-s", name, &pid])
            .status();
        std::thread::sleep(Duration::from_millis(100));
    };
    if after {
        scene.account.after(call, 1, hook);
    } else {
        scene.account.before(call, 1, hook);
    }
    target
}

#[test]
fn an_instance_that_cannot_be_reached_is_removed_with_all_that_was_made_for_it() {
    let Some(bench) = Bench::start() else { return };
    let scene = Scene::new(bench);
    scene.template("tags = { team = \"web\" }");
    let (code, said) = scene.fails();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("did not become reachable"), "{said}");

    let calls = scene.account.calls();
    let made = |name: &str| {
        let found = calls.iter().find(|call| call.name == name);
        found.unwrap_or_else(|| panic!("no {name}")).form.clone()
    };
    let run = made("ec2:RunInstances");
    for (parameter, expected) in [
        ("MetadataOptions.HttpTokens", "required"),
        ("InstanceInitiatedShutdownBehavior", "stop"),
        ("InstanceType", "t3.small"),
        ("NetworkInterface.1.AssociatePublicIpAddress", "true"),
    ] {
        assert_eq!(run.text(parameter), expected, "{parameter}");
    }
    assert!(!run.text("ClientToken").is_empty());
    let text = format!("{run:?}");
    for tag in ["karat:run", "karat:expires", "karat:image", "team"] {
        assert!(text.contains(tag), "{tag}: {text}");
    }
    let ingress = made("ec2:AuthorizeSecurityGroupIngress");
    assert_eq!(
        ingress.text("IpPermissions.1.IpRanges.1.CidrIp"),
        "127.0.0.1/32",
        "only this machine is let in"
    );
    assert_eq!(ingress.text("IpPermissions.1.FromPort"), "22");
    let revoked = made("ec2:RevokeSecurityGroupEgress");
    assert_eq!(revoked.text("IpPermissions.1.IpProtocol"), "-1");
}

#[test]
fn calls_that_are_throttled_or_whose_answers_are_lost_happen_once() {
    let Some(bench) = Bench::start() else { return };
    for call in MAKING {
        for fault in [
            Fault::Throttle,
            Fault::Internal,
            Fault::DropBefore,
            Fault::DropAfter,
        ] {
            let scene = Scene::new(bench);
            scene.account.fault(call, 1, fault.clone());
            let (code, said) = scene.fails();
            assert_eq!(code, Some(1), "{call} {fault:?}: {said}");
            assert!(
                said.contains("did not become reachable"),
                "{call} {fault:?}: {said}"
            );
            assert!(scene.account.count(call) >= 2, "{call} {fault:?}");
        }
    }
}

#[test]
fn what_is_not_known_yet_is_tried_again() {
    let Some(bench) = Bench::start() else { return };
    for (call, code) in [
        ("ec2:AuthorizeSecurityGroupIngress", "InvalidGroup.NotFound"),
        ("ec2:RunInstances", "InvalidGroup.NotFound"),
        ("ec2:DescribeInstances", "InvalidInstanceID.NotFound"),
    ] {
        let scene = Scene::new(bench);
        scene.account.fault(call, 1, Fault::NotFound(code));
        let (_, said) = scene.fails();
        assert!(said.contains("did not become reachable"), "{call}: {said}");
    }
}

#[test]
fn what_the_caller_may_not_do_is_named_and_leaves_nothing() {
    let Some(bench) = Bench::start() else { return };
    for call in MAKING {
        let scene = Scene::new(bench);
        scene.account.fault(call, 0, Fault::Denied);
        let (code, said) = scene.fails();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("{call} in {REGION}")), "{said}");
        assert!(said.contains("UnauthorizedOperation"), "{said}");
    }
}

#[test]
fn other_types_are_tried_when_there_is_no_room() {
    let Some(bench) = Bench::start() else { return };
    let scene = Scene::new(bench);
    scene.template("instance_types = [\"t3.small\", \"t3.medium\"]");
    let full = Fault::NotFound("InsufficientInstanceCapacity");
    let subnets = 6;
    for nth in 1..=subnets {
        scene.account.fault("ec2:RunInstances", nth, full.clone());
    }
    let (_, said) = scene.fails();
    assert!(said.contains("no capacity for t3.small"), "{said}");
    let calls = scene.account.calls();
    let types: BTreeSet<_> = calls
        .iter()
        .filter(|call| call.name == "ec2:RunInstances")
        .map(|call| call.form.text("InstanceType").to_owned())
        .collect();
    assert!(types.contains("t3.medium"), "{types:?}");

    let scene = Scene::new(bench);
    scene.account.fault("ec2:RunInstances", 0, full);
    let (code, said) = scene.fails();
    assert_eq!(code, Some(1));
    assert!(said.contains("AWS has no capacity"), "{said}");
}

#[test]
fn an_instance_that_fails_to_launch_or_dies_is_told_at_once() {
    let Some(bench) = Bench::start() else { return };
    let scene = Scene::new(bench);
    scene.account.fault("ec2:RunInstances", 1, Fault::Fails);
    let (code, said) = scene.fails();
    assert_eq!(code, Some(1));
    assert!(said.contains("Internal error on launch"), "{said}");
}

#[test]
fn a_build_that_is_ended_in_any_call_leaves_nothing() {
    let Some(bench) = Bench::start() else { return };
    for name in ["INT", "TERM", "HUP"] {
        for call in MAKING.into_iter().chain(["ec2:DescribeInstances"]) {
            for after in [false, true] {
                let scene = Scene::new(bench);
                let target = signal_at(&scene, call, after, name);
                let mut child = scene.start();
                *target.lock().unwrap() = Some(child.id());
                let code = ends(&mut child, Duration::from_mins(1));
                let said = scene.log();
                assert_eq!(code, Some(130), "{name} at {call}: {said}");
                assert_eq!(scene.account.left(), [""; 0], "{name} at {call}: {said}");
                assert!(runs(scene.site.path()).is_empty());
            }
        }
    }
}

#[test]
fn what_a_killed_build_left_is_removed_later() {
    let Some(bench) = Bench::start() else { return };
    for call in MAKING.into_iter().chain(["ec2:DescribeInstances"]) {
        for after in [false, true] {
            let scene = Scene::new(bench);
            let target = signal_at(&scene, call, after, "KILL");
            let mut child = scene.start();
            *target.lock().unwrap() = Some(child.id());
            assert_eq!(ends(&mut child, Duration::from_mins(1)), None, "{call}");
            // A call that was on its way is carried out all the same.
            std::thread::sleep(Duration::from_millis(500));

            let careful = scene.site.karat(&["prune", "--runs"]);
            assert_eq!(careful.code, Some(0), "{careful:?}");
            assert!(careful.stderr.contains("--ec2"), "{careful:?}");
            let ran = scene.site.karat(&["prune", "--runs", "--ec2"]);
            assert_eq!(ran.code, Some(0), "{call}: {ran:?}");
            assert_eq!(scene.account.left(), [""; 0], "{call}: {ran:?}");
            assert!(runs(scene.site.path()).is_empty());
        }
    }
}

#[test]
fn the_newest_ami_is_taken_and_the_lock_keeps_it() {
    let Some(bench) = Bench::start() else { return };
    let scene = Scene::new(bench);
    let disk = scene.site.path().join("base.raw");
    let (newer, _) = bench.seed_ami(&disk, REGION, "debian-12-amd64-20260201");
    let text = "[image]\nname = \"web\"\n[base.ami]\nowners = [\"136693071363\"]\nname = \"debian-12-amd64-202602*\"\n\
                [builder.ec2]\n[ssh]\ntimeout = \"2s\"\n";
    scene.site.write("web.toml", text);
    scene.fails();
    let lock = std::fs::read_to_string(scene.site.path().join("web.lock.toml")).unwrap();
    assert!(lock.contains(&newer) && lock.contains("snap-"), "{lock}");
    let launched = || {
        let calls = scene.account.calls();
        let mut runs = calls.iter().filter(|call| call.name == "ec2:RunInstances");
        runs.next_back().unwrap().form.text("ImageId").to_owned()
    };
    assert_eq!(launched(), newer);

    let (newest, _) = bench.seed_ami(&disk, REGION, "debian-12-amd64-20260202");
    scene.fails();
    assert_eq!(launched(), newer, "the lock keeps it");
    let ran = scene.site.karat(&["lock", "--update", "web.toml"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    scene.fails();
    assert_eq!(launched(), newest);
}

#[test]
fn what_is_not_there_is_said_before_anything_is_made() {
    let Some(bench) = Bench::start() else { return };
    let cases = [
        ("ami-0123456789abcdef0", "", "InvalidAMIID"),
        ("", "subnet = \"subnet-0123456789\"", "subnet-0123456789"),
        ("", "security_groups = [\"sg-0123456789\"]", "sg-0123456789"),
        ("", "arch = \"aarch64\"", "arm64"),
    ];
    for (ami, more, expected) in cases {
        let mut scene = Scene::new(bench);
        if !ami.is_empty() {
            ami.clone_into(&mut scene.ami);
        }
        scene.template(more);
        let (code, said) = scene.fails();
        assert!(matches!(code, Some(1 | 2)), "{said}");
        assert!(said.contains(expected), "{said}");
        for call in MAKING {
            assert_eq!(scene.account.count(call), 0, "{call}: {said}");
        }
    }
}

#[test]
fn with_locked_no_other_ami_will_do() {
    let Some(bench) = Bench::start() else { return };
    let scene = Scene::new(bench);
    scene.fails();
    let other = bench.seed_ami(&scene.site.path().join("base.raw"), REGION, "debian-12-b");
    let scene = Scene {
        ami: other.0,
        ..scene
    };
    scene.template("");
    let ran = scene.site.karat(&["build", "web.toml", "--locked"]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("the AMI in lock file"), "{ran:?}");
    assert_eq!(scene.account.count("ec2:RunInstances"), 1);
}

#[test]
fn what_is_over_is_removed_whoever_began_it() {
    let Some(bench) = Bench::start() else { return };
    let scene = Scene::new(bench);
    let lines = "for run, expires in [('dead', '2020-01-01T00:00:00Z'), ('alive', '2999-01-01T00:00:00Z')]:\n\
                 \x20   tags = [{'Key': 'karat:run', 'Value': run}, {'Key': 'karat:expires', 'Value': expires}]\n\
                 \x20   made = ec2.create_security_group(GroupName=run, Description='karat', TagSpecifications=[\n\
                 \x20       {'ResourceType': 'security-group', 'Tags': tags}])\n\
                 \x20   ec2.create_volume(AvailabilityZone='us-east-1a', Size=1, TagSpecifications=[\n\
                 \x20       {'ResourceType': 'volume', 'Tags': tags}])";
    bench.python(&scene.account, lines);
    assert_eq!(scene.account.left().len(), 4);
    let ran = scene.site.karat(&["prune", "--runs", "--ec2"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let left = scene.account.left();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left.iter()
            .any(|line| line.contains("security group alive"))
    );
}
