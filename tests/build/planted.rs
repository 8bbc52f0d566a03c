//! Changes that a step with root plants in a sealed guest: each is found by the scan of the finished disk.

use std::fmt::Write as _;

use super::site::Site;

const TEMPLATE: &str = r#"
[image]
name = "planted"

[base.bootstrap]
distribution = "debian"
suite = "bookworm"

[builder.qemu]
cpus = 1

[packages.apt]
install = ["nginx-light", "acl", "attr", "libcap2-bin"]

[[files]]
content = "declared\n"
destination = "/srv/www/index.html"

[[provision]]
name = "declared"
shell = { inline = ["useradd --system app", "mkdir -p /opt/app/lib", "echo x >/opt/app/lib/a", "systemctl enable nginx"] }
creates = ["/opt/app/**", "user:app"]

[[provision]]
name = "plant"
shell = { script = "plant.sh" }
"#;

/// Paths and commands.
fn planted() -> Vec<(&'static str, &'static str)> {
    let rows = include_str!("../data/planted/changes.tsv").lines();
    let rows = rows.filter(|row| !row.starts_with('#'));
    rows.map(|row| row.split_once('\t').unwrap()).collect()
}

#[test]
fn every_change_of_a_step_is_found_and_what_is_declared_is_not() {
    let site = Site::new();
    let mut script = "set -eu\n".to_owned();
    for (_, command) in planted() {
        writeln!(
            script,
            "{{ {command}; }} || {{ echo 'failed: {}' >&2; exit 1; }}",
            command.replace('\'', "")
        )
        .unwrap();
    }
    site.write("plant.sh", &script);
    site.write("planted.toml", TEMPLATE);
    let output = site.karat(["build", "planted.toml"]).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{log}");
    let missing: Vec<_> = planted()
        .into_iter()
        .filter(|(path, _)| !log.contains(path))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}\n{log}");
    let subjects = log.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "high")?;
        words.next()
    });
    let subjects: Vec<&str> = subjects.collect();
    assert!(subjects.contains(&"/.planted"), "{log}");
    for declared in [
        "/opt/app",
        "/srv/www",
        "undeclared-user:app",
        "undeclared-group:app",
    ] {
        let mut wrong = subjects
            .iter()
            .filter(|subject| subject.starts_with(declared));
        assert_eq!(wrong.next(), None, "{log}");
    }
    // Changes that only the comparison finds name the step.
    let told = log.matches("while the step \"plant\" ran").count();
    assert!(told > 20, "{told}\n{log}");
    site.assert_nothing_left();
}
