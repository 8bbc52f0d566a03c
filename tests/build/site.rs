//! A scratch directory with the real binary, a store of its own, and run directories of its own beside the shared cache.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use karat::fetch::Cache;

pub struct Site {
    scratch: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Self {
        let site = Self {
            scratch: tempfile::tempdir().unwrap(),
        };
        // Bases and downloads are shared between tests and runs; run directories are this test's own.
        let shared = Cache::of_user().unwrap().root().to_owned();
        std::fs::create_dir(site.path("cache")).unwrap();
        for name in ["bootstrap", "known"] {
            std::fs::create_dir_all(shared.join(name)).unwrap();
            std::os::unix::fs::symlink(shared.join(name), site.path("cache").join(name)).unwrap();
        }
        site
    }

    /// One whose base has to be made first.
    pub fn without_bases() -> Self {
        Self {
            scratch: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn runs(&self) -> PathBuf {
        self.path("cache/runs")
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn karat<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_karat"));
        command.args(arguments).current_dir(self.scratch.path());
        command
            .env("KARAT_CACHE", self.path("cache"))
            .env("KARAT_STORE", self.path("store"))
            // A database of vulnerabilities on this machine would have a say otherwise.
            .env("XDG_DATA_HOME", self.path("data"))
            // And a key of whoever runs the tests would sign.
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env_remove("KARAT_KEY")
            .env_remove("KARAT_DB")
            .env_remove("TOKEN");
        command.stdin(Stdio::null());
        command
    }

    /// Runs a verb that must succeed.
    pub fn stdout<const N: usize>(&self, arguments: [&str; N]) -> String {
        let output = self.karat(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn spawn<const N: usize>(&self, arguments: [&str; N]) -> Child {
        let log = std::fs::File::create(self.path("log")).unwrap();
        self.karat(arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap()
    }

    /// What a build that was spawned has said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until a build that was spawned is in this phase. Making the base may come first, when this is the first test
    /// on a machine.
    pub fn wait_for_phase(&self, build: &mut Child, name: &str) {
        let started = Instant::now();
        while !self.log().contains(&format!("==> {name}\n")) {
            if let Some(status) = build.try_wait().unwrap() {
                panic!("ended before {name:?} ({status}): {}", self.log());
            }
            assert!(
                started.elapsed() < Duration::from_mins(30),
                "no phase {name:?}: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// No guest, no run directory, no lock, no half-written file.
    pub fn assert_nothing_left(&self) {
        assert_eq!(guests_in(&self.runs()), 0, "a guest is left");
        let left: Vec<_> = std::fs::read_dir(self.runs())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(left.is_empty(), "left: {left:?}");
    }
}

/// How many QEMU processes work in a run directory below `runs`.
pub fn guests_in(runs: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let cwd = std::fs::read_link(process.path().join("cwd")).unwrap_or_default();
            name.starts_with("qemu-system") && cwd.starts_with(runs)
        })
        .count()
}

/// Sends a signal to a build, or to its whole process group as a terminal does.
pub fn signal(child: &Child, name: &str, to_group: bool) {
    let target = format!("{}{}", if to_group { "-" } else { "" }, child.id());
    let status = Command::new("kill")
        .args(["-s", name, "--", &target])
        .status()
        .unwrap();
    assert!(status.success());
}
