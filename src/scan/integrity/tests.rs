use super::*;
use crate::distro::rpm::header;
use crate::scan::inventory::rpm::tests::{Value, database as rpm_database, header_of};
use crate::scan::testing::Planted;

fn planted() -> Planted {
    Planted::default().table::<&str>("integrity/dpkg.tsv", &[])
}

#[test]
fn a_packaged_file_is_its_packages_or_it_is_not() {
    let tree = planted();
    let root = tree.root();
    let packaged = verify(&root).unwrap();
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
    assert_eq!(
        modified(&packaged),
        [
            ("/etc/changed", true),
            ("/usr/bin/changed", false),
            ("/usr/bin/link", false)
        ]
    );
    let versions: Vec<_> = packaged
        .packages
        .iter()
        .map(|package| (package.name.as_str(), package.version.as_str()))
        .collect();
    assert_eq!(versions, [("tool", "1"), ("zother", "2")]);
    assert_eq!(packaged.findings().len(), 3);
}

const SHA256_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn modified(packaged: &Packaged) -> Vec<(&str, bool)> {
    let all = packaged.modified.iter();
    all.map(|file| (str::from_utf8(&file.path).unwrap(), file.conffile))
        .collect()
}

#[test]
fn files_of_rpms_are_compared_with_the_digests_in_their_headers() {
    let tool = header_of(&[
        (header::NAME, Value::Text("tool")),
        (header::VERSION, Value::Text("1")),
        (header::RELEASE, Value::Text("2")),
        (header::ARCHITECTURE, Value::Text("noarch")),
        (header::DIRECTORIES, Value::Texts(&["/bin/", "/etc/"])),
        (
            header::BASE_NAMES,
            Value::Texts(&[
                "same", "changed", "replaced", "link", "conf", "shells", "ghost",
            ]),
        ),
        (
            header::DIRECTORY_INDICES,
            Value::Numbers(&[0, 0, 0, 0, 1, 1, 1]),
        ),
        (
            header::FILE_DIGESTS,
            Value::Texts(&[
                SHA256_ABC, SHA256_ABC, SHA256_ABC, "", SHA256_ABC, SHA256_ABC, "",
            ]),
        ),
        (header::FILE_FLAGS, Value::Numbers(&[0, 0, 0, 0, 17, 1, 64])),
        (header::FILE_STATES, Value::Bytes(&[0, 0, 1, 0, 0, 0, 0])),
        (header::DIGEST_ALGORITHM, Value::Numbers(&[8])),
        (
            header::REQUIRES,
            Value::Texts(&["libssl.so.3()(64bit)", "/bin/same", "nobody"]),
        ),
    ]);
    let padding = "x".repeat(5000);
    let other = header_of(&[
        (header::NAME, Value::Text("openssl-libs")),
        (1005, Value::Text(&padding)),
        (header::VERSION, Value::Text("3")),
        (header::RELEASE, Value::Text("1")),
        (
            header::PROVIDES,
            Value::Texts(&["openssl-libs", "libssl.so.3()(64bit)"]),
        ),
    ]);
    let tree = Planted::default()
        .file(
            "/var/lib/rpm/rpmdb.sqlite",
            0o644,
            rpm_database(&tool, &other),
        )
        .link("/bin", "usr/bin")
        .file("/usr/bin/same", 0o755, "abc")
        .file("/usr/bin/changed", 0o755, "abd")
        .file("/usr/bin/replaced", 0o755, "another package has it")
        .link("/usr/bin/link", "same")
        .file("/etc/conf", 0o644, "abd")
        .file("/etc/shells", 0o644, "every shell adds itself")
        .file("/etc/ghost", 0o644, "anything");
    let root = tree.root();
    let packaged = verify(&root).unwrap();
    assert_eq!(
        modified(&packaged),
        [("/etc/conf", true), ("/usr/bin/changed", false)]
    );
    let same = root.tree().find(b"/usr/bin/same").unwrap();
    assert_eq!(packaged.identical, HashSet::from([same]));
    for (path, owner) in [
        ("/usr/bin/link", Some("tool")),
        ("/etc/ghost", Some("tool")),
        ("/etc/other", None),
    ] {
        assert_eq!(packaged.owner(path.as_bytes()), owner, "{path}");
    }
    assert_eq!(packaged.packages[0].version, "1-2");
    assert_eq!(packaged.packages[0].needs, ["openssl-libs", "tool"]);
    let evidence = &packaged.findings()[0].evidence;
    assert!(evidence.starts_with("its SHA-256 differs"), "{evidence}");
}

#[test]
fn files_of_alpine_are_compared_with_the_digests_of_its_database() {
    // SHA-1 of `abc`.
    let abc = "Q1qZk+NkcGgWq6PiVxeFDCbJzQ2J0=";
    let database = format!(
        "C:Q1x=\nP:tool\nV:1-r0\nA:x86_64\nD:so:libc.so=1 !worse cmd:missing\nF:bin\nM:0:0:0755\nR:same\na:0:0:755\nZ:{abc}\n\
         R:changed\nZ:{abc}\nR:bare\nF:etc\nR:conf\nZ:{abc}\nR:passwd\nZ:{abc}\nF:etc/init.d\nR:tool\nZ:{abc}\n\n\
         P:musl\nV:2-r0\np:so:libc.so=1\nF:\nR:top\nZ:{abc}\n\n"
    );
    let tree = Planted::default()
        .file("/lib/apk/db/installed", 0o644, database)
        .link("/bin", "usr/bin")
        .file("/usr/bin/same", 0o755, "abc")
        .file("/usr/bin/changed", 0o755, "abd")
        .file("/usr/bin/bare", 0o755, "abd")
        .file("/etc/conf", 0o644, "abd")
        .file("/etc/passwd", 0o644, "every account")
        .file("/etc/init.d/tool", 0o755, "abd")
        .file("/top", 0o644, "abd");
    let packaged = verify(&tree.root()).unwrap();
    assert_eq!(
        modified(&packaged),
        [
            ("/etc/conf", true),
            ("/etc/init.d/tool", false),
            ("/top", false),
            ("/usr/bin/changed", false)
        ]
    );
    assert_eq!(packaged.identical.len(), 1);
    assert_eq!(packaged.owner(b"/usr/bin/bare"), Some("tool"));
    assert_eq!(packaged.packages[0].needs, ["musl"]);
}

#[test]
fn checksums_that_cannot_be_read_are_an_error() {
    for line in [
        "900150983cd24fb0  bin/tool\n",
        "tool\n",
        "900150983cd24fb0d6963f7d28e17f72\n",
    ] {
        let tree = planted().file("/var/lib/dpkg/info/zother.md5sums", 0o644, line);
        let error = verify(&tree.root()).unwrap_err();
        assert!(
            matches!(error, ScanError::Damaged { .. }),
            "{line:?}: {error}"
        );
    }
}

#[test]
fn a_tree_without_packages_has_none() {
    let tree = Planted::default().file("/bin/sh", 0o755, "");
    let packaged = verify(&tree.root()).unwrap();
    assert!(packaged.identical.is_empty() && packaged.modified.is_empty());
}
