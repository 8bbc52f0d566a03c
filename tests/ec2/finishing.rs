//! The second half of a build on EC2, from the first login to the AMI: calls that go wrong, and karats that are ended or killed in
//! the middle of each. The instance is a [`Pretender`].

use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::bench::faults::Fault;
use crate::bench::{Account, Bench};
use crate::pretender::Pretender;
use crate::site::{Ran, Site};

const REGION: &str = "us-east-1";
const BUILD: [&str; 10] = [
    "build",
    "web.toml",
    "--without",
    "vulnerabilities",
    "--without",
    "hygiene",
    "--without",
    "secrets",
    "--without",
    "undeclared",
];
/// In the order of a build.
const CALLS: [&str; 10] = [
    "ec2:StopInstances",
    "ec2:CreateSnapshot",
    "ec2:ModifyInstanceAttribute",
    "ec2:TerminateInstances",
    "ec2:DeleteSecurityGroup",
    "ebs:ListSnapshotBlocks",
    "ebs:GetSnapshotBlock",
    "ec2:CreateTags",
    "ec2:RegisterImage",
    "ec2:ModifyImageAttribute",
];

struct Scene {
    account: Arc<Account>,
    site: Site,
}

impl Scene {
    fn new(bench: &Bench) -> Self {
        Self::with(bench, "")
    }

    fn with(bench: &Bench, more: &str) -> Self {
        let account = Arc::new(bench.account());
        let site = Site::new(&account);
        let disk = site.disk(4 << 20, &[(0, 1), (3, 7)]);
        let (ami, _) = bench.seed_ami(&disk, REGION, "debian-12-amd64-20260101");
        let text = format!(
            "[image]\nname = \"web\"\n[base.ami]\nid = \"{ami}\"\n[builder.ec2]\n{more}\n[ssh]\ntimeout = \"30s\"\n\
             [publish.ec2]\naccounts = [\"123456789012\"]\n"
        );
        site.write("web.toml", &text);
        Self { account, site }
    }

    fn build(&self) -> Ran {
        let _pretender = Pretender::of(&self.account);
        self.site.karat(&BUILD)
    }

    fn left(&self) -> Vec<String> {
        let mut left = self.account.left();
        // An account has nothing else of these; what is gone is told for some time, as by EC2.
        left.sort();
        left
    }

    /// That an AMI and its snapshot are there, and nothing else.
    fn is_published(&self, about: &str) {
        let left = self.left();
        let kinds: Vec<_> = left.iter().filter_map(|it| it.split(' ').nth(1)).collect();
        assert_eq!(kinds, ["image", "snapshot"], "{about}: {left:?}");
    }

    /// Has a call kill karat, or end it, and waits for that. `None` when it was killed.
    fn ended_at(&self, call: &str, after: bool, signal: &'static str) -> Option<i32> {
        self.ended_at_nth(call, 1, after, signal)
    }

    fn ended_at_nth(&self, call: &str, nth: u32, after: bool, signal: &'static str) -> Option<i32> {
        let pid: Arc<Mutex<Option<u32>>> = Arc::default();
        let of_hook = Arc::clone(&pid);
        let hook = move || {
            let pid = of_hook.lock().unwrap().expect("it has begun").to_string();
            let _gone = std::process::Command::new("kill")
                .args(["-s", signal, &pid])
                .status();
            std::thread::sleep(Duration::from_millis(100));
        };
        if after {
            self.account.after(call, nth, hook);
        } else {
            self.account.before(call, nth, hook);
        }
        let _pretender = Pretender::of(&self.account);
        let log = File::create(self.site.path().join("log")).unwrap();
        let mut of = pid.lock().unwrap();
        let mut child = self
            .site
            .command(&BUILD)
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        *of = Some(child.id());
        drop(of);
        ends(&mut child)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.site.path().join("log")).unwrap()
    }
}

fn ends(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_build_ends_with_an_ami_and_nothing_else() {
    let Some(bench) = Bench::start() else { return };
    for more in [
        "",
        "spot = true",
        "encrypted = true\nkms_key = \"alias/images\"",
    ] {
        let scene = Scene::with(bench, more);
        let ran = scene.build();
        if more.starts_with("spot") {
            // Its disk cannot be seen to come to rest, since nothing is done here.
            assert_eq!(scene.account.count("ec2:StopInstances"), 0, "{ran:?}");
        }
        assert_eq!(ran.code, Some(0), "{more}: {}", ran.stderr);
        scene.is_published(more);
        let calls = scene.account.calls();
        let at = |name: &str| calls.iter().position(|call| call.name == name).unwrap();
        assert!(
            at("ebs:GetSnapshotBlock") < at("ec2:RegisterImage"),
            "it is read before it is registered"
        );
    }
}

#[test]
fn a_finished_image_is_tested_on_an_instance_of_its_own() {
    let Some(bench) = Bench::start() else { return };
    let scene = Scene::new(bench);
    let text = std::fs::read_to_string(scene.site.path().join("web.toml")).unwrap();
    let added = "[[test]]\ncommand = \"true\"\n";
    scene.site.write("web.toml", &format!("{text}{added}"));
    let ran = scene.build();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    scene.is_published("tested");
    assert_eq!(scene.account.count("ec2:RunInstances"), 2);
    assert_eq!(scene.account.count("ec2:RegisterImage"), 2);
    let calls = scene.account.calls();
    let mut runs = calls.iter().filter(|call| call.name == "ec2:RunInstances");
    let tested = runs.next_back().unwrap();
    assert!(
        !text.contains(tested.form.text("ImageId")),
        "it is of another AMI"
    );

    // It ends in the middle of that, by itself and by a signal.
    for (call, signal) in [("ec2:RunInstances", "INT"), ("ec2:RunInstances", "KILL")] {
        let scene = Scene::new(bench);
        let text = std::fs::read_to_string(scene.site.path().join("web.toml")).unwrap();
        scene.site.write("web.toml", &format!("{text}{added}"));
        let code = scene.ended_at_nth(call, 2, true, signal);
        if code.is_none() {
            std::thread::sleep(Duration::from_millis(500));
            scene.site.done(&["prune", "--runs", "--ec2"]);
        }
        assert_eq!(scene.left(), [""; 0], "{signal}: {}", scene.log());
    }
}

#[test]
fn a_build_that_would_make_the_same_is_not_made() {
    let Some(bench) = Bench::start() else { return };
    let scene = Scene::new(bench);
    let text = "[image]\nname = \"web\"\n[base.ami]\nowners = [\"136693071363\"]\nname = \"unlike-others-*\"\n[builder.ec2]\n\
                [ssh]\ntimeout = \"9s\"\n";
    scene.site.write("web.toml", text);
    let disk = scene.site.path().join("disk.raw");
    bench.seed_ami(&disk, REGION, "unlike-others-1");
    let first = scene.build();
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let again = [&BUILD[..], &["--if-changed"]].concat();
    let ran = scene.site.karat(&again);
    assert_eq!(
        (ran.code, &ran.stdout),
        (Some(0), &first.stdout),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("unchanged"), "{}", ran.stderr);

    let (newer, _) = bench.seed_ami(&disk, REGION, "unlike-others-2");
    scene.site.write("web.toml", &text.replace("9s", "1s"));
    let ran = scene.site.karat(&again);
    assert!(
        ran.stderr.contains("the template has changed"),
        "{}",
        ran.stderr
    );
    scene.site.write("web.toml", text);
    let ran = scene.site.karat(&[&again[..], &["--locked"]].concat());
    assert!(ran.stderr.contains("unchanged"), "{}", ran.stderr);
    // Nobody stands in for the instance this time.
    scene.site.write("web.toml", text);
    let ran = scene.site.karat(&again);
    assert!(
        ran.stderr.contains(&format!("{newer} is newer than")),
        "{}",
        ran.stderr
    );
}

#[test]
fn every_call_of_a_build_is_allowed_and_few_others() {
    let Some(bench) = Bench::start() else { return };
    for more in [
        "region = \"us-east-1\"",
        "region = \"us-east-1\"\nspot = true",
    ] {
        let scene = Scene::with(bench, more);
        // One that is made, and two that fail: with an AMI that is registered, and before anybody can log in.
        let denied = "ec2:ModifyImageAttribute";
        scene.account.fault(denied, 0, Fault::Denied);
        let ran = scene.build();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        scene.account.clear();
        assert_eq!(scene.build().code, Some(0));
        let text = std::fs::read_to_string(scene.site.path().join("web.toml")).unwrap();
        let impatient = text.replace("30s", "1s");
        scene.site.write("hasty.toml", &impatient);
        assert_eq!(scene.site.karat(&["build", "hasty.toml"]).code, Some(1));

        let policy = scene.site.done(&["iam-policy", "web.toml"]);
        let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
        let statements = policy["Statement"].as_array().unwrap().iter();
        let sids: BTreeSet<_> = statements.clone().map(|it| it["Sid"].to_string()).collect();
        assert_eq!(sids.len(), statements.len(), "a name is there twice");
        let actions = statements.flat_map(|it| it["Action"].as_array().unwrap());
        let allowed: BTreeSet<_> = actions.map(|it| it.as_str().unwrap().to_owned()).collect();
        let calls = scene.account.calls().into_iter().map(|call| call.name);
        let called: BTreeSet<_> = calls.filter(|it| it != "sts:GetCallerIdentity").collect();
        let missing: Vec<_> = called.difference(&allowed).collect();
        assert!(missing.is_empty(), "{more}: {missing:?}");
        let more_than_that: Vec<_> = allowed.difference(&called).collect();
        // A volume that outlives its instance is rare, and who may launch an AMI is looked at by `karat verify`.
        let expected = ["ec2:DeleteVolume", "ec2:DescribeImageAttribute"];
        assert_eq!(more_than_that, expected, "{more}");
    }
}

#[test]
fn an_instance_is_reached_through_a_session_without_any_port() {
    let Some(bench) = Bench::start() else { return };
    let scene = Scene::new(bench);
    let text = std::fs::read_to_string(scene.site.path().join("web.toml")).unwrap();
    let text = text.replace("[ssh]\n", "[ssh]\ninterface = \"ssm\"\n");
    scene.site.write("web.toml", &text);
    // What the AWS CLI does by way of its plugin, the shell does by its own means here.
    let (address, aws) = (
        scene.site.path().join("address"),
        scene.site.path().join("aws"),
    );
    let script = format!(
        "#!/bin/bash\necho \"$@\" >>'{}'\nexec 3<>/dev/tcp/$(cat '{}')/22 || exit 1\ncat <&3 &\nexec cat >&3\n",
        scene.site.path().join("asked").display(),
        address.display()
    );
    std::fs::write(&aws, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&aws, executable).unwrap();
    let _pretender = Pretender::noting(&scene.account, Some(address));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", scene.site.path().display());
    let output = scene
        .site
        .command(&BUILD)
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    scene.is_published(&said);
    let asked = std::fs::read_to_string(scene.site.path().join("asked")).unwrap();
    assert!(asked.contains("ssm start-session --target i-"), "{asked}");
    assert!(asked.contains("AWS-StartSSHSession"), "{asked}");
    assert_eq!(scene.account.count("ec2:AuthorizeSecurityGroupIngress"), 0);
    let calls = scene.account.calls();
    let mut egress = calls
        .iter()
        .filter(|call| call.name == "ec2:AuthorizeSecurityGroupEgress");
    let egress = &egress.next().expect("the agent gets out to the VPC").form;
    assert_eq!(egress.text("IpPermissions.1.FromPort"), "443");
}

#[test]
fn later_calls_that_are_throttled_or_whose_answers_are_lost_happen_once() {
    let Some(bench) = Bench::start() else { return };
    for call in CALLS {
        for fault in [
            Fault::Throttle,
            Fault::Internal,
            Fault::DropBefore,
            Fault::DropAfter,
        ] {
            let scene = Scene::new(bench);
            scene.account.fault(call, 1, fault.clone());
            let ran = scene.build();
            let about = format!("{call} {fault:?}: {}", ran.stderr);
            assert_eq!(ran.code, Some(0), "{about}");
            scene.is_published(&about);
        }
    }
}

#[test]
fn what_the_caller_may_not_do_later_leaves_nothing() {
    let Some(bench) = Bench::start() else { return };
    // Each waits for minutes in sum for what will not come.
    std::thread::scope(|scope| {
        for call in CALLS {
            scope.spawn(move || may_not(bench, call));
        }
    });
}

fn may_not(bench: &'static Bench, call: &str) {
    let scene = Scene::new(bench);
    scene.account.fault(call, 0, Fault::Denied);
    let ran = scene.build();
    let said = &ran.stderr;
    match call {
        // A short cut, without which the security group is waited for.
        "ec2:ModifyInstanceAttribute" => {
            assert_eq!(ran.code, Some(0), "{said}");
            scene.is_published(call);
        }
        "ec2:TerminateInstances" | "ec2:DeleteSecurityGroup" => {
            assert!(said.contains("is left over"), "{call}: {said}");
            assert!(said.contains("aws ec2 "), "{call}: {said}");
        }
        _ => {
            assert_eq!(ran.code, Some(1), "{call}: {said}");
            assert!(said.contains(call), "{call}: {said}");
            assert_eq!(scene.left(), [""; 0], "{call}: {said}");
        }
    }
    if call == "ec2:RegisterImage" {
        assert!(
            said.contains("is recorded, but no AMI was registered"),
            "{said}"
        );
        assert!(said.contains("karat publish "), "{said}");
    }
}

#[test]
fn a_snapshot_or_an_image_that_fails_is_told_and_removed() {
    let Some(bench) = Bench::start() else { return };
    for call in ["ec2:CreateSnapshot", "ec2:RegisterImage"] {
        let scene = Scene::new(bench);
        scene.account.fault(call, 1, Fault::Fails);
        let ran = scene.build();
        assert_eq!(ran.code, Some(1), "{call}: {}", ran.stderr);
        assert_eq!(scene.left(), [""; 0], "{call}: {}", ran.stderr);
    }
}

#[test]
fn a_build_that_is_ended_in_a_later_call_leaves_nothing() {
    let Some(bench) = Bench::start() else { return };
    for call in CALLS
        .iter()
        .filter(|call| **call != "ec2:ModifyImageAttribute")
    {
        for after in [false, true] {
            let scene = Scene::new(bench);
            let code = scene.ended_at(call, after, "INT");
            let said = scene.log();
            assert_eq!(code, Some(130), "{call}, after {after}: {said}");
            assert_eq!(scene.left(), [""; 0], "{call}, after {after}: {said}");
        }
    }
}

#[test]
fn what_a_build_left_that_was_killed_in_a_later_call_is_removed() {
    let Some(bench) = Bench::start() else { return };
    for call in CALLS {
        for after in [false, true] {
            let scene = Scene::new(bench);
            let code = scene.ended_at(call, after, "KILL");
            assert_eq!(code, None, "{call}, after {after}: {}", scene.log());
            // A call that was on its way is carried out all the same.
            std::thread::sleep(Duration::from_millis(500));
            let ran = scene.site.karat(&["prune", "--runs", "--ec2"]);
            assert_eq!(ran.code, Some(0), "{call}, after {after}: {ran:?}");
            assert_eq!(scene.left(), [""; 0], "{call}, after {after}: {ran:?}");
        }
    }
}

#[test]
fn nothing_is_built_on_an_ami_of_an_image_that_is_revoked() {
    let Some(bench) = Bench::start() else { return };
    let scene = Scene::new(bench);
    let ran = scene.build();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let left = scene.left();
    let image = left.iter().find(|line| line.contains(" image ")).unwrap();
    let ami = image.rsplit(' ').next().unwrap();
    let id = ran.stdout.trim();
    scene.site.done(&[
        "revoke",
        id,
        "--reason",
        "a backdoor",
        "--key",
        "config/karat/key",
    ]);
    let text = format!("[image]\nname = \"next\"\n[base.ami]\nid = \"{ami}\"\n[builder.ec2]\n");
    scene.site.write("web.toml", &text);
    let launched = scene.account.count("ec2:RunInstances");
    let ran = scene.site.karat(&BUILD);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("a backdoor"), "{ran:?}");
    assert_eq!(scene.account.count("ec2:RunInstances"), launched);
}
