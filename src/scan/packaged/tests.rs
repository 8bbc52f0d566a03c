use super::*;
use crate::scan::testing::Planted;

const ABC: &str = "900150983cd24fb0d6963f7d28e17f72";
const EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";

fn planted() -> Planted {
    let status = format!(
        "Package: tool\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\nConffiles:\n \
         /etc/same {ABC}\n /etc/changed {ABC}\n /etc/old {ABC} obsolete\n /etc/with space {ABC}\n /etc/new newconffile\n\n\
         Package: zother\nStatus: install ok half-configured\nArchitecture: all\nVersion: 2\n\n\
         Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 3\n"
    );
    Planted::default()
        .file("/var/lib/dpkg/status", 0o644, status)
        .file(
            "/var/lib/dpkg/info/tool:amd64.list",
            0o644,
            "/.\n/bin\n/bin/tool\n/bin/sh\n/usr/bin/changed\n/etc/same\n/usr/bin/link\n",
        )
        .file(
            "/var/lib/dpkg/info/tool:amd64.md5sums",
            0o644,
            format!("{ABC}  bin/tool\n{ABC}  bin/sh\n{ABC}  usr/bin/changed\n{ABC}  usr/bin/link\n{ABC}  usr/bin/missing\n{ABC}  usr/bin/taken\n"),
        )
        .file("/var/lib/dpkg/info/zother.list", 0o644, "/.\n/bin/sh\n/usr/bin/taken\n")
        .file("/var/lib/dpkg/info/zother.md5sums", 0o644, format!("{EMPTY}  bin/sh\n"))
        .file(
            "/var/lib/dpkg/diversions",
            0o644,
            "/bin/sh\n/bin/sh.distrib\nzother\n",
        )
        .link("/bin", "usr/bin")
        .file("/usr/bin/tool", 0o755, "abc")
        .file("/usr/bin/sh", 0o755, "")
        .file("/usr/bin/sh.distrib", 0o755, "abc")
        .file("/usr/bin/changed", 0o755, "abd")
        .link("/usr/bin/link", "tool")
        .file("/usr/bin/taken", 0o755, "another package has it")
        .file("/usr/bin/stranger", 0o755, "abc")
        .file("/etc/same", 0o644, "abc")
        .file("/etc/changed", 0o644, "xyz")
        .file("/etc/old", 0o644, "xyz")
        .file("/etc/with space", 0o644, "abc")
        .file("/etc/new", 0o644, "xyz")
}

#[test]
fn a_packaged_file_is_its_packages_or_it_is_not() {
    let tree = planted();
    let root = tree.root();
    let packaged = verify(&root, 2).unwrap();
    for (path, identical, owner) in [
        ("/usr/bin/tool", true, Some("tool")),
        ("/usr/bin/sh", true, Some("zother")),
        ("/usr/bin/sh.distrib", true, Some("tool")),
        ("/usr/bin/changed", false, Some("tool")),
        ("/usr/bin/taken", false, Some("zother")),
        ("/usr/bin/stranger", false, None),
        ("/etc/same", true, Some("tool")),
        ("/etc/changed", false, Some("tool")),
        ("/etc/old", false, Some("tool")),
        ("/etc/with space", true, Some("tool")),
        ("/etc/new", false, None),
    ] {
        let index = root.tree().find(path.as_bytes()).unwrap();
        assert_eq!(packaged.identical.contains(&index), identical, "{path}");
        assert_eq!(packaged.owner(path.as_bytes()), owner, "{path}");
    }
    let modified: Vec<_> = packaged
        .modified
        .iter()
        .map(|it| (str::from_utf8(&it.path).unwrap(), it.conffile))
        .collect();
    assert_eq!(
        modified,
        [("/etc/changed", true), ("/usr/bin/changed", false)]
    );
    let versions: Vec<_> = packaged
        .packages
        .iter()
        .map(|it| (it.name.as_str(), it.version.as_str()))
        .collect();
    assert_eq!(versions, [("tool", "1"), ("zother", "2")]);
    assert_eq!(packaged.findings().len(), 2);
}

#[test]
fn checksums_that_cannot_be_read_are_an_error() {
    for line in [
        "900150983cd24fb0  bin/tool\n",
        "tool\n",
        "900150983cd24fb0d6963f7d28e17f72\n",
    ] {
        let tree = planted().file("/var/lib/dpkg/info/zother.md5sums", 0o644, line);
        let error = verify(&tree.root(), 1).unwrap_err();
        assert!(
            matches!(error, ScanError::Damaged { .. }),
            "{line:?}: {error}"
        );
    }
}

#[test]
fn a_tree_without_packages_has_none() {
    let tree = Planted::default().file("/bin/sh", 0o755, "");
    let packaged = verify(&tree.root(), 2).unwrap();
    assert!(packaged.identical.is_empty() && packaged.modified.is_empty());
}
