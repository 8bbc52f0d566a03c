//! The scan of a finished image: what it refuses, and what is known of an image later.

use std::process::Output;

use serde_json::{Value, json};

use crate::site::Site;

const REFUSED: &str = r#"
[image]
name = "tools"

[secrets.token]
env = "TOKEN"

[base.bootstrap]
distribution = "debian"
suite = "bookworm"

[builder.qemu]
cpus = 1
disk_size = "3GiB"

[[files]]
content = "declared\n"
destination = "/usr/local/bin/declared"
mode = "0755"

[[provision]]
name = "make"
creates = ["/opt/made/**"]
shell = { inline = [
    "mkdir /opt/made && echo made > /opt/made/file",
    "echo token: {{ token }} > /srv/settings",
    "printf '#!/bin/sh\n' > /usr/local/bin/stray && chmod 0755 /usr/local/bin/stray",
] }
"#;

#[test]
fn an_image_with_something_that_nobody_declared_is_refused_and_kept_only_when_asked_for() {
    let site = Site::new();
    site.write("tools.toml", REFUSED);
    let built = site
        .karat(["build", "tools.toml", "--keep-failed"])
        .env("TOKEN", "s3cr3t-value")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&built.stderr);
    assert_eq!(built.status.code(), Some(4), "{log}");
    assert!(built.stdout.is_empty(), "nothing is recorded");
    assert!(!log.contains("s3cr3t-value"), "a secret was shown: {log}");
    let severe = |line: &&str| line.starts_with("    critical") || line.starts_with("    high");
    let severe = log.lines().filter(severe);
    let paths: Vec<_> = severe.map(|line| line.split_whitespace().nth(1)).collect();
    let expected = ["/srv/settings", "/srv/settings", "/usr/local/bin/stray"].map(Some);
    assert_eq!(paths, expected, "nothing that was declared: {log}");
    assert_eq!(site.stdout(["list"]), "");
    site.assert_nothing_left();

    // The same image by itself: what it was made from is not known, but a secret is one everywhere.
    let kept = "tools.refused.qcow2";
    let output = site
        .karat(["scan", kept, "--without=vulnerabilities", "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let of_template = [
        "scan",
        kept,
        "--without=vulnerabilities",
        "--policy=tools.toml",
    ];
    let output = site
        .karat(of_template)
        .env("TOKEN", "s3cr3t-value")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(!said(&output).contains("s3cr3t-value"));
}

/// What is known later of an image that was recorded; `id` is its short id.
pub fn again_and_without_the_image(site: &Site, id: &str) {
    let shown = site.stdout(["show", id]);
    assert!(shown.contains("\nscanned "), "{shown}");
    assert!(shown.contains("without vulnerabilities"), "{shown}");
    let bill = shown.lines().find(|line| line.starts_with("sbom "));
    let path = bill
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    let bill: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let components = bill["components"].as_array().unwrap();
    let nginx = components.iter().find(|it| it["name"] == "nginx-light");
    let version = nginx.expect("the bill has nginx")["version"].clone();

    // Everything is checked, what was declared too, and nothing is wrong.
    let report = site.stdout(["scan", id, "--without=vulnerabilities", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        report["checks"],
        json!(["hygiene", "secrets", "undeclared"])
    );
    assert_eq!(report["counts"]["failing"], 0, "{report}");

    // A newer database, and no image any more.
    let record = json!({
        "id": "DEBIAN-CVE-2999-0001",
        "modified": "2026-01-01T00:00:00Z",
        "published": "2026-01-01T00:00:00Z",
        "upstream": ["CVE-2999-0001"],
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [{
            "package": {"ecosystem": "Debian:12", "name": "nginx"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999"}]}],
        }],
    });
    site.write("record.json", &record.to_string());
    site.stdout(["db", "import", "record.json"]);
    let image = image_of(site, id);
    let aside = image.with_extension("aside");
    std::fs::rename(&image, &aside).unwrap();
    let output = site.karat(["scan", id, "--json"]).output().unwrap();
    std::fs::rename(&aside, &image).unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["checks"], json!(["vulnerabilities"]));
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|it| it["package"] == "nginx-light");
    let found = found.unwrap_or_else(|| panic!("nothing of nginx: {report}"));
    assert_eq!(found["id"], "CVE-2999-0001");
    assert_eq!(
        (&found["version"], &found["fixed"]),
        (&version, &json!("999"))
    );

    let shown = site.stdout(["show", id]);
    assert!(shown.contains("that the policy refuses"), "{shown}");
    std::fs::remove_dir_all(site.path("data")).unwrap();
}

fn image_of(site: &Site, id: &str) -> std::path::PathBuf {
    let manifest: Value = serde_json::from_str(&site.stdout(["show", "--json", id])).unwrap();
    let digest = manifest["outputs"]["image"]["digest"].as_str().unwrap();
    let name = digest.trim_start_matches("sha256:");
    site.path("store/images").join(name)
}

fn said(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    format!("{out}{error}")
}
