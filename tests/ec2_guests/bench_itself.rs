//! The bench's instances: cloud-init takes them for EC2's, and an image made of one boots again.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::bench::{Account, Bench};
use crate::shared;

/// From power on to SSH, emulated, with another compilation beside it.
const BOOT_LIMIT: Duration = Duration::from_mins(8);

/// A scratch directory with keys, user data that lets them in, and an account whose instances are guests.
struct Scene {
    bench: &'static Bench,
    account: Account,
    scratch: tempfile::TempDir,
    host_key: String,
}

/// An instance that lets us in.
struct Guest<'a> {
    scene: &'a Scene,
    id: String,
    address: String,
}

/// Makes a key pair in a directory; its public line.
fn key(directory: &Path, name: &str) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", name])
        .current_dir(directory)
        .status();
    assert!(made.unwrap().success());
    let public = fs::read_to_string(directory.join(format!("{name}.pub"))).unwrap();
    public.trim().to_owned()
}

impl Scene {
    fn new(bench: &'static Bench) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (login, host_key) = (key(scratch.path(), "login"), key(scratch.path(), "host"));
        let private = fs::read_to_string(scratch.path().join("host")).unwrap();
        let config = serde_json::json!({
            "disable_root": false,
            "ssh_keys": {"ed25519_private": private, "ed25519_public": host_key},
            "users": [{"name": "root", "lock_passwd": false, "ssh_authorized_keys": [login]}],
        });
        let data = format!("#cloud-config\n{config}\n");
        fs::write(scratch.path().join("user-data"), data).unwrap();
        let account = bench.account();
        account.boot_guests();
        Self {
            bench,
            account,
            scratch,
            host_key,
        }
    }

    fn python(&self, lines: &str) -> String {
        self.bench.python(&self.account, lines)
    }

    /// Starts an instance and waits until it lets us in.
    fn run(&self, ami: &str, more: &str) -> Guest<'_> {
        let data = self.scratch.path().join("user-data");
        let lines = format!(
            "id = run('{ami}', UserData=open('{}').read(), {more})['InstanceId']\n\
             wait('the guest', lambda: state(id) == 'running', 60)\n\
             print(id, instance(id)['PublicIpAddress'])",
            data.display()
        );
        let said = self.python(&lines);
        let (id, address) = said.split_once(' ').unwrap();
        let known = format!("{address} {}\n", self.host_key);
        fs::write(self.scratch.path().join("known"), known).unwrap();
        let guest = Guest {
            scene: self,
            id: id.to_owned(),
            address: address.to_owned(),
        };
        guest.wait();
        guest
    }
}

impl Guest<'_> {
    fn ssh(&self, command: &str) -> Output {
        let scratch = self.scene.scratch.path().display();
        Command::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "ConnectTimeout=20",
            ])
            .args(["-o", &format!("UserKnownHostsFile={scratch}/known")])
            .args(["-i", &format!("{scratch}/login")])
            .arg(format!("root@{}", self.address))
            .arg(command)
            .output()
            .unwrap()
    }

    fn wait(&self) {
        let start = Instant::now();
        while !self.ssh("true").status.success() {
            let console = self.scene.account.console(&self.id);
            assert!(start.elapsed() < BOOT_LIMIT, "nobody is let in: {console}");
            std::thread::sleep(Duration::from_secs(2));
        }
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("{}: SSH after {seconds:.1} s", self.id);
    }

    fn says(&self, command: &str) -> String {
        let output = self.ssh(command);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {stderr}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

#[tokio::test]
async fn an_image_boots_and_an_image_made_of_it_boots_again() {
    let Some(bench) = Bench::start_with_guests() else {
        return;
    };
    let scene = Scene::new(bench);
    let base = shared::make(&shared::cache(), scene.scratch.path()).await;
    let (ami, _) = bench.seed_ami(&base, "us-east-1", "debian-12-amd64");
    let disk = "SecurityGroupIds=[open_group()], BlockDeviceMappings=[{'DeviceName': '/dev/xvda', 'Ebs': {'VolumeSize': 4}}]";
    let guest = scene.run(&ami, disk);
    cloud_init_takes_it_for_one_of_ec2(&guest);

    // What is written is in the image that is made of it; the guest powers off for that by itself.
    guest.says("echo golden >/var/lib/mark; sync");
    let id = &guest.id;
    let lines = format!(
        "ec2.stop_instances(InstanceIds=['{id}'])\n\
         wait('the stop', lambda: state('{id}') == 'stopped', 120)\n\
         volume = instance('{id}')['BlockDeviceMappings'][0]['Ebs']['VolumeId']\n\
         snapshot = ec2.create_snapshot(VolumeId=volume)['SnapshotId']\n\
         wait('the snapshot', lambda: status(snapshot) == 'completed', 120)\n\
         ec2.terminate_instances(InstanceIds=['{id}'])\n\
         print(available('web', snapshot))"
    );
    let golden = scene.python(&lines);
    assert!(
        !guest.ssh("true").status.success(),
        "a terminated guest is gone"
    );
    let more = "InstanceInitiatedShutdownBehavior='terminate', SecurityGroups=['open']";
    let next = scene.run(&golden, more);
    assert_eq!(next.says("cat /var/lib/mark"), "golden");
    assert_eq!(next.says("cloud-init query v1.instance_id"), next.id);

    // It ends by itself, and its console was kept.
    next.ssh("systemctl poweroff");
    let id = &next.id;
    let lines = format!(
        "wait('the end', lambda: state('{id}') == 'terminated', 120)\n\
         print(ec2.get_console_output(InstanceId='{id}')['Output'])"
    );
    let console = scene.python(&lines);
    assert!(console.contains("Cloud-init v."), "{console}");
    let mut left = scene.account.left();
    left.retain(|line| !line.contains(" image ") && !line.contains(" snapshot "));
    assert_eq!(left, ["us-east-1 security group open"]);
}

fn cloud_init_takes_it_for_one_of_ec2(guest: &Guest) {
    // It warns about the configuration that the test wrote, by its exit code too.
    guest.ssh("cloud-init status --wait");
    for (query, expected) in [
        ("cloud_name", "aws"),
        ("platform", "ec2"),
        ("v1.instance_id", &guest.id),
        ("region", "us-east-1"),
    ] {
        assert_eq!(
            guest.says(&format!("cloud-init query {query}")),
            expected,
            "{query}"
        );
    }
    let ask = "import urllib.request as r; r.urlopen('http://169.254.169.254/latest/meta-data/')";
    let asked = guest.ssh(&format!("python3 -c \"{ask}\""));
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(said.contains("401"), "a token is required: {said}");
    let bytes: u64 = guest.says("lsblk -bdno SIZE /dev/vda").parse().unwrap();
    assert_eq!(bytes >> 30, 4, "the disk is as large as asked for");
}
