//! Templates with commands that need the network; the lines of each help are added, and the template is checked again.

use std::fs;

use super::LintWarning;
use crate::plan::{Inputs, Plan, load};

fn plan(text: &str) -> Plan {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("t.toml");
    fs::write(&path, text).unwrap();
    // The lines of a checkout name a directory that the user makes.
    for name in ["app", "lib"] {
        fs::create_dir(scratch.path().join(name)).unwrap();
    }
    load(&path, &Inputs::default())
        .unwrap_or_else(|error| panic!("{text}\n{}", error.render(false)))
}

/// Returns the template with the lines that a help gives: a table at the end, or entries of a table or list.
fn with_help(template: &str, help: &str) -> String {
    let Some((advice, lines)) = help.split_once("\n    ") else {
        return template.to_owned();
    };
    let lines = lines.replace("\n    ", "\n");
    let Some((_, place)) = advice.split_once("; add to ") else {
        return format!("{template}{lines}\n");
    };
    let place = place.trim_end_matches(':');
    let before = match place.split_once(" of ") {
        Some((key, _)) => format!("{} = [", key.trim_matches('`')),
        None => format!("{place}\n"),
    };
    assert!(template.contains(&before), "{before}: {template}");
    template.replacen(&before, &format!("{before}{lines}\n"), 1)
}

fn network_warnings(text: &str) -> Vec<LintWarning> {
    let warnings = plan(text).lint().into_iter();
    warnings
        .filter(|warning| warning.position.is_some())
        .collect()
}

#[test]
fn the_lines_of_a_help_fit_into_the_template() {
    for (tables, script, expected) in [
        (
            "",
            "apt-get install -y nginx curl > /dev/null 2>&1",
            "install = [\"nginx\", \"curl\"]",
        ),
        (
            "",
            "apt-get install -t bookworm-backports nginx; apt-get install curl nginx",
            "install = [\"nginx\", \"curl\"]",
        ),
        (
            "",
            "apt-get -o Dpkg::Options::=--force-confold install nginx",
            "install = [\"nginx\"]",
        ),
        (
            "",
            "apt-get install nginx- a=1.2* b/stable php8.* g++ $X ./c.deb",
            "install = [\"a\", \"b\", \"g++\"]",
        ),
        (
            "",
            "apt-get install \"php8.*\"",
            "in [packages.apt], each by its full name",
        ),
        (
            "[packages.apt]\ninstall = [\n\"jq\"]\n",
            "apt-get install jq nginx",
            "of [packages.apt]:\n    \"nginx\",",
        ),
        (
            "[packages.apt]\nremove = [\"jq\"]\n",
            "apt-get install nginx",
            "add to [packages.apt]:\n    install =",
        ),
        (
            "[packages.apt]\ninstall = [\"jq=1.6-2\"]\n",
            "apt-get install jq",
            "declared in [packages.apt] already",
        ),
        (
            "",
            "dnf install nginx",
            "the base is debian, which has no dnf",
        ),
        (
            "",
            "curl https://example.org/a; wget https://example.org/$V/b",
            "allow = [\n        { url = \"https://example.org/a\" },",
        ),
        (
            "",
            "curl \"https://example.org/a/?b=c\"",
            "allow = [{ url = \"https://example.org/a/\" }]",
        ),
        (
            "[network]\nallow = [{ url = \"https://a.example.org/x\" }]\n",
            "curl https://example.org/a",
            "`allow` of [network]:",
        ),
        (
            "[network]\non_refused = \"warn\"\n",
            "curl https://example.org/a",
            "add to [network]:",
        ),
        (
            "",
            "pip install flask; npm ci",
            "https://index.example.org/",
        ),
        (
            "",
            "pip install -i https://pip.example.org/simple flask",
            "url = \"https://pip.example.org/\"",
        ),
        (
            "",
            "git clone https://example.org/app.git /srv/app; git clone git@example.org:lib",
            "source = \"lib\"\n    destination = \"/opt/lib\"",
        ),
    ] {
        let step = format!("[[provision]]\nshell = {{ inline = [\n  '{script}',\n] }}\n");
        let template = format!("[image]\nname = \"web\"\n{tables}{step}");
        let warnings = network_warnings(&template);
        assert_eq!(warnings.len(), 1, "{script}: {warnings:?}");
        let help = &warnings[0].help;
        assert!(help.contains(expected), "{script}: {help}");
        let position = warnings[0].position.as_ref().unwrap();
        let line = template
            .lines()
            .position(|line| line.contains(script))
            .unwrap()
            + 1;
        assert_eq!((position.line, position.column), (line, 3), "{script}");
        for warning in network_warnings(&with_help(&template, help)) {
            assert!(!warning.help.contains("; add to"), "{script}: {warning:?}");
        }
    }
}

#[test]
fn commands_of_one_kind_share_a_warning_with_all_places() {
    let warnings = network_warnings(
        r#"[image]
name = "web"
[[provision]]
name = "a"
shell = { inline = ["apt-get install x"] }
[[on_error]]
shell = { inline = ['''
true
apt-get install y z''', 'curl https://example.org/a'] }
[[test]]
name = "b"
command = "curl https://example.org/b"
"#,
    );
    let [packages, urls] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    let what = &packages.what;
    assert!(
        what.starts_with("`apt-get install` in step `a` and 1 more command ("),
        "{what}"
    );
    assert!(
        what.ends_with("t.toml:9), but the guest has no network"),
        "{what}"
    );
    assert!(
        packages.help.ends_with("install = [\"x\", \"y\", \"z\"]"),
        "{packages:?}"
    );
    assert!(
        urls.what
            .ends_with("t.toml:12), but the guest has no network"),
        "{urls:?}"
    );
    assert!(
        urls.help.contains("example.org/a") && urls.help.contains("example.org/b"),
        "{urls:?}"
    );
}

#[test]
fn a_script_for_several_distributions_gets_the_table_of_its_guest() {
    let script =
        "[[provision]]\nshell = { inline = [\"dnf install httpd || apt-get install apache2\"] }\n";
    for (tables, expected) in [
        ("", "[packages.apt]"),
        (
            "[base.file]\npath = \"t.toml\"\n[packages.dnf]\ninstall = [\"x\"]\n",
            "[packages.dnf]",
        ),
    ] {
        let warnings = network_warnings(&format!("[image]\nname = \"web\"\n{tables}{script}"));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].help.contains(expected), "{warnings:?}");
    }
}
