//! An account whose instances are guests, and what lets us in.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::bench::{Account, Bench};

/// From power on to SSH, emulated, with another compilation beside it.
const BOOT_LIMIT: Duration = Duration::from_mins(8);

/// A scratch directory with keys, user data that lets them in, and an account whose instances are guests.
pub struct Scene {
    bench: &'static Bench,
    pub account: Account,
    scratch: tempfile::TempDir,
    host_key: String,
}

/// An instance that lets us in.
pub struct Guest<'a> {
    scene: &'a Scene,
    pub id: String,
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
    pub fn new(bench: &'static Bench) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (login, host_key) = (key(scratch.path(), "login"), key(scratch.path(), "host"));
        let private = fs::read_to_string(scratch.path().join("host")).unwrap();
        let config = serde_json::json!({
            "disable_root": false,
            "ssh_keys": {"ed25519_private": private, "ed25519_public": host_key},
            // The image's own user gets the key pair that the instance was launched with.
            "users": ["default", {"name": "root", "lock_passwd": false, "ssh_authorized_keys": [login]}],
        });
        let data = format!("#cloud-config\n{config}\n");
        fs::write(scratch.path().join("user-data"), data).unwrap();
        let pair = key(scratch.path(), "pair");
        let account = bench.account();
        account.boot_guests();
        let lines = format!("ec2.import_key_pair(KeyName='pair', PublicKeyMaterial=b'{pair}')");
        bench.python(&account, &lines);
        Self {
            bench,
            account,
            scratch,
            host_key,
        }
    }

    /// For files of the test's own.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub fn python(&self, lines: &str) -> String {
        self.bench.python(&self.account, lines)
    }

    /// Starts an instance with the key pair `pair`, and waits until it lets us in.
    pub fn run(&self, ami: &str, more: &str) -> Guest<'_> {
        let data = self.scratch.path().join("user-data");
        let lines = format!(
            "id = run('{ami}', KeyName='pair', UserData=open('{}').read(), {more})['InstanceId']\n\
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
    /// As root, with the key of the user data.
    pub fn ssh(&self, command: &str) -> Output {
        self.ssh_as("root", "login", command)
    }

    /// As somebody, with a key of the scratch directory.
    pub fn ssh_as(&self, user: &str, key: &str, command: &str) -> Output {
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
            .args(["-i", &format!("{scratch}/{key}")])
            .arg(format!("{user}@{}", self.address))
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

    pub fn says(&self, command: &str) -> String {
        let output = self.ssh(command);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {stderr}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
