//! `karat build` with `[builder.host]`: real processes at a real sshd. Several builds at once, and builds that are stopped.

mod ci;
mod events;
mod log;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;

use std::fs;
use std::ops::Deref;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use support::site::{self, signal};
use support::sshd::Sshd;

/// A build that is asked to stop has ten seconds for it.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// For what takes well under a second on an idle machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A scratch directory with the real binary, and the host to provision: this machine, through a sshd of the test's own.
struct Site {
    site: site::Site,
    sshd: Sshd,
}

impl Site {
    fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests start a sshd that root logs in to: run them as root"
        );
        Self {
            site: site::Site::inheriting(),
            sshd: Sshd::start(),
        }
    }

    /// Writes `<name>.toml`, whose one step runs these lines; `$D` is the scratch directory there.
    fn template(&self, name: &str, lines: &str) {
        let root = self.root().display();
        let step = format!(
            "[[provision]]\nname = \"work\"\nshell = {{ inline = ['D={root}', '''{lines}'''] }}\n"
        );
        self.template_of(name, &step);
    }

    /// Writes `<name>.toml` with these tables after those of the host. Returns its text.
    fn template_of(&self, name: &str, tables: &str) -> String {
        let text = format!(
            "[image]\nname = \"{name}\"\n[builder.host]\naddress = \"127.0.0.1\"\nport = {}\nhost_key = \"{}\"\n\
             [ssh]\nkey_file = \"{}\"\n{tables}",
            self.sshd.port(),
            self.sshd.host_key().trim(),
            self.sshd.login_key().display(),
        );
        self.write(&format!("{name}.toml"), &text);
        text
    }

    /// Returns a command with the site's cache and store, outside of any CI service.
    fn karat(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command
            .env("KARAT_CACHE", self.path("cache"))
            .env("KARAT_STORE", self.path("store"))
            .env_remove("GITHUB_ACTIONS")
            .env_remove("GITLAB_CI");
        command
    }

    /// Runs karat. Returns exit code, stdout and stderr.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = self.karat(arguments).output().unwrap();
        let code = output.status.code();
        let [stdout, stderr] = site::texts(output);
        (code, stdout, stderr)
    }

    /// Starts a build in its own process group, with stderr in `log`.
    fn build(&self, jobs: &str, templates: &[&str]) -> Build {
        let mut command = self.karat(&["build", "--jobs", jobs]);
        command.args(templates.iter().map(|name| format!("{name}.toml")));
        Build(self.spawn(command))
    }

    fn wait_for(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_for_file(&self, name: &str) {
        self.wait_for(&format!("{name} is made"), || self.path(name).exists());
    }

    /// The process that a step has written the id of is gone, and no run directory is left.
    fn assert_nothing_left(&self, pids: &[&str]) {
        for name in pids {
            let pid = fs::read_to_string(self.path(name)).unwrap();
            self.wait_for(&format!("the process of {name} has ended"), || {
                !lives(pid.trim())
            });
        }
        let left = fs::read_dir(self.path("cache/runs")).into_iter().flatten();
        assert_eq!(left.count(), 0, "a run directory is left");
    }
}

impl Deref for Site {
    type Target = site::Site;
    fn deref(&self) -> &site::Site {
        &self.site
    }
}

/// A running build; killed when a test gives up on it.
struct Build(Child);

impl Build {
    fn signal(&self, name: &str, to_group: bool) {
        signal(&self.0, name, to_group);
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn lives(pid: &str) -> bool {
    // A zombie has ended; only its parent has not looked yet.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn one_stuck_build_does_not_block_four_others_and_cancelling_stops_it() {
    let site = Site::new();
    site.template("stuck", "echo $$ >$D/stuck.pid; sleep 600");
    let quick = ["a", "b", "c", "d"];
    for name in quick {
        site.template(name, &format!("touch $D/{name}.done"));
    }
    let mut build = site.build("5", &["stuck", "a", "b", "c", "d"]);
    for name in quick {
        site.wait_for(&format!("{name} is provisioned"), || {
            site.log().contains(&format!("{name}: provisioned"))
        });
    }
    site.wait_for_file("stuck.pid");
    assert!(build.is_running(), "{}", site.log());

    let asked = Instant::now();
    build.signal("INT", false);
    assert_eq!(build.wait().code(), Some(130), "{}", site.log());
    assert!(asked.elapsed() < STOP_LIMIT, "{:?}", asked.elapsed());
    site.assert_nothing_left(&["stuck.pid"]);
}

#[test]
fn no_more_builds_run_at_once_than_are_allowed() {
    for jobs in [1, 3] {
        let site = Site::new();
        let names = ["a", "b", "c", "d", "e", "f"];
        for name in names {
            // Each waits until as many run as may, so that the limit is reached, and counts those that it sees.
            let lines = format!(
                "mkdir -p $D/running; touch $D/running/{name}; n=0\n\
                 while [ $(ls $D/running | wc -l) -lt {jobs} ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done\n\
                 sleep 0.3; ls $D/running | wc -l >$D/{name}.seen; rm $D/running/{name}"
            );
            site.template(name, &lines);
        }
        let mut build = site.build(&jobs.to_string(), &names);
        assert!(build.wait().success(), "{}", site.log());
        let seen = names.map(|name| {
            let text = fs::read_to_string(site.path(&format!("{name}.seen"))).unwrap();
            text.trim().parse::<u32>().unwrap()
        });
        assert_eq!(seen.iter().max(), Some(&jobs), "{seen:?}");
    }
}

#[test]
fn one_failure_leaves_the_others_alone() {
    let site = Site::new();
    site.template("bad", "exit 3");
    for name in ["good", "fine"] {
        site.template(name, &format!("sleep 0.5; touch $D/{name}.done"));
    }
    let mut build = site.build("3", &["bad", "good", "fine"]);
    assert_eq!(build.wait().code(), Some(1), "{}", site.log());
    assert!(site.path("good.done").exists() && site.path("fine.done").exists());
    assert!(site.log().contains("exit code 3"), "{}", site.log());
}

#[test]
fn every_way_to_stop_a_build_leaves_nothing() {
    for (signals, to_group, code) in [
        (&["INT"][..], false, Some(130)),
        (&["INT"], true, Some(130)),
        (&["TERM"], false, Some(130)),
        (&["HUP"], false, Some(130)),
        (&["INT", "INT"], false, Some(130)),
        (&["KILL"], false, None),
    ] {
        let site = Site::new();
        for name in ["a", "b", "c"] {
            // It does not listen to what ends it, as far as it can.
            let lines = format!("trap '' INT HUP; echo $$ >$D/{name}.pid; sleep 600");
            site.template(name, &lines);
        }
        let mut build = site.build("3", &["a", "b", "c"]);
        for name in ["a.pid", "b.pid", "c.pid"] {
            site.wait_for_file(name);
        }
        let asked = Instant::now();
        for signal in signals {
            build.signal(signal, to_group);
            // A signal that is pending swallows its twin.
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(build.wait().code(), code, "{signals:?}: {}", site.log());
        assert!(
            asked.elapsed() < STOP_LIMIT,
            "{signals:?}: {:?}",
            asked.elapsed()
        );
        site.assert_nothing_left(&["a.pid", "b.pid", "c.pid"]);
    }
}
