//! `--format` of every verb that prints results.

use std::collections::BTreeSet;
use std::fs;

use karat::scan::report::policy::Verdict;
use serde_json::Value;

use crate::cli::Site;
use crate::support::disk;
use crate::support::help::verbs;
use crate::trust::{scanned, succeed};

/// Verbs whose results need a guest, package archives or AWS: their own tests have them.
const ELSEWHERE: [&str; 4] = ["build", "rebuild", "outdated", "publish"];

/// Each verb that has `--format`, with arguments that give results; `FORMAT` stands for the format.
const CASES: [&[&str]; 36] = [
    &["init", "FORMAT"],
    &["validate", "web.toml", "wrong.toml"],
    &["plan", "web.toml", "web.toml"],
    &["lock", "based.toml"],
    &["list"],
    &["show", "web"],
    &["show", "shop", "--lineage"],
    &["diff", "web/stable", "web"],
    &["scan", "root", "--without", "vulnerabilities"],
    &["keys", "list"],
    &["sign", "web"],
    &["verify", "web"],
    &["history"],
    &["promote", "web", "web/testing"],
    &["promote", "web", "web/testing", "--check"],
    &["rollback", "web/stable", "--check"],
    &["wait", "web/stable", "--after", "0"],
    &["revoke", "mail", "--reason", "it is bad"],
    &["children", "web"],
    &["parents", "shop"],
    &["export", "web", "-o", "out", "--force"],
    &["import", "disk.raw", "--name", "mail"],
    &["pin", "web", "--reason", "evidence"],
    &["unpin", "web"],
    &["prune", "--dry-run"],
    &["prune", "--runs"],
    &["remove", "mail"],
    &["store", "status"],
    &["audit"],
    &["audit", "--last", "0"],
    &["audit", "verify"],
    &["version"],
    &["doctor"],
    &["logs", "--list"],
    &["keys", "generate", "--key", "FORMAT.key"],
    &["db", "status", "--db", "the.db"],
];

fn site() -> Site {
    let mut site = Site::new();
    let home = site.path().join("home");
    site.set("HOME", home);
    site.set("PATH", std::env::var_os("PATH").unwrap());
    succeed(&site, &["keys", "generate", "--comment", "ci"]);
    for image in [&b"the web"[..], b"another web"] {
        let id = site.put("web", image);
        succeed(&site, &["sign", &id.short()]);
        scanned(&site, id, &[], &Verdict::Told);
        succeed(&site, &["promote", &id.short(), "web/stable"]);
    }
    site.put_on("shop", b"the shop", b"another web");
    site.write("disk.raw", &disk::xfs(1));
    succeed(&site, &["import", "disk.raw", "--name", "mail"]);
    site.write("web.toml", "[image]\nname = \"web\"\n");
    site.write("wrong.toml", "[image]\n");
    let based = "[image]\nname = \"web\"\n[base.file]\npath = \"disk.raw\"\n";
    site.write("based.toml", based);
    site.write("root/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    site.write("root/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    let package =
        "Package: hello\nStatus: install ok installed\nVersion: 2.10-3\nArchitecture: all\n";
    site.write("root/var/lib/dpkg/status", package);
    site.write(
        "list.json",
        r#"{"id": "CVE-2026-1", "modified": "2026-01-01T00:00:00Z", "affected": [
            {"package": {"ecosystem": "Debian:12", "name": "nginx"},
             "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]}]}"#,
    );
    succeed(&site, &["db", "import", "list.json", "--db", "the.db"]);
    fs::create_dir_all(site.path().join("home/.cache/karat/runs")).unwrap();
    site
}

fn stdout(site: &Site, case: &[&str], more: &[&str], format: &str) -> Vec<u8> {
    let words = case.iter().map(|word| word.replace("FORMAT", format));
    let words: Vec<String> = words
        .chain(more.iter().map(|word| (*word).to_owned()))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = site.command(&words).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!error.contains("Usage:"), "{words:?}: {error}");
    let code = output.status.code();
    // A template with errors, and findings of a scan.
    let expected = match case[0] {
        "validate" => Some(2),
        "scan" => code.filter(|code| [0, 3].contains(code)),
        // The host of the tests may lack something.
        "doctor" => code.filter(|code| [0, 1].contains(code)),
        _ => Some(0),
    };
    assert_eq!(code, expected, "{words:?}: {error}");
    output.stdout
}

#[test]
fn every_verb_with_results_prints_one_json_document_or_one_object_per_line() {
    let site = site();
    for case in CASES {
        let json = stdout(&site, case, &["--format", "json"], "json");
        let document: Value = serde_json::from_slice(&json).unwrap_or_else(|error| {
            panic!("{case:?}: {error}: {}", String::from_utf8_lossy(&json))
        });
        assert!(
            document.is_object() || document.is_array(),
            "{case:?}: {document}"
        );
        let lines =
            String::from_utf8(stdout(&site, case, &["--format", "jsonl"], "jsonl")).unwrap();
        let objects: Vec<Value> = lines
            .lines()
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{case:?}: {error}: {line}"))
            })
            .collect();
        assert!(objects.iter().all(Value::is_object), "{case:?}: {lines}");
        match document {
            // What a second run finds done already is not printed again.
            Value::Array(elements) if !["revoke", "remove"].contains(&case[0]) => {
                let of = |values: &[Value]| {
                    values
                        .iter()
                        .map(|value| value.get("id").cloned())
                        .collect::<Vec<_>>()
                };
                assert_eq!(of(&elements), of(&objects), "{case:?}");
            }
            Value::Array(_) => {}
            _ => assert_eq!(objects.len(), 1, "{case:?}"),
        }
        // The alias gives JSON, too, as one document or several.
        let old = stdout(&site, case, &["--json"], "old");
        for value in serde_json::Deserializer::from_slice(&old).into_iter::<Value>() {
            value.unwrap_or_else(|error| panic!("{case:?}: {error}"));
        }
    }
}

#[test]
fn no_verb_with_a_format_is_left_out_of_the_test() {
    let site = Site::new();
    let have_format = verbs(&site)
        .into_iter()
        .filter(|verb| verb.help.contains("--format <FORMAT>"));
    let have_format: BTreeSet<String> = have_format.map(|verb| verb.words.join(" ")).collect();
    let is_known = |verb: &&String| {
        ELSEWHERE.contains(&verb.as_str())
            || CASES
                .iter()
                .any(|case| case.join(" ").starts_with(verb.as_str()))
    };
    let missing: Vec<_> = have_format.iter().filter(|verb| !is_known(verb)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(have_format.len() > 20, "{have_format:?}");
}

#[test]
fn an_image_has_the_same_names_in_every_verb() {
    let site = site();
    let id = site.store.newest("web").unwrap().unwrap().id.to_string();
    for case in [
        &["list"][..],
        &["sign", "web"],
        &["export", "web", "-o", "out", "--force"],
        &["promote", "web", "web/stable", "--check"],
        &["history", "web/stable"],
        &["parents", "shop"],
        &["pin", "web"],
        &["unpin", "web"],
    ] {
        let lines = String::from_utf8(stdout(&site, case, &["--format", "jsonl"], "")).unwrap();
        let has_it = lines.lines().any(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["id"] == id && line["name"] == "web"
        });
        assert!(has_it, "{case:?}: {lines}");
    }
}
