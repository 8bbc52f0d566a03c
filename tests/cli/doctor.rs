//! `karat doctor`: what this host lacks, and how to fix it. What the tests assert does not depend on the host.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::site::Site;
use crate::support::disk;

/// Runs `karat doctor --json`; returns its exit code and report.
fn doctor(site: &Site) -> (Option<i32>, Value) {
    let output = site.run(["doctor", "--json"]);
    let report = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        report.unwrap_or_else(|_| panic!("{output:?}")),
    )
}

/// Returns state, text and help of a check.
fn check<'a>(report: &'a Value, name: &str) -> [&'a str; 3] {
    let mut checks = report["checks"].as_array().unwrap().iter();
    let check = checks.find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("no {name} in {report:#}"));
    ["state", "text", "help"].map(|key| check[key].as_str().unwrap_or_default())
}

/// A site with programs that only print a version, on a network without an archive.
fn site() -> Site {
    let mut site = Site::new();
    for name in ["qemu-system-x86_64", "qemu-system-aarch64", "qemu-img"] {
        site.write(
            &format!("bin/{name}"),
            "#!/bin/sh\necho \"$0 version 9.1 (fake)\"\n",
        );
        let path = site.path("bin").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:/usr/bin:/bin", site.path("bin").display());
    site.set("PATH", path);
    // The port is free, so connections are refused at once.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for name in ["http_proxy", "https_proxy"] {
        site.set(name, format!("http://{port}"));
    }
    site
}

#[test]
fn keys_are_advised_in_the_order_in_which_they_can_be_made() {
    let mut site = site();
    let [state, _, help] = check(&doctor(&site).1, "trusted keys").map(str::to_owned);
    assert_eq!((&*state, &*help), ("warning", "run `karat keys generate`"));
    site.set("KARAT_TRUST", "theirs");
    let [_, _, help] = check(&doctor(&site).1, "trusted keys").map(str::to_owned);
    assert!(
        help.starts_with("run `karat keys generate`, then `karat keys trust NAME "),
        "{help}"
    );

    // A key elsewhere signs only if it is named.
    let made = site.karat(["keys", "generate", "--key", "other/k"]);
    assert!(
        made.contains("if `--key other/k` or KARAT_KEY names it"),
        "{made}"
    );
    site.set("KARAT_KEY", "third/k");
    let made = site.karat(["keys", "generate"]);
    assert!(made.contains("builds now sign with third/k;"), "{made}");
    let [_, _, help] = check(&doctor(&site).1, "trusted keys").map(str::to_owned);
    assert_eq!(help, "run `karat keys trust NAME third/k.pub`");
    assert!(
        site.run(["keys", "trust", "ci", "third/k.pub"])
            .status
            .success()
    );
    let [state, ..] = check(&doctor(&site).1, "trusted keys").map(str::to_owned);
    assert_eq!(state, "ok");
}

#[test]
fn every_problem_has_a_remedy_and_a_failure_decides_the_exit_code() {
    let site = site();
    let (code, report) = doctor(&site);
    let checks = report["checks"].as_array().unwrap();
    for check in checks {
        assert_eq!(check["state"] == "ok", check["help"].is_null(), "{check}");
    }
    let failed = checks.iter().any(|check| check["state"] == "failed");
    assert_eq!(
        (code, &report["ok"]),
        (Some(i32::from(failed)), &Value::Bool(!failed))
    );
    for name in [
        "qemu-img",
        "setpriv",
        "mmdebstrap",
        "mke2fs",
        "KVM",
        "UEFI firmware",
        "memory",
        "cache",
        "store",
        "archive",
        "signing key",
        "trusted keys",
        "vulnerability database",
    ] {
        check(&report, name);
    }
    assert_eq!(
        check(&report, "qemu-img")[1],
        "9.1; creates and converts disks"
    );
    assert!(!site.path("home").exists(), "it changes nothing");
    // People get the same, one line a check.
    let text = String::from_utf8(site.run(["doctor"]).stdout).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("help: "));
    assert_eq!(lines.count(), checks.len() + 2, "{text}");
    assert!(text.contains("vulnerability database"), "{text}");
}

#[test]
fn what_is_missing_or_unsafe_is_told_with_the_command_that_fixes_it() {
    let mut site = site();
    fs::remove_file(site.path("bin/qemu-img")).unwrap();
    let path = site.path("bin");
    site.set("PATH", path);
    site.write("store/audit.jsonl", "");
    fs::set_permissions(site.path("store"), fs::Permissions::from_mode(0o777)).unwrap();
    let path = site.path("store");
    site.set("KARAT_STORE", path);
    site.write(
        "home/.local/share/karat/vulnerabilities.db",
        "damaged, and long enough to be read as one",
    );
    let (code, report) = doctor(&site);
    assert_eq!(code, Some(1));
    for (name, state, text, help) in [
        ("qemu-img", "failed", "not installed", "qemu"),
        (
            "store",
            "failed",
            "other users can write to",
            "chmod -R go-w",
        ),
        ("signing key", "warning", "none", "karat keys generate"),
        (
            "trusted keys",
            "warning",
            "does not exist",
            "karat keys generate",
        ),
        (
            "vulnerability database",
            "failed",
            "invalid",
            "karat db update",
        ),
    ] {
        let [found, said, remedy] = check(&report, name);
        assert_eq!(found, state, "{name}: {said}");
        assert!(
            said.contains(text) && remedy.contains(help),
            "{name}: {said} {remedy}"
        );
    }
}

#[test]
fn a_key_is_compared_with_the_trusted_ones() {
    let site = site();
    site.run(["keys", "generate", "--comment", "ci"]);
    let (_, report) = doctor(&site);
    assert_eq!(check(&report, "signing key")[0], "ok");
    assert_eq!(
        check(&report, "trusted keys"),
        ["ok", "1; this machine signs as ci", ""]
    );
    let trusted = site.path("home/.config/karat/allowed_signers");
    std::fs::remove_file(trusted).unwrap();
    site.run(["keys", "generate", "--key", "other"]);
    site.run(["keys", "trust", "other", "other.pub"]);
    assert_eq!(check(&doctor(&site).1, "trusted keys")[0], "warning");
}

#[test]
fn an_archive_that_never_answers_does_not_hold_it_up() {
    let mut site = site();
    // Accepts connections and is silent.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for name in ["http_proxy", "https_proxy"] {
        site.set(name, format!("http://{}", silent.local_addr().unwrap()));
    }
    let started = Instant::now();
    doctor(&site);
    let took = started.elapsed();
    // 5 s, and what a busy host adds.
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn a_missing_program_is_found_before_the_base_is_read() {
    let mut site = Site::new();
    let path = site.path("bin");
    site.set("PATH", path);
    site.write("base.raw", &disk::xfs(7));
    site.write(
        "web.toml",
        "[image]\nname = \"web\"\n[base.file]\npath = \"base.raw\"\n[builder.qemu]\narch = \"x86_64\"\n",
    );
    let said = site.karat(["build", "web.toml"]);
    assert!(said.starts_with("exit 1\n"), "{said}");
    assert!(
        said.contains("error: qemu-system-x86_64, setpriv and qemu-img are not installed"),
        "{said}"
    );
    assert!(
        said.contains("help: install ") && said.contains("`karat doctor`"),
        "{said}"
    );
    assert!(!said.contains("==> base"), "{said}");
}
