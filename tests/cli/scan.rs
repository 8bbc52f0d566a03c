//! Scans of unpacked roots, as far as they go without an image.

use serde_json::Value;

use crate::site::{IMAGE, Site};

const SCHEMA: &str = include_str!("../schema/scan.json");

/// A small Debian with a private key that was left in it.
fn site() -> Site {
    let site = Site::new();
    site.write("root/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    site.write("root/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    site.write("root/etc/shadow", "root:*:19000:0:99999:7:::\n");
    site.write("root/etc/group", "root:x:0:\n");
    site.write("root/usr/bin/true", "");
    site.write(
        "root/var/lib/dpkg/status",
        "Package: hello\nStatus: install ok installed\nVersion: 2.10-3\nArchitecture: all\nMaintainer: M\nDescription: d\n",
    );
    site.write("root/root/.bash_history", "mysql -p\n");
    site
}

/// The report without what differs from machine to machine: owners of files are those of whoever runs the tests.
fn scan(site: &Site, more: &[&str]) -> (i32, Value) {
    let mut arguments = vec!["scan", "root", "--without", "vulnerabilities", "--json"];
    arguments.extend(more);
    let output = site.run_with(&arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    (output.status.code().unwrap(), report)
}

#[test]
fn a_scan_that_cannot_do_its_work_fails_aloud() {
    let site = site();
    site.write("empty/etc/hostname", "x\n");
    site.write("file", "no disk\n");
    site.write("no.db", "no database\n");
    insta::assert_snapshot!(
        [
            site.karat(["scan", "root"]),
            site.karat(["scan", "root", "--db", "missing.db"]),
            site.karat(["scan", "missing", "--without", "vulnerabilities"]),
            site.karat(["scan", "0123456789abcdef", "--without", "vulnerabilities"]),
            site.karat(["scan", "file", "--without", "vulnerabilities"]),
        ]
        .join("\n")
    );
    let output = site.run(["scan", "root", "--db", "no.db"]);
    assert_eq!(output.status.code(), Some(1), "a file that is no database");
    assert!(output.stdout.is_empty());
}

/// Runs a program of the host, as the tests need it to make disks.
fn host(program: &str, arguments: &[&str]) -> std::process::Output {
    let output = std::process::Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn made(program: &str, arguments: &[&str]) {
    let output = host(program, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

#[test]
fn a_tree_has_the_findings_of_its_image_and_its_links_end_in_it() {
    let site = site();
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n-----END OPENSSH PRIVATE KEY-----\n";
    site.write("root/opt/app/key", key);
    site.write("outside/id_outside", key);
    site.write("outside/sudoers", "outside ALL=(ALL) NOPASSWD: ALL\n");
    site.write("outside/os-release", "ID=outside\n");
    for (name, target) in [
        ("root/root/.ssh", "../../outside"),
        ("root/etc/sudoers", "../../outside/sudoers"),
        ("root/srv", &site.path("outside").display().to_string()),
        ("root/usr/lib", "/../../../.."),
    ] {
        std::os::unix::fs::symlink(target, site.path(name)).unwrap();
    }
    let [root, disk] = ["root", "disk"].map(|name| site.path(name).display().to_string());
    made("truncate", &["-s", "32M", &disk]);
    made("/sbin/mke2fs", &["-q", "-t", "ext4", "-d", &root, &disk]);
    let scan = |target| {
        let output = site.run(["scan", target, "--without", "vulnerabilities", "--json"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
        report["findings"].clone()
    };
    let of_tree = scan("root");
    assert_eq!(of_tree, scan("disk"));
    assert!(of_tree.to_string().contains("/opt/app/key"), "{of_tree:#}");
    assert!(!of_tree.to_string().contains("outside"), "{of_tree:#}");
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_silence() {
    let site = site();
    let karat = env!("CARGO_BIN_EXE_karat");
    let locked = site.path("root/opt/locked");
    site.write("root/opt/locked", "who knows");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(&locked, mode).unwrap();
    let root = site.path("root").display().to_string();
    let scan = [karat, "scan", &root, "--without", "vulnerabilities"];
    // Root may read what nobody may, unless that right is taken from it.
    let output = if rustix::process::geteuid().is_root() {
        let less = "--bounding-set=-dac_override,-dac_read_search";
        host("setpriv", &[&[less], &scan[..]].concat())
    } else {
        host(karat, &scan[1..])
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "a report of what was not read");
    for part in ["opt/locked", "Permission denied", "as root"] {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
}

/// Tests have no database of vulnerabilities.
const WITHOUT: [&str; 2] = ["--without", "vulnerabilities"];

/// Makes a disk with a root and, in the second partition, 1 MiB of `second`.
fn disk_with_second_partition(site: &Site, name: &str, second: &[u8]) {
    let [root, disk] = ["root", name].map(|name| site.path(name).display().to_string());
    made("truncate", &["-s", "40M", &disk]);
    let table = "label: gpt\nstart=4096, size=65536\nstart=2048, size=2048\n";
    let command = format!("printf '{table}' | PATH=$PATH:/sbin:/usr/sbin sfdisk -q {disk}");
    made("sh", &["-c", &command]);
    let offset = ["-E", "offset=2097152", "-d", &root, &disk, "32M"];
    made(
        "/sbin/mke2fs",
        &[&["-q", "-F", "-t", "ext4"], &offset[..]].concat(),
    );
    let file = std::fs::File::options()
        .write(true)
        .open(site.path(name))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, second, 1 << 20).unwrap();
}

#[test]
fn a_part_that_no_check_reads_is_a_finding_until_it_is_accepted() {
    let site = site();
    let mut swap = vec![0; 8192];
    swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
    disk_with_second_partition(&site, "swap", &swap);
    disk_with_second_partition(&site, "empty", &[0; 8192]);
    let scan = |target, more: &[&str]| -> Option<Value> {
        let arguments = [&["scan", target, "--json"], &WITHOUT[..], more].concat();
        let output = site.run_with(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        let mut report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array_mut().unwrap();
        let mut findings = findings.iter_mut().map(Value::take);
        findings.find(|finding| finding["check"] == "not-looked-at")
    };
    let found = scan("swap", &[]).unwrap();
    assert_eq!(found["id"], "not-looked-at:partition 2");
    assert_eq!(found["verdict"], "fails", "{found:#}");
    assert_eq!(
        found["title"],
        "not looked at: partition 2, sectors 2048-4095"
    );
    assert_eq!(scan("empty", &[]), None);
    site.write(
        "web.toml",
        "[image]\nname = \"web\"\n[builder.qemu]\n[base.file]\npath = \"swap\"\n[[policy.ignore]]\n\
         id = \"not-looked-at:partition 2\"\nreason = \"the swap area is empty\"\n",
    );
    let accepted = scan("swap", &["--policy", "web.toml"]).unwrap();
    assert_ne!(accepted["verdict"], "fails", "{accepted:#}");
}

#[test]
fn a_root_that_karat_cannot_read_is_named() {
    let site = Site::new();
    for (make, size, expected) in [
        ("mkfs.xfs", "320M", "found an XFS file system"),
        ("mkfs.btrfs", "128M", "found a btrfs file system"),
    ] {
        let disk = site.path("disk").display().to_string();
        let _earlier = std::fs::remove_file(&disk);
        made("truncate", &["-s", size, &disk]);
        made(&format!("/sbin/{make}"), &["-q", &disk]);
        let output = site.run(["scan", "disk", "--without", "vulnerabilities"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in [expected, "mount it"] {
            assert!(said.contains(part), "no {part:?} in: {said}");
        }
    }
}

#[test]
fn json_is_as_its_schema_says() {
    let (_, report) = scan(&site(), &[]);
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert_valid(&schema, &report, "report");
    assert!(!report["findings"].as_array().unwrap().is_empty());
    assert_eq!(report["left_out"].as_array().unwrap().len(), 2);
}

#[test]
fn a_target_that_is_no_system_is_told_before_a_missing_database() {
    let site = Site::new();
    site.write("env.sh", "export A=1\n");
    site.write("project/src/main.rs", "");
    site.write("zeros.raw", &vec![0; 1 << 20]);
    site.write("root/etc/os-release", "ID=debian\n");
    let mut iso = vec![0; 1 << 20];
    iso[0x8001..0x8006].copy_from_slice(b"CD001");
    site.write("debian.iso", &iso);
    for (target, code, expected) in [
        ("env.sh", 2, "env.sh is not a disk image"),
        ("project", 2, "project is not the root of a system"),
        ("debian.iso", 2, "karat runs no installer"),
        ("zeros.raw", 1, "no root file system that karat can scan"),
        ("root", 2, "`--without vulnerabilities`"),
    ] {
        let said = site.karat(["scan", target]);
        assert!(said.starts_with(&format!("exit {code}\n")), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn the_policy_of_a_template_decides_and_exceptions_are_named() {
    let site = site();
    let template = |more: &str| {
        let builder = "[base.file]\npath = \"disk.raw\"\n[builder.qemu]\narch = \"x86_64\"\n";
        site.write("disk.raw", "disk");
        site.write("web.toml", &format!("{IMAGE}{builder}{more}"));
    };
    let history = |report: &Value| {
        let mut findings = report["findings"].as_array().unwrap().iter();
        let of_history = |it: &&Value| it["path"] == "/root/.bash_history";
        findings
            .find(of_history)
            .cloned()
            .expect("the history is found")
    };
    template("[policy]\nfail_on = \"negligible\"\n");
    let (code, report) = scan(&site, &["--policy", "web.toml"]);
    assert_eq!(
        (code, &history(&report)["verdict"]),
        (3, &Value::from("fails"))
    );
    template("[[policy.ignore]]\npath = \"/**\"\nreason = \"a test\"\n");
    let (code, report) = scan(&site, &["--policy", "web.toml", "--fail-on", "negligible"]);
    assert_eq!(
        (code, &history(&report)["verdict"]),
        (0, &Value::from("accepted")),
        "{report}"
    );
    assert_eq!(history(&report)["reason"], "a test");
    template("[[policy.ignore]]\npath = \"/**\"\nreason = \"a test\"\nuntil = \"2020-01-01\"\n");
    let (code, report) = scan(&site, &["--policy", "web.toml", "--fail-on", "negligible"]);
    assert_eq!(
        (code, &history(&report)["verdict"]),
        (3, &Value::from("fails"))
    );
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|it| it["check"] == "expired-exception"));
}

#[test]
fn sarif_and_bills_of_materials_are_the_same_every_time() {
    let site = site();
    for form in ["cyclonedx", "spdx"] {
        let files: Vec<_> = ["one", "two"]
            .map(|name| {
                let (sarif, sbom) = (format!("{name}.sarif"), format!("{name}.sbom"));
                scan(
                    &site,
                    &["--sarif", &sarif, "--sbom", &sbom, "--sbom-format", form],
                );
                [sarif, sbom].map(|file| {
                    let text = std::fs::read_to_string(site.path(&file)).unwrap();
                    // SPDX asks for the time of the scan; the two may fall in different seconds.
                    let document: Value = serde_json::from_str(&text).unwrap();
                    match document["creationInfo"]["created"].as_str() {
                        Some(created) => text.replace(created, "[TIME]"),
                        None => text,
                    }
                })
            })
            .into();
        assert_eq!(files[0], files[1], "{form}");
        let [sarif, sbom] = &files[0];
        let sarif: Value = serde_json::from_str(sarif).unwrap();
        assert_eq!(sarif["version"], "2.1.0");
        assert_sarif(&sarif["runs"][0]);
        assert!(
            sbom.contains("pkg:deb/debian/hello@2.10-3?arch=all&distro=debian-12"),
            "{sbom}"
        );
    }
}

#[test]
fn wrong_policies_are_pointed_at() {
    insta::assert_snapshot!(Site::new().validate_each(&[
        "[policy]\nfail_on = \"hihg\"\n",
        "[policy]\nfail_no = \"high\"\n",
        "[[policy.ignore]]\nreason = \"r\"\n",
        "[[policy.ignore]]\nid = \"CVE-1\"\n",
        "[[policy.ignore]]\nid = \"CVE-1\"\nreason = \"r\"\nuntil = \"tomorrow\"\n",
        "[[policy.ignore]]\npath = \"etc\"\nreason = \"r\"\n",
        "[policy]\nmax_db_age = \"7\"\nvex = [\"none.json\"]\n",
    ]));
}

/// Every result has a rule, a level and a place.
fn assert_sarif(run: &Value) {
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for result in run["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let place = &result["locations"][0]["physicalLocation"]["artifactLocation"];
        assert!(!place["uri"].as_str().unwrap().starts_with('/'), "{place}");
        assert_eq!(place["uriBaseId"], "IMAGE");
    }
}

/// As much of JSON Schema as the schema uses.
fn assert_valid(schema: &Value, value: &Value, at: &str) {
    if let Some(expected) = schema.get("const") {
        assert_eq!(value, expected, "{at}");
    }
    if let Some(choices) = schema.get("enum") {
        assert!(choices.as_array().unwrap().contains(value), "{at}: {value}");
    }
    match schema["type"].as_str() {
        Some("string") => assert!(value.is_string(), "{at}: {value}"),
        Some("integer") => assert!(value.is_u64(), "{at}: {value}"),
        Some("array") => {
            for (index, item) in value.as_array().expect(at).iter().enumerate() {
                assert_valid(&schema["items"], item, &format!("{at}[{index}]"));
            }
        }
        Some("object") => {
            let object = value.as_object().expect(at);
            for key in schema["required"].as_array().into_iter().flatten() {
                assert!(object.contains_key(key.as_str().unwrap()), "{at}: no {key}");
            }
            for (key, value) in object {
                match schema["properties"].get(key) {
                    Some(schema) => assert_valid(schema, value, &format!("{at}.{key}")),
                    None => assert_ne!(schema["additionalProperties"], false, "{at}.{key}"),
                }
            }
        }
        _ => {}
    }
}
