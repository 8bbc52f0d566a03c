//! A site with a store and run directories of its own beside the shared cache, for real builds.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use karat::fetch::Cache;

use crate::support::site;

pub struct Site(site::Site);

impl Site {
    pub fn new() -> Self {
        let site = Self::without_bases();
        // Bases and downloads are shared between tests and runs; run directories are this test's own.
        let shared = Cache::of_user().unwrap().root().to_owned();
        std::fs::create_dir(site.path("cache")).unwrap();
        for name in ["bootstrap", "known"] {
            std::fs::create_dir_all(shared.join(name)).unwrap();
            std::os::unix::fs::symlink(shared.join(name), site.path("cache").join(name)).unwrap();
        }
        site
    }

    /// Creates a site with an empty cache, which has no base yet.
    pub fn without_bases() -> Self {
        Self(site::Site::inheriting())
    }

    pub fn runs(&self) -> PathBuf {
        self.path("cache/runs")
    }

    pub fn karat<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = self.command(&arguments);
        command
            .env("KARAT_CACHE", self.path("cache"))
            .env("KARAT_STORE", self.path("store"))
            // Keeps the user's database of vulnerabilities out of the scans.
            .env("XDG_DATA_HOME", self.path("data"))
            // Keeps the user's keys from signing.
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env_remove("KARAT_KEY")
            .env_remove("KARAT_DB")
            .env_remove("TOKEN");
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
        self.0.spawn(self.karat(arguments))
    }

    /// Waits until a spawned build is in this phase. The first test on a machine may have to make the base first.
    pub fn wait_for_phase(&self, build: &mut Child, name: &str) {
        let started = Instant::now();
        // Steps and tests have a number in front of their name.
        let is_begun = |line: &str| line.starts_with("==> ") && line.ends_with(&format!(" {name}"));
        while !self.log().lines().any(is_begun) {
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

    /// Asserts that no guest, run directory, lock or unfinished file is left.
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

impl Deref for Site {
    type Target = site::Site;
    fn deref(&self) -> &site::Site {
        &self.0
    }
}

/// Counts the QEMU processes that work in a run directory below `runs`.
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
