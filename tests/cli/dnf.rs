//! `[packages.dnf]` in templates: what is wrong is pointed at, what is right is shown.

use crate::site::{IMAGE, Site};
use crate::support::disk;

const REPOSITORY: &str = "name = \"tools\"\nuri = \"https://example.org/rpm\"\nkey = \"key.asc\"\n";

#[test]
fn packages_of_dnf_are_checked() {
    let site = Site::new();
    site.write("key.asc", "key");
    site.write("disk.raw", &disk::xfs(7));
    let case = |lines: &str| format!("[base.file]\npath = \"disk.raw\"\n{lines}");
    let repository = |lines: &str| case(&format!("[[packages.dnf.repositories]]\n{lines}"));
    let cases = [
        case(
            "[packages.dnf]\ninstall = [\"NetworkManager-libnm\", \"gcc-c++=1:12.0-1.fc38\", \"perl(strict)\", \"-y\", \"x=\"]\n",
        ),
        case("[packages.dnf]\ninstall = [\"jq\"]\nremove = [\"jq\"]\n"),
        case("[packages.apt]\ninstall = [\"jq\"]\n[packages.dnf]\ninstall = [\"jq\"]\n"),
        repository("name = \"tools\"\nuri = \"https://example.org/rpm\"\n"),
        repository(&format!("{REPOSITORY}suites = [\"stable\"]\n")),
        repository(&format!(
            "{REPOSITORY}[[packages.dnf.repositories]]\n{REPOSITORY}"
        )),
    ];
    insta::assert_snapshot!(site.validate_each(&cases.each_ref().map(String::as_str)));
}

#[test]
fn a_plan_shows_packages_of_dnf() {
    let site = Site::new();
    site.write("key.asc", "key");
    site.write("disk.raw", &disk::xfs(7));
    let packages = "[packages.dnf]\ninstall = [\"jq\", \"curl=8.0-1\"]\nremove = [\"nano\"]\nrecommends = true\n";
    let text = format!(
        "{IMAGE}[base.file]\npath = \"disk.raw\"\n{packages}[[packages.dnf.repositories]]\n{REPOSITORY}"
    );
    site.write("web.toml", &text);
    let said = site.karat(["plan", "web.toml"]);
    let lines = said
        .lines()
        .skip_while(|line| !line.starts_with("packages"));
    let lines: Vec<_> = lines.take(3).collect();
    assert_eq!(
        lines,
        [
            "packages    install jq curl=8.0-1 (with recommended packages)",
            "            remove nano",
            "            from tools (https://example.org/rpm), signed by key.asc",
        ]
    );
}
