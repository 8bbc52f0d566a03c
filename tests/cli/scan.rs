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

#[test]
fn json_is_as_its_schema_says() {
    let (_, report) = scan(&site(), &[]);
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert_valid(&schema, &report, "report");
    assert!(!report["findings"].as_array().unwrap().is_empty());
    assert_eq!(report["left_out"].as_array().unwrap().len(), 2);
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
                [sarif, sbom].map(|file| std::fs::read_to_string(site.path(&file)).unwrap())
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
