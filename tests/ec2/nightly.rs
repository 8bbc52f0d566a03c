//! `examples/ami-nightly`: a green night, a red one, and a green one again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::{Account, Bench};
use crate::site::Site;

/// Of the example's channels.
const REGION: &str = "eu-central-1";
/// What a scan asks for, with one vulnerability that the images do not have.
const VULNERABILITY: &str = r#"{"id": "DEBIAN-CVE-2026-0001", "modified": "2026-01-31T12:00:00Z", "upstream": ["CVE-2026-0001"],
    "affected": [{"package": {"ecosystem": "Debian:12", "name": "nginx"},
    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.22.1-9"}]}]}]}"#;
/// Tells what it was asked, and says no when there is a file `red`.
const SMOKE: &str = "#!/bin/sh\necho \"$@\" >>\"$HOME/asked\"\ntest ! -e \"$HOME/red\"\n";

/// The machine on which the job runs.
struct Runner<'a> {
    bench: &'a Bench,
    account: Account,
    site: Site,
}

impl<'a> Runner<'a> {
    fn new(bench: &'a Bench) -> Self {
        let account = bench.account();
        let site = Site::new(&account);
        site.write("osv.json", VULNERABILITY);
        site.done(&["db", "import", "osv.json"]);
        site.write("smoke", SMOKE);
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(site.path().join("smoke"), executable).unwrap();
        let rules = site.path().join("store/channels/ami-web");
        fs::create_dir_all(&rules).unwrap();
        for name in ["candidate.toml", "stable.toml"] {
            fs::copy(
                project("examples/ami-nightly/channels").join(name),
                rules.join(name),
            )
            .unwrap();
        }
        let template = format!(
            "client('ec2', '{REGION}').create_launch_template(LaunchTemplateName='ami-web', LaunchTemplateData={{'InstanceType': 't3.micro'}})"
        );
        bench.python(&account, &template);
        Self {
            bench,
            account,
            site,
        }
    }

    /// One night's job with a disk of its own; its exit code and the AMI that it tried.
    fn night(&self, content: &str) -> (Option<i32>, String) {
        self.make_disk(content);
        self.job()
    }

    fn job(&self) -> (Option<i32>, String) {
        let karat = self.site.command(&[]);
        let variables = karat
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        let output = Command::new(project("examples/ami-nightly/nightly.sh"))
            .arg(project("templates/ami-web.toml"))
            .current_dir(self.site.path())
            .env_clear()
            .envs(variables)
            .env("KARAT", env!("CARGO_BIN_EXE_karat"))
            .env("KARAT_NIGHTLY_IMAGE", self.disk())
            .env("KARAT_NIGHTLY_SMOKE", self.site.path().join("smoke"))
            .env("AWS_REGION", REGION)
            .output()
            .unwrap();
        let (out, error) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        let asked = fs::read_to_string(self.site.path().join("asked")).unwrap_or_default();
        let last = asked.lines().last().unwrap_or_default();
        let ami = last.strip_prefix(&format!("{REGION} "));
        let ami = ami.unwrap_or_else(|| panic!("nothing was tried: {out}{error}"));
        assert!(out.contains(ami), "{out}{error}");
        assert!(!error.contains("prune failed"), "{error}");
        (output.status.code(), ami.to_owned())
    }

    fn disk(&self) -> PathBuf {
        self.site.path().join("night.raw")
    }

    /// A small file system with a package database and some content.
    fn make_disk(&self, content: &str) {
        let root = self.site.path().join("root");
        for directory in ["etc", "usr/lib", "var/lib/dpkg"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        let release = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";
        fs::write(root.join("etc/os-release"), release).unwrap();
        let package = "Package: nginx\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.22.1-9\nMaintainer: x\nDescription: x\n\n";
        fs::write(root.join("var/lib/dpkg/status"), package).unwrap();
        fs::write(root.join("usr/lib/content"), content).unwrap();
        let disk = self.disk();
        let _none_yet = fs::remove_file(&disk);
        let made = Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-b", "4096", "-d"])
            .args([&root, &disk])
            .arg("8M")
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    /// What the parameters of candidate and stable, and the launch template, name.
    fn names(&self) -> Vec<String> {
        let lines = format!(
            "ssm, ec2 = client('ssm', '{REGION}'), client('ec2', '{REGION}')\n\
             for channel in ['candidate', 'stable']:\n\
             \x20   print(ssm.get_parameter(Name='/golden/ami-web/' + channel)['Parameter']['Value'])\n\
             data = ec2.describe_launch_template_versions(LaunchTemplateName='ami-web', Versions=['$Default'])\n\
             print(data['LaunchTemplateVersions'][0]['LaunchTemplateData']['ImageId'])"
        );
        let printed = self.bench.python(&self.account, &lines);
        printed.lines().map(str::to_owned).collect()
    }
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn a_green_night_moves_stable_and_a_red_one_moves_nothing() {
    let Some(bench) = Bench::start() else { return };
    let runner = Runner::new(bench);
    let (code, first) = runner.night("first");
    assert_eq!(code, Some(0));
    assert_eq!(runner.names(), [&*first, &first, &first]);

    runner.site.write("red", "");
    let (code, second) = runner.night("second");
    assert_eq!(code, Some(1));
    assert_ne!(first, second);
    assert_eq!(runner.names(), [&*first, &first, &first]);
    let history = runner.site.done(&["history", "ami-web/candidate"]);
    let last = history.lines().next().unwrap_or_default();
    assert!(last.contains("the smoke test failed"), "{history}");

    fs::remove_file(runner.site.path().join("red")).unwrap();
    let (code, third) = runner.night("third");
    assert_eq!(code, Some(0));
    assert_eq!(runner.names(), [&*third, &third, &third]);
    runner
        .site
        .done(&["verify", "ami-web/stable", "--ec2", "--by", "ci"]);

    // Nothing is new and the smoke test fails: there is no move to take back.
    runner.site.write("red", "");
    assert_eq!(runner.job(), (Some(1), third.clone()));
    assert_eq!(runner.names(), [&*third, &third, &third]);
}
