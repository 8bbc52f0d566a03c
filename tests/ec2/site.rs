//! A site in an AWS account of the bench.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::bench::Account;
use crate::support::site;

pub const MIB: u64 = 1 << 20;

/// A site with a store, a key, and credentials of an account.
pub struct Site(site::Site);

/// Result of a run of karat.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Site {
    pub fn new(account: &Account) -> Self {
        let site = Self::in_account(account);
        site.done(&["keys", "generate", "--comment", "ci"]);
        site
    }

    /// Copies the site to another machine or into another account.
    pub fn copy(&self, account: &Account) -> Self {
        let copy = Self::in_account(account);
        let copied = Command::new("cp")
            .args(["-a", "--sparse=always"])
            .arg(self.path().join("."))
            .arg(copy.path())
            .status();
        assert!(copied.unwrap().success());
        copy
    }

    fn in_account(account: &Account) -> Self {
        let mut site = site::Site::new();
        let root = site.root().to_owned();
        site.set("PATH", std::env::var_os("PATH").unwrap_or_default());
        site.set("HOME", &root);
        for (name, directory) in [
            ("XDG_CONFIG_HOME", "config"),
            ("KARAT_CACHE", "cache"),
            ("KARAT_STORE", "store"),
        ] {
            site.set(name, root.join(directory));
        }
        for (name, value) in account.environment() {
            site.set(name, value);
        }
        Self(site)
    }

    pub fn path(&self) -> &Path {
        self.0.root()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.0.command(arguments)
    }

    pub fn write(&self, name: &str, text: &str) {
        self.0.write(name, text);
    }

    pub fn karat(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Runs what has to succeed; what it printed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let ran = self.karat(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        ran.stdout
    }

    /// Stores a raw disk with some bytes at some MiB; its id.
    pub fn import(&self, name: &str, size: u64, data: &[(u64, u8)]) -> String {
        let path = self.disk(size, data);
        let id = self.done(&[
            "import",
            path.to_str().unwrap(),
            "--name",
            name,
            "--arch",
            "x86_64",
            "--firmware",
            "bios",
        ]);
        let id = id.trim().to_owned();
        self.done(&["sign", &id]);
        id
    }

    /// A raw disk with a boot signature whose MiB are filled with these values at their beginning and end.
    pub fn disk(&self, size: u64, data: &[(u64, u8)]) -> PathBuf {
        let path = self.path().join("disk.raw");
        let file = File::create(&path).unwrap();
        file.set_len(size).unwrap();
        for (at, value) in data {
            file.write_all_at(&[*value; 4096], at * MIB).unwrap();
        }
        // The boot signature, without which a disk is not imported.
        file.write_all_at(&[0x55, 0xaa], 510).unwrap();
        path
    }
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let code = output.status.code();
        let [stdout, stderr] = site::texts(output);
        Self {
            code,
            stdout,
            stderr,
        }
    }

    /// The AMIs that `karat publish` has printed.
    pub fn images(&self) -> Vec<String> {
        let lines = self.stdout.lines();
        lines
            .filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned()))
            .collect()
    }
}
