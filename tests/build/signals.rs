//! A build that is stopped, in every phase and in every way, leaves nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use super::site::{Site, guests_in};
use crate::support::site::signal;

const SLOW: &str = r#"
[image]
name = "slow"

[base.bootstrap]
distribution = "debian"
suite = "bookworm"

[builder.qemu]
cpus = 1
disk_size = "4GiB"

[[provision]]
name = "a step"
creates = ["/var/big"]
shell = { inline = ["head -c 300M /dev/urandom >/var/big", "sleep 5"] }

[[test]]
name = "a test"
command = "sleep 600"
"#;

/// A build that is asked to stop has ten seconds for it.
const LIMIT: Duration = Duration::from_secs(10);

/// Stops a build in a phase, some milliseconds into it, and looks for what is left.
fn stop(site: &Site, phase: &str, into: u64, signals: &[&str], to_group: bool) {
    let case = format!("{signals:?} in {phase:?}");
    site.write("slow.toml", SLOW);
    let mut build = site.spawn(["build", "slow.toml"]);
    site.wait_for_phase(&mut build, phase);
    std::thread::sleep(Duration::from_millis(into));
    let asked = Instant::now();
    for name in signals {
        signal(&build, name, to_group);
        // A signal that is pending swallows its twin.
        std::thread::sleep(Duration::from_millis(50));
    }
    let killed = signals == ["KILL"];
    let code = (!killed).then_some(130);
    let status = build.wait().unwrap();
    assert_eq!(status.code(), code, "{case}: {}", site.log());
    assert!(asked.elapsed() < LIMIT, "{case}: {:?}", asked.elapsed());
    if killed {
        while guests_in(&site.runs()) > 0 {
            assert!(asked.elapsed() < LIMIT, "{case}: the guest outlived karat");
            std::thread::sleep(Duration::from_millis(50));
        }
        let pruned = site.stdout(["prune", "--runs"]);
        assert_eq!(pruned.lines().count(), 1, "{case}: {pruned}");
    }
    site.assert_nothing_left();
    assert_eq!(site.stdout(["list"]), "", "{case}: an image was recorded");
    eprintln!("{case}: ended in {:.1} s", asked.elapsed().as_secs_f64());
}

#[test]
fn a_build_that_is_stopped_leaves_nothing_whatever_it_is_doing() {
    // Most cases boot a guest first. `make soak` tries all of them.
    let soaks = std::env::var_os("KARAT_SOAK_ROUNDS").is_some();
    for (phase, into, signals, to_group, soak_only) in [
        // Into the boot, where a guest cannot answer an ACPI button yet.
        ("wait for SSH", 3000, &["INT"][..], false, false),
        ("wait for SSH", 6000, &["KILL"], false, false),
        ("a step", 2000, &["TERM"], false, true),
        ("a step", 1000, &["KILL"], false, false),
        ("shut down", 100, &["INT"], true, true),
        ("finish", 500, &["INT"], false, false),
        ("finish", 1000, &["KILL"], false, true),
        ("boot the image", 4000, &["INT", "INT"], false, true),
        ("a test", 500, &["KILL"], true, true),
    ] {
        if soaks || !soak_only {
            stop(&Site::new(), phase, into, signals, to_group);
        }
    }
}

#[test]
fn a_base_that_is_stopped_while_it_is_made_leaves_nothing() {
    for (into, signals, to_group) in [
        (8000, &["INT"][..], true),
        (3000, &["TERM", "TERM"], false),
        (12_000, &["KILL"], false),
    ] {
        let site = Site::without_bases();
        stop(&site, "base", into, signals, to_group);
        let bases = std::fs::read_dir(site.path("cache/bootstrap")).unwrap();
        let names: Vec<_> = bases.map(|entry| entry.unwrap().file_name()).collect();
        // A lock file stays, for who makes the same base next.
        let is_lock =
            |name: &std::ffi::OsString| Path::new(name).extension() == Some("lock".as_ref());
        assert!(names.iter().all(is_lock), "left in the cache: {names:?}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let cache = site.path("cache");
        assert!(
            !mounts.contains(&*cache.to_string_lossy()),
            "a mount is left"
        );
        assert!(!works_in(&cache), "a process is left");
    }
}

/// Whether a process names a path below `directory` on its command line.
fn works_in(directory: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let name = directory.to_string_lossy();
    lines
        .into_iter()
        .any(|line| String::from_utf8_lossy(&line).contains(&*name))
}
