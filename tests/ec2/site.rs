//! A scratch directory with a store, and the real binary in an AWS account of the bench.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::bench::Account;

pub const MIB: u64 = 1 << 20;

/// What a test works in.
pub struct Site {
    scratch: TempDir,
    environment: Vec<(String, String)>,
}

/// What a run of karat has done.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Site {
    pub fn new(account: &Account) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let environment = account.environment().into_iter();
        let site = Self {
            scratch,
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        };
        site.done(&["keys", "generate"]);
        site.done(&["keys", "trust", "ci", "config/karat/key.pub"]);
        site
    }

    /// The same, on another machine or in another account.
    pub fn copy(&self, account: &Account) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let copied = Command::new("cp")
            .args(["-a", "--sparse=always"])
            .arg(self.path().join("."))
            .arg(scratch.path())
            .status();
        assert!(copied.unwrap().success());
        let environment = account.environment().into_iter();
        Self {
            scratch,
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        }
    }

    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// The real binary, which sees nothing of this machine's settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_karat"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("XDG_CONFIG_HOME", self.path().join("config"))
            .env("KARAT_CACHE", self.path().join("cache"))
            .env("KARAT_STORE", self.path().join("store"))
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command
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

    /// A raw disk whose MiB are filled with these values at their beginning and end.
    pub fn disk(&self, size: u64, data: &[(u64, u8)]) -> PathBuf {
        let path = self.path().join("disk.raw");
        let file = File::create(&path).unwrap();
        file.set_len(size).unwrap();
        for (at, value) in data {
            file.write_all_at(&[*value; 4096], at * MIB).unwrap();
        }
        path
    }

    pub fn write(&self, name: &str, text: &str) {
        let mut file = File::create(self.path().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
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
