//! The database of vulnerabilities: made, shown, and refused. Nothing that is wrong with it may pass for "no findings".

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::site::{IMAGE, Site};
use crate::support::web;

/// A record of one vulnerability of one package.
pub fn record(id: &str, ecosystem: &str, package: &str) -> String {
    let affected = json!([{
        "package": {"ecosystem": ecosystem, "name": package},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.10-4"}]}],
    }]);
    let record = json!({
        "id": id, "modified": "2026-01-02T03:04:05.678901Z", "summary": "a hole", "affected": affected,
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
    });
    record.to_string()
}

/// A zip archive with files that are stored as they are.
pub fn zipped(files: &[(&str, &str)]) -> Vec<u8> {
    let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut crc = flate2::Crc::new();
        crc.update(content.as_bytes());
        let about = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &crc.sum().to_le_bytes(),
            &number(content.len()),
            &number(content.len()),
            &number(name.len()),
        ];
        let about = about.concat();
        list.extend(
            [
                b"PK\x01\x02\x14\0",
                &about[..],
                &[0; 10],
                &number(bytes.len()),
                name.as_bytes(),
            ]
            .concat(),
        );
        bytes.extend(
            [
                b"PK\x03\x04",
                &about[..],
                name.as_bytes(),
                content.as_bytes(),
            ]
            .concat(),
        );
    }
    let count = &number(files.len())[..2];
    let end = [
        b"PK\x05\x06\0\0\0\0",
        count,
        count,
        &number(list.len()),
        &number(bytes.len()),
        &[0, 0],
    ];
    [&bytes[..], &list, &end.concat()].concat()
}

/// Records of two releases in every form, and a system with a package that one of them is about.
fn site() -> Site {
    let site = Site::new();
    let one = record("DEBIAN-CVE-2026-1", "Debian:12", "hello");
    let two = record("DEBIAN-CVE-2026-2", "Debian:13", "hello");
    site.write("one.json", &one);
    site.write("records/one.json", &one);
    site.write("records/deeper/two.json", &two);
    site.write("records/README", "no record");
    let zip = zipped(&[
        ("DEBIAN-CVE-2026-1.json", &one),
        ("DEBIAN-CVE-2026-2.json", &two),
    ]);
    std::fs::write(site.path("all.zip"), zip).unwrap();
    site.write("list.json", &format!("[{one}, {two}]"));
    let tracker = json!({"hello": {"CVE-2026-3": {"description": "d", "releases": {"bookworm": {
        "status": "open", "repositories": {"bookworm": "2.10-3"}, "urgency": "not yet assigned"}}}}});
    site.write("tracker.json", &tracker.to_string());
    site.write("npm.json", &record("GHSA-1", "npm", "hello"));
    system(&site, "root", "ID=debian\nVERSION_ID=\"12\"\n");
    site
}

fn system(site: &Site, name: &str, release: &str) {
    site.write(&format!("{name}/etc/os-release"), release);
    site.write(
        &format!("{name}/var/lib/dpkg/status"),
        "Package: hello\nStatus: install ok installed\nVersion: 2.10-3\nArchitecture: all\nMaintainer: M\nDescription: d\n",
    );
}

const ONLY: [&str; 5] = ["--without", "hygiene", "--without", "secrets", "--json"];

/// Scans for vulnerabilities alone: exit code, ids, and what was said.
fn scan(site: &Site, root: &str, more: &[&str]) -> (Option<i32>, Vec<String>, String) {
    let output = site.run_with(&[&["scan", root], &ONLY[..], more].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let ids = findings
        .iter()
        .map(|it| it["id"].as_str().unwrap().to_owned());
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), ids.collect(), said)
}

#[test]
fn every_form_of_records_is_imported() {
    let site = site();
    for (sources, records, ids) in [
        (&["one.json"][..], 1, &["CVE-2026-1"][..]),
        (&["records"], 2, &["CVE-2026-1"]),
        (&["all.zip"], 2, &["CVE-2026-1"]),
        (&["list.json"], 2, &["CVE-2026-1"]),
        (&["tracker.json"], 1, &["CVE-2026-3"]),
        (
            &["npm.json", "tracker.json", "all.zip", "one.json"],
            4,
            &["CVE-2026-1", "CVE-2026-3"],
        ),
    ] {
        let output = site.run_with(&[&["db", "import", "--db", "the.db"], sources].concat());
        assert_eq!(output.status.code(), Some(0), "{sources:?}: {output:?}");
        let status = site.run(["db", "status", "--db", "the.db", "--json"]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!(status["records"], records, "{sources:?}: {status}");
        let (code, found, said) = scan(&site, "root", &["--db", "the.db"]);
        // One that is not mended anywhere is no reason to fail.
        let expected = if ids.contains(&"CVE-2026-1") { 3 } else { 0 };
        assert_eq!(
            (code, &found[..]),
            (
                Some(expected),
                &ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>()[..]
            ),
            "{sources:?}: {said}"
        );
    }
}

/// What differs from run to run.
fn steady(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(' ') {
        Some((word @ ("digest" | "imported"), _)) => format!("{word} [VARIES]"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_status_says_what_is_known_and_how_old_it_is() {
    let site = site();
    insta::assert_snapshot!(steady(
        &[
            site.karat(["db", "status"]),
            site.karat(["db", "import", "all.zip", "npm.json"]),
            site.karat(["db", "status"]),
        ]
        .join("\n")
    ));
}

#[test]
fn a_bad_source_leaves_the_database_as_it_was() {
    let site = site();
    let zip = std::fs::read(site.path("all.zip")).unwrap();
    for (name, content) in [
        ("short.zip", &zip[..zip.len() - 9]),
        ("changed.zip", &[&zip[..80], b"!", &zip[81..]].concat()),
        ("short.json", &b"{\"id\": \"DSA-1-1\", \"affe"[..]),
        ("empty.json", b""),
        ("no-records.json", b"[]"),
        ("no-archive.zip", b"<html>404</html>"),
    ] {
        std::fs::write(site.path(name), content).unwrap();
    }
    std::fs::create_dir(site.path("nothing")).unwrap();
    site.run(["db", "import", "all.zip", "--db", "the.db"]);
    let before = std::fs::read(site.path("the.db")).unwrap();
    let mut said = vec![site.karat(["db", "import"])];
    for source in [
        "missing.json",
        "nothing",
        "empty.json",
        "no-records.json",
        "short.json",
        "no-archive.zip",
        "short.zip",
        "changed.zip",
        "npm.json",
    ] {
        // Also where another source is good.
        let alone = site.karat(["db", "import", source, "--db", "the.db"]);
        if source != "npm.json" {
            assert_eq!(
                site.karat(["db", "import", "one.json", source, "--db", "the.db"]),
                alone
            );
        }
        said.push(alone);
        assert_eq!(
            std::fs::read(site.path("the.db")).unwrap(),
            before,
            "{source}"
        );
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_database_that_cannot_be_used_is_never_no_findings() {
    let site = site();
    site.run(["db", "import", "all.zip", "--db", "good.db"]);
    let good = std::fs::read(site.path("good.db")).unwrap();
    assert_eq!(
        scan(&site, "root", &["--db", "good.db"]).0,
        Some(3),
        "the good one finds something"
    );
    let mut other = good.clone();
    other[7] += 1;
    for (name, content) in [
        ("empty.db", &b""[..]),
        ("short.db", &good[..good.len() - 1]),
        ("head.db", &good[..20]),
        (
            "tampered.db",
            &[&good[..good.len() - 1], &[good[good.len() - 1] ^ 1]].concat(),
        ),
        ("newer.db", &other),
        (
            "other.db",
            b"something else altogether, but long enough to have a head and a digest",
        ),
    ] {
        std::fs::write(site.path(name), content).unwrap();
    }
    let epoch = karat::time::Timestamp::from_seconds(0);
    karat::scan::vulnerability::database::write(
        &site.path("nothing.db"),
        (epoch, epoch),
        0,
        Vec::new(),
        BTreeMap::new(),
    )
    .unwrap();
    site.write("disk.raw", "disk");
    let policy = "[base.file]\npath = \"disk.raw\"\n[builder.qemu]\narch = \"x86_64\"\n[policy]\nmax_db_age = \"7d\"\n";
    site.write("web.toml", &format!("{IMAGE}{policy}"));
    for (name, release) in [
        ("ubuntu", "ID=ubuntu\nVERSION_ID=\"24.04\"\n"),
        ("arch", "ID=arch\n"),
        ("nameless", "ID=debian\n"),
    ] {
        system(&site, name, release);
    }
    let mut said = Vec::new();
    for (root, database) in [
        ("root", "missing.db"),
        ("root", "empty.db"),
        ("root", "short.db"),
        ("root", "head.db"),
        ("root", "tampered.db"),
        ("root", "newer.db"),
        ("root", "other.db"),
        ("root", "nothing.db"),
        ("ubuntu", "good.db"),
        ("arch", "good.db"),
        ("nameless", "good.db"),
    ] {
        let (code, found, text) = scan(&site, root, &["--db", database]);
        let expected = if database == "missing.db" { 2 } else { 1 };
        assert_eq!(
            (code, found.len()),
            (Some(expected), 0),
            "{root} {database}"
        );
        said.push(format!("##### {root}, {database}\n{text}"));
    }
    let (code, found, text) = scan(&site, "root", &["--db", "good.db", "--policy", "web.toml"]);
    assert_eq!((code, found.len()), (Some(1), 0), "too old: {text}");
    said.push(format!("##### too old\n{text}"));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_missing_source_is_invalid_input() {
    let said = Site::new().karat(["db", "import", "none.json", "--db", "the.db"]);
    assert!(said.starts_with("exit 2\n"), "{said}");
    assert!(said.contains("cannot read none.json"), "{said}");
}

#[test]
fn a_database_that_is_cut_short_anywhere_is_refused() {
    let site = site();
    site.run(["db", "import", "one.json", "--db", "good.db"]);
    let good = std::fs::read(site.path("good.db")).unwrap();
    for end in (0..good.len()).step_by(29) {
        std::fs::write(site.path("short.db"), &good[..end]).unwrap();
        let output = site.run(["db", "status", "--db", "short.db"]);
        assert_eq!(output.status.code(), Some(1), "{end} bytes");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn records_are_fetched_from_a_server() {
    let site = site();
    let zip = std::fs::read(site.path("all.zip")).unwrap();
    let ended = b"hello 2.10-3 2026-01-01 too hard\n";
    let server = web::Web::on(
        "127.0.0.1",
        "http",
        [
            ("/Debian/all.zip", &zip[..]),
            ("/moved.zip", b"-> /Debian/all.zip"),
            ("/cut.zip", &zip[..40]),
            ("/security-support-ended.deb12", ended),
        ],
        web::serve,
    );
    let import = |paths: &[&str]| {
        let urls: Vec<_> = paths.iter().map(|path| server.url(path)).collect();
        let urls = urls.iter().map(String::as_str);
        let arguments: Vec<_> = ["db", "import", "--db", "the.db"]
            .into_iter()
            .chain(urls)
            .collect();
        let output = site.run_with(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        format!(
            "exit {}\n{}",
            output.status.code().unwrap(),
            said.replace(&server.url(""), "http://[SERVER]")
        )
    };
    let said = [
        &["/Debian/all.zip", "/security-support-ended.deb12"][..],
        &["/moved.zip?generation=1"],
        &["/nothing.zip"],
        &["/cut.zip"],
    ];
    insta::assert_snapshot!(said.map(import).join("\n"));
    // What was fetched first is still there, and the list of support with it.
    import(&["/Debian/all.zip", "/security-support-ended.deb12"]);
    let (_, found, _) = scan(&site, "root", &["--db", "the.db"]);
    assert_eq!(found, ["CVE-2026-1", "end-of-life:hello"]);
    assert_eq!(server.asked().len(), 8, "a redirect is asked for twice");
}

/// Package, its version, its source with the source's version, the finding, its state and where it is mended.
type Row = [String; 7];

fn rows(site: &Site, root: &str) -> Vec<Row> {
    let output = site.run_with(&[&["scan", root, "--db", "the.db"], &ONLY[..]].concat());
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let findings = report["findings"].as_array().unwrap().iter();
    let keys = [
        "package",
        "version",
        "source",
        "source_version",
        "id",
        "state",
        "fixed",
    ];
    findings
        .map(|one| keys.map(|key| one[key].as_str().unwrap_or_default().to_owned()))
        .collect()
}

#[test]
fn packages_are_matched_by_their_source_and_its_version() {
    let site = Site::new();
    let about = |id: &str, source: &str, fixed: Option<&str>, more: &Value| {
        let mut events = vec![json!({"introduced": "0"})];
        events.extend(fixed.map(|fixed| json!({"fixed": fixed})));
        let mut affected = json!({
            "package": {"ecosystem": "Debian:13", "name": source},
            "ranges": [{"type": "ECOSYSTEM", "events": events}],
        });
        for (key, value) in more.as_object().unwrap() {
            affected[key] = value.clone();
        }
        json!({"id": id, "modified": "2026-01-02T03:04:05Z", "affected": [affected]})
    };
    let state = |state: &str| json!({"database_specific": {"debian_state": state}});
    let urgency = |urgency: &str| json!({"ecosystem_specific": {"urgency": urgency}});
    let mut advisory = about("DLA-7-1", "glibc", Some("2.41-12+deb13u1"), &json!({}));
    advisory["upstream"] = json!(["CVE-2026-7"]);
    let records = json!([
        about(
            "DEBIAN-CVE-2026-1",
            "gcc-14",
            Some("14.2.0-19.1"),
            &json!({})
        ),
        about("DEBIAN-CVE-2026-2", "gcc-14", Some("14.2.0-19"), &json!({})),
        about("DEBIAN-CVE-2026-3", "vim", None, &state("no-dsa")),
        about("DEBIAN-CVE-2026-4", "vim", None, &state("postponed")),
        about("DEBIAN-CVE-2026-5", "vim", None, &urgency("unimportant")),
        about("DEBIAN-CVE-2026-6", "vim", None, &urgency("end-of-life")),
        about("DEBIAN-CVE-2026-7", "glibc", None, &state("ignored")),
        advisory,
        about("DSA-8-1", "linux", Some("6.12.43-2"), &json!({})),
        about("DEBIAN-CVE-2026-9", "binary-only", None, &json!({})),
        about("DEBIAN-CVE-2026-10", "gone", None, &json!({})),
    ]);
    site.write("records.json", &records.to_string());
    site.run(["db", "import", "records.json", "--db", "the.db"]);
    let package = |name: &str, status: &str, version: &str, source: &str| {
        format!(
            "Package: {name}\nStatus: {status}\nArchitecture: arm64\nVersion: {version}\nMaintainer: M\nDescription: d\n{source}\n"
        )
    };
    let ok = "install ok installed";
    let status = [
        package(
            "libgcc-s1",
            ok,
            "14.2.0-19+b1",
            "Source: gcc-14 (14.2.0-19)\n",
        ),
        package("cpp", ok, "4:14.2.0-1", "Source: gcc-defaults (1.220)\n"),
        package(
            "vim-tiny",
            "install ok half-configured",
            "2:9.1.1230-2",
            "Source: vim\n",
        ),
        package("libc6", ok, "2.41-12", "Source: glibc\n"),
        package(
            "linux-image-6.12.43+deb13-arm64",
            ok,
            "6.12.43-1",
            "Source: linux-signed-arm64 (6.12.43+1)\n",
        ),
        package("binary-only", ok, "1", "Source: something-else (1)\n"),
        package("gone", "deinstall ok config-files", "1", ""),
    ];
    site.write("root/var/lib/dpkg/status", &status.concat());
    site.write(
        "root/etc/os-release",
        "ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\n",
    );
    let lines: Vec<_> = rows(&site, "root")
        .iter()
        .map(|row| row.join(" | "))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn other_systems_are_matched_by_their_own_records() {
    let site = Site::new();
    let records = [
        ("UBUNTU-CVE-2026-1", "Ubuntu:24.04:LTS", "openssl"),
        ("UBUNTU-CVE-2026-2", "Ubuntu:Pro:24.04:LTS", "openssl"),
        ("UBUNTU-CVE-2026-3", "Ubuntu:25.10", "openssl"),
        ("ALPINE-CVE-2026-4", "Alpine:v3.22", "openssl"),
        ("ALPINE-CVE-2026-5", "Alpine:v3.2", "openssl"),
    ];
    for (id, ecosystem, package) in records {
        let mut record = record(id, ecosystem, package);
        if ecosystem.starts_with("Alpine") {
            record = record.replace("2.10-4", "2.10-r4");
        }
        site.write(&format!("records/{id}.json"), &record);
    }
    site.run(["db", "import", "records", "--db", "the.db"]);
    let dpkg = "Package: libssl3t64\nSource: openssl\nStatus: install ok installed\nVersion: 2.10-3\nArchitecture: amd64\n";
    for (id, version, expected) in [
        ("ubuntu", "24.04", "CVE-2026-1"),
        ("ubuntu", "25.10", "CVE-2026-3"),
        ("alpine", "3.22.1", "CVE-2026-4"),
        ("alpine", "3.2.3", "CVE-2026-5"),
    ] {
        let root = format!("{id}-{version}");
        site.write(
            &format!("{root}/etc/os-release"),
            &format!("ID={id}\nVERSION_ID=\"{version}\"\n"),
        );
        if id == "alpine" {
            site.write(
                &format!("{root}/lib/apk/db/installed"),
                "C:Q1=\nP:libssl3\nV:2.10-r3\nA:x86_64\no:openssl\n\n",
            );
        } else {
            site.write(&format!("{root}/var/lib/dpkg/status"), dpkg);
        }
        let found = rows(&site, &root);
        let ids: Vec<_> = found
            .iter()
            .map(|row| row[4].as_str())
            .filter(|id| id.starts_with("CVE"))
            .collect();
        assert_eq!(ids, [expected], "{root}");
    }
}
