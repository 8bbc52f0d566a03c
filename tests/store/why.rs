//! `karat show --why`: what put a path into an image.

use crate::cli::Site;

const LINES: &str = r#"{"cause":"base","path":"/etc/motd"}
{"by":"`creates` of the step \"make\"","cause":"declared","path":"/opt/app/x"}
{"cause":"package","package":"nginx-light","path":"/usr/sbin/nginx"}
{"cause":"package","package":"gone","path":"/usr/sbin/other"}
{"cause":"scripts","package":"postgresql-15","path":"/var/lib/postgresql/15"}
{"cause":"scripts","package":"postgresql-15","path":"/var/lib/postgresql/15/main"}
{"cause":"scripts","package":"dpkg","path":"/var/lib/dpkg/status"}
{"cause":"scripts","path":"/var/made"}
{"cause":"scripts","path_hex":"2f7661722fff"}
"#;

#[test]
fn every_path_of_an_explained_image_has_its_cause() {
    let site = Site::new();
    super::put_explained(&site.store, site.path(), "web", &[1; 2048], LINES);
    site.put("old", &[2; 2048]);
    for (path, code, expected) in [
        ("/etc/motd", 0, "/etc/motd: the base, sha256:"),
        (
            "/opt/app/x",
            0,
            "/opt/app/x: `creates` of the step \"make\"",
        ),
        (
            "/usr/sbin/nginx",
            0,
            "/usr/sbin/nginx: the package nginx-light 1.0-1, declared",
        ),
        ("/usr/sbin/other", 0, "the package gone\n"),
        (
            "/var/lib/postgresql/15",
            0,
            "15: made by the maintainer scripts of postgresql-15\n",
        ),
        (
            "/var/made",
            0,
            "/var/made: made by maintainer scripts, or by the running system, before the first step\n",
        ),
        ("/usr/sbin", 1, "has no /usr/sbin"),
    ] {
        let said = site.karat(&["show", "web", "--why", path]);
        assert!(said.contains(&format!("exit code: {code}")), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    let said = site.karat(&["show", "web", "--why", "/etc/motd", "--format", "jsonl"]);
    let line = r#"{"path":"/etc/motd","cause":"base"}"#;
    assert!(said.contains(line), "{said}");
    let said = site.karat(&["show", "web"]);
    assert!(said.contains("made 5 paths\n"), "{said}");
    assert!(
        said.contains(" 2 of postgresql-15, 1 of dpkg, 2 of no known package\n"),
        "{said}"
    );
    let path = "/var/lib/postgresql/15";
    let said = site.karat(&["show", "web", "--why", path, "--format", "jsonl"]);
    let line = r#"{"path":"/var/lib/postgresql/15","cause":"scripts","package":"postgresql-15"}"#;
    assert!(said.contains(line), "{said}");
    let said = site.karat(&["show", "old", "--why", "/etc/motd"]);
    assert!(said.contains("exit code: 1"), "{said}");
    assert!(said.contains("has no explanation"), "{said}");
    // The blob belongs to the image: it is checked with it, and kept.
    let said = site.karat(&["verify", "web", "--json"]);
    assert!(!said.contains("the explanation of files"), "{said}");
}
