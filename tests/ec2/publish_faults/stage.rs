//! A store with an image, of which every case gets a copy and an account of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::bench::{Account, Bench};
use crate::site::{MIB, Ran, Site};

/// karat waits for the bench more than it computes.
const WORKERS: usize = 4;
/// How long things are pending when there is time for that; karat looks again after a second.
const PENDING: Duration = Duration::from_millis(300);
/// A template that has every call made that a publication can make.
const TEMPLATE: &str = "[image]\nname = \"web\"\n[publish.ec2]\nregions = [\"us-east-1\"]\n\
    accounts = [\"123456789012\"]\ndeprecate_after = \"30d\"\nprotect = true\n";

/// What cases are made of.
pub struct Stage {
    bench: &'static Bench,
    site: Site,
    pub id: String,
    second: String,
    delay: Duration,
}

/// A store and an account.
pub struct Case {
    pub account: Account,
    pub site: Site,
    id: String,
}

impl Stage {
    pub fn new() -> Option<Self> {
        let bench = Bench::start()?;
        let site = Site::new(&bench.account());
        site.write("ec2.toml", TEMPLATE);
        let id = site.import("web", 64 * MIB, &[(0, 1), (7, 2)]);
        let second = site.import("web", 64 * MIB, &[(0, 1), (9, 2)]);
        std::fs::remove_file(site.path().join("disk.raw")).unwrap();
        let soaks = std::env::var_os("KARAT_SOAK_ROUNDS").is_some();
        let delay = if soaks { PENDING } else { Duration::ZERO };
        Some(Self {
            bench,
            site,
            id,
            second,
            delay,
        })
    }

    pub fn case(&self) -> Case {
        let account = self.bench.account();
        account.delay(self.delay);
        let site = self.site.copy(&account);
        let id = self.id.clone();
        Case { account, site, id }
    }

    /// The calls of a publication without faults, in their order.
    pub fn calls(&self) -> Vec<String> {
        let case = self.case();
        let ran = case.publish();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let calls = case.account.calls().into_iter();
        calls.map(|call| call.name).collect()
    }

    /// Those calls, each once.
    pub fn distinct_calls(&self) -> Vec<String> {
        let mut calls = self.calls();
        calls.sort();
        calls.dedup();
        calls
    }
}

impl Case {
    pub fn arguments(&self) -> [&str; 5] {
        ["publish", &self.id, "--template", "ec2.toml", "--verify"]
    }

    pub fn publish(&self) -> Ran {
        self.site.karat(&self.arguments())
    }

    /// Publishes in a process whose id `pid` has as soon as there is one.
    pub fn publish_as(&self, pid: &AtomicU32) -> Ran {
        let mut command = self.site.command(&self.arguments());
        let piped = std::process::Stdio::piped;
        let child = command.stdout(piped()).stderr(piped()).spawn().unwrap();
        pid.store(child.id(), Ordering::SeqCst);
        Ran::of(child.wait_with_output().unwrap())
    }

    /// Goes on with the image that differs a little from the first one, which is published already.
    pub fn second(mut self, stage: &Stage) -> Self {
        let ran = self.publish();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        self.id.clone_from(&stage.second);
        self
    }

    /// Fails unless there is just one AMI, of the one snapshot.
    pub fn is_published(&self) {
        self.are_published(1);
    }

    /// Fails unless there are just so many AMIs, each of a snapshot.
    pub fn are_published(&self, count: usize) {
        let left = self.account.left();
        let kinds: Vec<_> = left
            .iter()
            .map(|line| line.split(' ').nth(1).unwrap())
            .collect();
        let expected = ["image", "snapshot"].map(|kind| vec![kind; count]).concat();
        assert_eq!(kinds, expected, "{left:?}");
    }
}

/// Has all cases looked at, several at a time; tells which of them have failed.
pub fn each<T: std::fmt::Debug + Send>(cases: Vec<T>, look: impl Fn(&T) + Sync) {
    let count = cases.len();
    let (cases, failed) = (Mutex::new(cases), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().unwrap().pop();
                    let Some(case) = next else { return };
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| look(&case))) {
                        let text = panic.downcast_ref::<String>().cloned();
                        let text = text.unwrap_or_else(|| "it panicked".to_owned());
                        failed.lock().unwrap().push(format!("{case:?}: {text}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {count} cases:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
