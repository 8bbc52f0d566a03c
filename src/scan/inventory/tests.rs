use super::*;
use crate::scan::testing::{Planted, reference};

const RELEASE: &str = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n";

fn with_status(status: impl Into<Vec<u8>>) -> Planted {
    Planted::default()
        .file("/etc/os-release", 0o644, RELEASE)
        .file("/var/lib/dpkg/status", 0o644, status)
}

/// As `dpkg-query` shows them: name, version, architecture, source, its version, state; what has no files left is not there.
fn rows_of(table: &str) -> Vec<String> {
    let lines = table
        .lines()
        .filter(|line| line.contains('\t') && !line.starts_with('#'));
    let mut rows: Vec<_> = lines
        .map(|line| line.split('\t').skip(1).collect::<Vec<_>>().join("\t"))
        .filter(|row| !row.ends_with("config-files") && !row.ends_with("not-installed"))
        .collect();
    rows.sort();
    rows
}

fn rows(packages: &[Package]) -> Vec<String> {
    let mut rows: Vec<_> = packages
        .iter()
        .map(|one| {
            let status = match one.status.as_str() {
                "" => "install ok installed",
                status => status,
            };
            [
                &one.name,
                &one.version,
                &one.architecture,
                &one.source,
                &one.source_version,
                status,
            ]
            .join("\t")
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn the_inventories_of_the_reference_are_those_of_dpkg_query() {
    for name in [
        "debian9-osvdev",
        "debian11-vm",
        "debian12-docker",
        "debian12-devbox",
    ] {
        let Some(path) = reference(name) else {
            return;
        };
        let text = |file: &str| std::fs::read_to_string(path.join(file)).unwrap();
        let tree = Planted::default()
            .file("/etc/os-release", 0o644, text("root/etc/os-release"))
            .file(
                "/var/lib/dpkg/status",
                0o644,
                text("root/var/lib/dpkg/status"),
            );
        let inventory = read(&tree.root()).unwrap();
        let expected = rows_of(&text("inventory.dpkg-query.tsv"));
        assert_eq!(rows(&inventory.packages), expected, "{name}");
        assert!(
            expected.len() > 80,
            "{name} has only {} packages",
            expected.len()
        );
        let json = serde_json::to_string(&inventory).unwrap();
        assert_eq!(serde_json::from_str::<Inventory>(&json).unwrap(), inventory);
    }
}

#[test]
fn odd_statuses_are_read_or_refused_as_dpkg_does() {
    let Some(folder) = reference("dpkg-parse") else {
        return;
    };
    let mut checked = 0;
    for path in std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let Ok(said) = std::fs::read_to_string(path.with_extension("status.dpkg-query.txt")) else {
            continue;
        };
        checked += 1;
        let found = read(&with_status(std::fs::read(&path).unwrap()).root());
        let (said, _) = said.split_once("--stderr--").unwrap_or((&said, ""));
        match said.strip_prefix("rc=0\n") {
            Some(table) => assert_eq!(
                rows(&found.unwrap().packages),
                rows_of(table),
                "{}",
                path.display()
            ),
            None => assert!(found.is_err(), "{} is refused by dpkg", path.display()),
        }
    }
    assert!(checked > 5, "only {checked} statuses");
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
        (
            release(),
            "the database of packages is missing or has no packages",
        ),
        (
            with_status(""),
            "the database of packages is missing or has no packages",
        ),
        (with_status(&whole[..whole.len() - 6]), "it is cut short"),
        (
            with_status("\0\0\0\0\n"),
            "a paragraph has no field Package",
        ),
        (
            with_status(first).file("/var/lib/dpkg/info/b:amd64.list", 0o644, "/.\n"),
            "it does not know b, whose list of files is there",
        ),
        (
            apk,
            "/lib/apk/db/installed: the database of packages is missing",
        ),
        (
            rpm,
            "/var/lib/rpm/rpmdb.sqlite: the database of packages is missing",
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
    let sources: Vec<_> = support.iter().map(|one| one.source.as_str()).collect();
    assert_eq!(sources, ["a", "c"]);
}
