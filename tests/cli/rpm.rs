//! A root with packages that RPM itself has installed.

use std::fs;

use serde_json::Value;

use crate::site::Site;

/// Makes a package, and installs it in `root`.
const MAKE: &str = r#"
set -eu
cat >tool.spec <<'EOF'
Name: tool
Version: 1.0
Release: 3
Epoch: 2
Summary: tool
License: MIT
BuildArch: noarch
%description
tool
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc %{buildroot}/var/log
echo one >%{buildroot}/usr/bin/tool
echo two >%{buildroot}/usr/bin/other
ln -s tool %{buildroot}/usr/bin/link
echo three >%{buildroot}/etc/tool.conf
touch %{buildroot}/var/log/tool.log
%files
/usr/bin/tool
/usr/bin/other
/usr/bin/link
%config(noreplace) /etc/tool.conf
%ghost /var/log/tool.log
EOF
rpmbuild -bb --quiet --define "_topdir $PWD/build" --define "_rpmdir $PWD/repo" tool.spec
mkdir -p root/etc root/usr/bin root/lib
ln -s usr/bin root/bin
printf 'ID=almalinux\nVERSION_ID="9.4"\n' >root/etc/os-release
echo 'root:x:0:0:root:/root:/bin/sh' >root/etc/passwd
echo 'root:x:0:' >root/etc/group
rpm --root "$PWD/root" --dbpath /usr/lib/sysimage/rpm --noplugins --nodeps -i repo/*/tool-*.rpm
"#;

/// What was changed of packages.
fn modified(site: &Site) -> Vec<(String, String)> {
    let scan = ["scan", "root", "--without", "vulnerabilities", "--json"];
    let output = site.run_with(&scan);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(report["counts"]["packages"], 1, "{report}");
    let findings = report["findings"].as_array().unwrap().iter();
    let modified = findings.filter(|it| it["check"] == "modified-package-file");
    let text = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
    modified
        .map(|it| (text(it, "path"), text(it, "severity")))
        .collect()
}

#[test]
fn what_was_changed_of_a_package_that_rpm_installed_is_found() {
    let site = Site::new();
    let made = std::process::Command::new("sh")
        .args(["-c", MAKE])
        .current_dir(site.path("."))
        .env("HOME", site.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "no package: {said}");
    assert_eq!(modified(&site), []);
    fs::write(site.path("root/usr/bin/other"), "four\n").unwrap();
    fs::write(site.path("root/etc/tool.conf"), "five\n").unwrap();
    site.write("root/var/log/tool.log", "six\n");
    let [other, configuration] = [("/usr/bin/other", "high"), ("/etc/tool.conf", "medium")]
        .map(|(path, severity)| (path.to_owned(), severity.to_owned()));
    assert_eq!(modified(&site), [other, configuration]);
}
