use super::*;
use crate::scan::testing::{Planted, test_data};

const RELEASE: &str = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";

fn with_status(status: impl Into<Vec<u8>>) -> Planted {
    Planted::default()
        .file("/etc/os-release", 0o644, RELEASE)
        .file("/var/lib/dpkg/status", 0o644, status)
}

/// Rows of `dpkg-query`: name, version, architecture, source, source version and state, without packages that have no
/// files left.
fn rows_of(table: &str) -> Vec<String> {
    let mut rows: Vec<_> = table
        .lines()
        .map(|line| line.split('\t').skip(1).collect::<Vec<_>>().join("\t"))
        .filter(|row| !row.ends_with("config-files"))
        .collect();
    rows.sort();
    rows
}

fn rows(packages: &[Package]) -> Vec<String> {
    let mut rows: Vec<_> = packages
        .iter()
        .map(|package| {
            let status = match package.status.as_str() {
                "" => "install ok installed",
                status => status,
            };
            [
                &package.name,
                &package.version,
                &package.architecture,
                &package.source,
                &package.source_version,
                status,
            ]
            .join("\t")
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn statuses_are_read_or_rejected_as_by_dpkg() {
    let mut checked = 0;
    for path in std::fs::read_dir(test_data("dpkg")).unwrap() {
        let path = path.unwrap().path();
        if path.extension().is_none_or(|end| end != "status") {
            continue;
        }
        let answer = std::fs::read_to_string(path.with_extension("dpkg-query.txt")).unwrap();
        let found = read(&with_status(std::fs::read(&path).unwrap()).root());
        match answer.strip_prefix("rc=0\n") {
            Some(table) => {
                let inventory = found.unwrap();
                assert_eq!(
                    rows(&inventory.packages),
                    rows_of(table),
                    "{}",
                    path.display()
                );
                checked += inventory.packages.len();
                let json = serde_json::to_string(&inventory).unwrap();
                assert_eq!(serde_json::from_str::<Inventory>(&json).unwrap(), inventory);
            }
            None => assert!(found.is_err(), "dpkg rejects {}", path.display()),
        }
    }
    assert!(checked > 100, "only {checked} packages");
}

#[test]
fn an_image_without_dpkg_has_a_file_for_each_package() {
    let tree = Planted::default()
        .file("/usr/lib/os-release", 0o644, RELEASE)
        .file("/var/lib/dpkg/status.d/foo", 0o644, "Package: foo\nArchitecture: amd64\nVersion: 1.2.3\n\nPackage: bar\nStatus: deinstall ok config-files\nVersion: 1.0\n")
        .file("/var/lib/dpkg/status.d/foo.md5sums", 0o644, "d41d8cd98f00b204e9800998ecf8427e  usr/bin/foo\n");
    let packages = read(&tree.root()).unwrap().packages;
    assert_eq!(
        rows(&packages),
        ["foo\t1.2.3\tamd64\tfoo\t1.2.3\tinstall ok installed"]
    );
}

#[test]
fn a_database_that_is_gone_or_cut_short_is_an_error() {
    let whole = "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nStatus: install ok installed\nVersion: 2\n\n";
    let first = &whole[..=whole.find("\n\n").unwrap()];
    let release = || Planted::default().file("/etc/os-release", 0o644, RELEASE);
    let apk = Planted::default().file("/etc/alpine-release", 0o644, "3.18.4\n");
    let rpm = Planted::default().file("/etc/os-release", 0o644, "ID=rocky\nID_LIKE=\"rhel\"\n");
    for (tree, problem) in [
        (release(), "the package database is missing or empty"),
        (with_status(""), "the package database is missing or empty"),
        (with_status(&whole[..whole.len() - 6]), "truncated file"),
        (
            with_status("\0\0\0\0\n"),
            "paragraph without a Package field",
        ),
        (
            with_status(first).file("/var/lib/dpkg/info/b:amd64.list", 0o644, "/.\n"),
            "package b is missing, but its file list exists",
        ),
        (
            apk,
            "/lib/apk/db/installed: the package database is missing",
        ),
        (
            rpm,
            "/var/lib/rpm/rpmdb.sqlite: the package database is missing",
        ),
    ] {
        let error = read(&tree.root()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error} should say {problem:?}");
    }
    let tree = with_status(whole).file("/var/lib/dpkg/info/b:amd64.list", 0o644, "/.\n");
    assert_eq!(read(&tree.root()).unwrap().packages.len(), 2);
    let nothing = read(&Planted::default().file("/opt/a", 0o644, "").root()).unwrap();
    assert_eq!(nothing, Inventory::default());
}

#[test]
fn the_images_own_lists_of_support_are_read() {
    let tree = with_status("Package: a\nStatus: install ok installed\nVersion: 1\n\n")
        .file(
            "/usr/share/debian-security-support/security-support-ended.deb12",
            0o644,
            "a 1 2026-06-12 gone\n",
        )
        .file(
            "/usr/share/debian-security-support/security-support-ended.deb11",
            0o644,
            "b 1 2026-06-12 gone\n",
        )
        .file(
            "/usr/share/debian-security-support/security-support-limited",
            0o644,
            "c careful\n",
        );
    let support = read(&tree.root()).unwrap().support;
    let sources: Vec<_> = support.iter().map(|entry| entry.source.as_str()).collect();
    assert_eq!(sources, ["a", "c"]);
}
