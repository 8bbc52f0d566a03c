//! A base, declarations on top of it, and undeclared changes.

use std::collections::BTreeMap;

use super::declared::DeclaredPath;
use super::*;
use crate::digest::Digest;
use crate::disk::read::{FileType, Xattr};
use crate::disk::tree::{Content, File};
use crate::distro::rpm::header;
use crate::record::manifest::{self, Inputs};
use crate::scan::integrity::verify;
use crate::scan::inventory::rpm::tests::{
    Value, database as rpm_database, header_of, large_header,
};
use crate::scan::testing::{Planted, of};

const ABC: &str = "900150983cd24fb0d6963f7d28e17f72";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n";

fn status(packages: &[(&str, &str, &str)]) -> String {
    let paragraph = |(name, version, needs): &(&str, &str, &str)| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\nDepends: {needs}\n\n"
        )
    };
    packages.iter().map(paragraph).collect()
}

const BASE: (&str, &str, &str) = ("base", "1", "");
const WEB: (&str, &str, &str) = ("web", "2", "base");

fn base() -> Planted {
    Planted::default()
        .file("/var/lib/dpkg/status", 0o644, status(&[BASE]))
        .file(
            "/var/lib/dpkg/info/base.list",
            0o644,
            "/usr/bin/tool\n/usr/bin/su\n/usr/lib/systemd/system/off.service\n",
        )
        .file(
            "/var/lib/dpkg/info/base.md5sums",
            0o644,
            format!("{ABC}  usr/bin/tool\n"),
        )
        .file(
            "/var/lib/dpkg/info/base.postinst",
            0o755,
            "useradd debian\n",
        )
        .file("/usr/bin/tool", 0o755, "abc")
        .file("/usr/bin/su", 0o4755, "abc")
        .file("/usr/lib/systemd/system/off.service", 0o644, "[Unit]\n")
        .file("/usr/local/bin/kept", 0o755, "of the base")
        .file(
            "/etc/apt/sources.list",
            0o644,
            "deb http://example.org/debian x main\n",
        )
        .file("/etc/passwd", 0o644, PASSWD)
        .file("/etc/group", 0o644, "root:x:0:\nsudo:x:27:\n")
}

/// The base with everything that is declared, and nothing else.
fn built() -> Planted {
    base()
        .file("/var/lib/dpkg/status", 0o644, status(&[BASE, WEB]))
        .file(
            "/var/lib/dpkg/info/web.list",
            0o644,
            "/usr/sbin/web\n/usr/bin/web-ping\n/usr/lib/systemd/system/web.service\n/usr/lib/systemd/user/web.socket\n/usr/bin/ed.web\n",
        )
        .file("/var/lib/dpkg/info/web.postinst", 0o755, "#!/bin/sh\nadduser --system \\\n  --group web\n")
        .file("/usr/sbin/web", 0o755, "abc")
        .file("/usr/bin/ed.web", 0o755, "abc")
        .with("/usr/bin/web-ping", capable())
        .file("/usr/lib/systemd/system/web.service", 0o644, "[Unit]\n")
        .link("/etc/systemd/system/multi-user.target.wants/web.service", "/usr/lib/systemd/system/web.service")
        .file("/var/lib/systemd/deb-systemd-helper-enabled/multi-user.target.wants/web.service", 0o644, "")
        .file("/usr/lib/systemd/user/web.socket", 0o644, "[Unit]\n")
        .link("/etc/systemd/user/sockets.target.wants/web.socket", "/usr/lib/systemd/user/web.socket")
        .file("/var/lib/systemd/deb-systemd-user-helper-enabled/sockets.target.wants/web.socket", 0o644, "")
        .link("/etc/systemd/system/apt-daily.timer", "/dev/null")
        .link("/usr/bin/ed", "/etc/alternatives/ed")
        .link("/etc/alternatives/ed", "/usr/bin/ed.web")
        .file("/var/lib/dpkg/alternatives/ed", 0o644, "auto\n/usr/bin/ed\n\n/usr/bin/ed.web\n10\n")
        .file("/etc/passwd", 0o644, format!("{PASSWD}web:x:101:101::/:/bin/false\n"))
        .file("/etc/group", 0o644, "root:x:0:\nsudo:x:27:\nweb:x:101:\n")
        .file("/etc/apt/sources.list.d/tools.sources", 0o644, "Types: deb\nURIs: https://example.org/tools/\n")
        .file("/etc/apt/keyrings/tools.asc", 0o644, "key")
        .file("/etc/yum.repos.d/tools.repo", 0o644, "[tools]\nbaseurl=https://example.org/tools/\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-tools\n")
        .file("/etc/pki/rpm-gpg/RPM-GPG-KEY-tools", 0o644, "key")
        .file("/usr/local/bin/hello", 0o755, "declared")
        .file("/opt/app/lib/x", 0o644, "made by a step")
        .directory("/opt/empty", 0o755)
}

fn capable() -> File {
    let mut file = of(FileType::File, 0o755, Content::Bytes(b"abc".to_vec()));
    file.xattrs = vec![Xattr {
        name: b"security.capability".to_vec(),
        value: vec![1],
    }];
    file
}

fn inputs() -> Inputs {
    let repository = manifest::Repository {
        name: "tools".to_owned(),
        uri: "https://example.org/tools".to_owned(),
        suites: vec!["stable".to_owned()],
        components: vec!["main".to_owned()],
        key: None,
        trusted: false,
        keep: true,
    };
    let text = serde_json::json!({
        "image": {"name": "web", "description": ""},
        "template": {"digest": Digest::of(b""), "text": ""},
        "variables": {}, "secrets": {},
        "base": {"kind": "file", "digest": Digest::of(b""), "size": 1, "format": "raw"},
        "packages": {"apt": {"install": ["web"], "remove": [], "recommends": false, "repositories": [repository]}},
        "files": [{"destination": "/usr/local/bin/hello", "digest": Digest::of(b""), "owner": "root:root"}],
        "steps": [
            {"name": "old", "action": {"reboot": {}}},
            {"name": "make", "action": {"reboot": {}}, "creates": ["/opt/app/**"]},
        ],
        "network": {"open": false}, "hermetic": true,
    });
    serde_json::from_value(text).unwrap()
}

fn declared() -> Declared {
    let tree = base();
    let root = tree.root();
    let facts = ObservedState::collect(&root, &verify(&root).unwrap()).unwrap();
    let mut declared = Declared::new(facts, None, &inputs());
    // With the version from a lock file.
    declared.packages[0].exact = Some(("2".to_owned(), "amd64".to_owned()));
    declared
}

fn found(tree: &Planted, declared: &Declared) -> BTreeMap<String, String> {
    let root = tree.root();
    let packaged = verify(&root).unwrap();
    let now = ObservedState::collect(&root, &packaged).unwrap();
    let findings = check(&root, &packaged, &now, declared).unwrap();
    // Of the base no more need be known than what the image asks for.
    let declared = Declared {
        base: ObservedState::collect_base(&base().root(), &now).unwrap(),
        ..declared.clone()
    };
    let sparing = check(&root, &packaged, &now, &declared).unwrap();
    assert_eq!(findings, sparing);
    findings
        .into_iter()
        .map(|finding| (finding.id, finding.evidence))
        .collect()
}

#[test]
fn nothing_is_found_where_everything_is_declared() {
    assert_eq!(found(&built(), &declared()), BTreeMap::new());
    assert_eq!(found(&base(), &declared()), BTreeMap::new());
}

/// The cases of one file: id of the finding, part of its evidence, path, mode in octal, content.
const FILE_CASES: &str = r"
undeclared-program:/usr/local/bin/x | related: `[[files]]` declares /usr/local/bin/hello | /usr/local/bin/x | 755 | x
undeclared-program:/usr/local/bin/kept | differs from the base | /usr/local/bin/kept | 755 | other
undeclared-program:/usr/local/bin/kept | differs from the base | /usr/local/bin/kept | 777 | of the base
undeclared-file:/opt/apple/x | 1 bytes | /opt/apple/x | 644 | x
undeclared-file:/usr/local/lib/x.so | no related declaration | /usr/local/lib/x.so | 644 | x
undeclared-unit:/etc/systemd/system/x.service | no related declaration | /etc/systemd/system/x.service | 644 | x
undeclared-start:/etc/cron.d/x | no related declaration | /etc/cron.d/x | 644 | x
undeclared-access:/etc/sudoers.d/x | no related declaration | /etc/sudoers.d/x | 440 | x
undeclared-repository:/etc/apt/sources.list | differs from the base | /etc/apt/sources.list | 644 | deb http://example.org/other x main\n
undeclared-repository:/etc/apt/sources.list.d/tools.sources | mode 0644 | /etc/apt/sources.list.d/tools.sources | 644 | Types: deb\nURIs: https://example.org/tools https://example.org/other\n
undeclared-repository:/etc/apt/keyrings/other.asc | no related declaration | /etc/apt/keyrings/other.asc | 644 | x
undeclared-repository:/etc/pki/rpm-gpg/RPM-GPG-KEY-other | no related declaration | /etc/pki/rpm-gpg/RPM-GPG-KEY-other | 644 | x
undeclared-setuid:/srv/sh | mode 4755 | /srv/sh | 4755 | x
undeclared-setuid:/usr/bin/tool | base has the file without these rights | /usr/bin/tool | 4755 | abc
undeclared-user:debian | 1000 | /etc/passwd | 644 | {PASSWD}debian:x:1000:1000::/:/bin/sh\n
undeclared-user:root | is now | /etc/passwd | 644 | root:x:0:0:root:/root:/bin/zsh\n
undeclared-group:extra | gid 7 | /etc/group | 644 | root:x:0:\nsudo:x:27:\nextra:x:7:\n
undeclared-group:sudo/web | new member | /etc/group | 644 | root:x:0:\nsudo:x:27:web\n
modified-package-database:/var/lib/dpkg/info/base.md5sums | the same version | /var/lib/dpkg/info/base.md5sums | 644 | {ABC}  usr/bin/su\n
modified-package-database:/var/lib/dpkg/info/base.prerm | the same version | /var/lib/dpkg/info/base.prerm | 755 | true
modified-package-file:/usr/bin/tool | no related declaration | /usr/bin/tool | 755 | abd
";

/// Id of a finding, part of its evidence, and the change that causes it.
type Case = (&'static str, &'static str, fn(Planted) -> Planted);

const OTHER_CASES: &[Case] = &[
    (
        "undeclared-package:extra",
        "no related declaration",
        |tree| {
            tree.file(
                "/var/lib/dpkg/status",
                0o644,
                status(&[BASE, WEB, ("extra", "1", "")]),
            )
        },
    ),
    (
        "undeclared-package:extra",
        "related: web depends on it",
        |tree| {
            tree.file(
                "/var/lib/dpkg/status",
                0o644,
                status(&[BASE, ("web", "2", "extra (>= 1), base"), ("extra", "1", "")]),
            )
        },
    ),
    ("undeclared-version:base", "the base has 1", |tree| {
        tree.file(
            "/var/lib/dpkg/status",
            0o644,
            status(&[("base", "1.1", ""), WEB]),
        )
    }),
    ("undeclared-version:web", "the lock file has 2", |tree| {
        tree.file(
            "/var/lib/dpkg/status",
            0o644,
            status(&[BASE, ("web", "3", "base")]),
        )
    }),
    (
        "undeclared-program:/usr/bin/x",
        "no related declaration",
        |tree| tree.link("/usr/bin/x", "/opt/app/x"),
    ),
    (
        "undeclared-program:/usr/bin/vi",
        "no related declaration",
        |tree| tree.link("/usr/bin/vi", "/etc/alternatives/vi"),
    ),
    (
        "undeclared-unit:/etc/systemd/system/multi-user.target.wants/off.service",
        "leads to",
        |tree| {
            tree.link(
                "/etc/systemd/system/multi-user.target.wants/off.service",
                "/usr/lib/systemd/system/off.service",
            )
        },
    ),
    (
        "undeclared-unit:/etc/systemd/user/sockets.target.wants/off.socket",
        "leads to",
        |tree| {
            tree.link(
                "/etc/systemd/user/sockets.target.wants/off.socket",
                "/usr/lib/systemd/user/web.socket",
            )
        },
    ),
    (
        "undeclared-capability:/srv/ping",
        "no related declaration",
        |tree| tree.with("/srv/ping", capable()),
    ),
];

/// Returns id, part of the evidence and the tree of each case.
fn cases() -> impl Iterator<Item = (&'static str, &'static str, Planted)> {
    let lines = FILE_CASES.lines().filter(|line| !line.is_empty());
    let files = lines.map(|line| match line.split(" | ").collect::<Vec<_>>()[..] {
        [id, words, path, mode, content] => {
            let content = content.replace(r"\n", "\n");
            let content = content.replace("{PASSWD}", PASSWD).replace("{ABC}", ABC);
            let mode = u16::from_str_radix(mode, 8).unwrap();
            (id, words, built().file(path, mode, content))
        }
        _ => panic!("not five columns: {line}"),
    });
    let others = OTHER_CASES.iter();
    files.chain(others.map(|(id, words, plant)| (*id, *words, plant(built()))))
}

#[test]
fn what_nobody_has_declared_is_found_with_its_nearest_cause() {
    for (id, words, tree) in cases() {
        let found = found(&tree, &declared());
        assert!(found.len() == 1, "{id}: {found:?}");
        let evidence = found.get(id).unwrap_or_else(|| panic!("{id}: {found:?}"));
        assert!(evidence.contains(words), "{id}: {evidence}");
    }
}

#[test]
fn every_place_has_a_case() {
    for place in watched_paths::PLACES {
        assert!(
            cases().any(|(id, ..)| id.starts_with(place.check)),
            "{}",
            place.check
        );
    }
}

#[test]
fn what_is_declared_may_differ_from_its_package() {
    let tree = built().file("/usr/bin/tool", 0o755, "abd");
    let mut declared = declared();
    declared.creates.push(DeclaredPath {
        path: "/usr/bin/tool".to_owned(),
        by: "a step".to_owned(),
    });
    assert_eq!(found(&tree, &declared), BTreeMap::new());
}

#[test]
fn accounts_are_declared_by_the_step_that_makes_them() {
    let tree = built()
        .file(
            "/etc/passwd",
            0o644,
            format!("{PASSWD}app:x:1000:1000::/:/bin/sh\n"),
        )
        .file(
            "/etc/group",
            0o644,
            "root:x:0:\nsudo:x:27:app\napp:x:1000:\n",
        );
    let left = |creates: &[&str]| {
        let mut declared = declared();
        declared
            .creates
            .extend(creates.iter().map(|&path| DeclaredPath {
                path: path.to_owned(),
                by: "a step".to_owned(),
            }));
        found(&tree, &declared).into_keys().collect::<Vec<_>>()
    };
    let (user, group) = ("undeclared-user:app", "undeclared-group:app");
    let member = "undeclared-group:sudo/app";
    assert_eq!(left(&[]), [group, member, user]);
    // The right to be root does not come with a user.
    assert_eq!(left(&["user:app"]), [member]);
    assert_eq!(left(&["group:app"]), [member, user]);
    assert!(left(&["user:app", "group:sudo/app"]).is_empty());
}

/// A system of RPM with the package `web`, whose scripts make a user and whose unit is to be enabled; and with that user and
/// the link.
fn rpm_system(programs: &[&str], preset: &str) -> Planted {
    let web = header_of(&[
        (header::NAME, Value::Text("web")),
        (header::VERSION, Value::Text("2")),
        (header::RELEASE, Value::Text("1")),
        (header::ARCHITECTURE, Value::Text("noarch")),
        (
            header::BEFORE_INSTALL,
            Value::Text("getent passwd web || useradd -r web"),
        ),
        (
            header::DIRECTORIES,
            Value::Texts(&["/usr/bin/", "/usr/lib/systemd/system/"]),
        ),
        (
            header::BASE_NAMES,
            Value::Texts(&[programs, &["web.service", "web@.service"]].concat()),
        ),
        (
            header::DIRECTORY_INDICES,
            Value::Numbers(&[vec![0; programs.len()], vec![1, 1]].concat()),
        ),
    ]);
    rpm_base(&web)
        .file("/usr/bin/web", 0o755, "abc")
        .file("/usr/lib/systemd/system/web.service", 0o644, "[Unit]\n")
        .file("/usr/lib/systemd/system/web@.service", 0o644, "[Unit]\n")
        .file(
            "/usr/lib/systemd/system-preset/50-web.preset",
            0o644,
            preset,
        )
        .file(
            "/usr/lib/systemd/system-preset/99-default.preset",
            0o644,
            "# nothing else\ndisable *\n",
        )
        .link(
            "/etc/systemd/system/multi-user.target.wants/web.service",
            "/usr/lib/systemd/system/web.service",
        )
        .link(
            "/etc/systemd/system/multi-user.target.wants/web@1.service",
            "/usr/lib/systemd/system/web@.service",
        )
        .file(
            "/etc/passwd",
            0o644,
            format!("{PASSWD}web:x:101:101::/:/bin/false\n"),
        )
        .file("/etc/group", 0o644, "root:x:0:\nsudo:x:27:\nweb:x:101:\n")
}

/// The base of [`rpm_system`], with one package, without `web`.
fn rpm_base(more: &[u8]) -> Planted {
    let database = rpm_database(more, &large_header());
    Planted::default()
        .file("/var/lib/rpm/rpmdb.sqlite", 0o644, database)
        .file("/etc/passwd", 0o644, PASSWD)
        .file("/etc/group", 0o644, "root:x:0:\nsudo:x:27:\n")
}

#[test]
fn what_an_rpm_brings_is_declared_with_it() {
    let key = header_of(&[(header::NAME, Value::Text("gpg-pubkey"))]);
    let base = rpm_base(&key);
    let found = |tree: &Planted, exact: &str| {
        let root = base.root();
        let facts = ObservedState::collect(&root, &verify(&root).unwrap()).unwrap();
        let mut declared = Declared::new(facts, None, &inputs());
        declared.packages[0].exact = Some((exact.to_owned(), "noarch".to_owned()));
        let root = tree.root();
        let packaged = verify(&root).unwrap();
        let now = ObservedState::collect(&root, &packaged).unwrap();
        let found = check(&root, &packaged, &now, &declared).unwrap();
        found
            .into_iter()
            .map(|finding| finding.id)
            .collect::<Vec<_>>()
    };
    let enabled = "enable web.service\nenable web@.service\n";
    let system = rpm_system(&["web"], enabled);
    assert!(
        found(&system, "2-1").is_empty(),
        "{:?}",
        found(&system, "2-1")
    );
    assert_eq!(found(&system, "2-2"), ["undeclared-version:web"]);
    let unit = |name: &str| {
        format!("undeclared-unit:/etc/systemd/system/multi-user.target.wants/{name}.service")
    };
    assert_eq!(
        found(&rpm_system(&["web"], "enable web.service\n"), "2-1"),
        [unit("web@1")]
    );
    assert_eq!(
        found(&rpm_system(&["web"], ""), "2-1"),
        [unit("web"), unit("web@1")]
    );
    assert_eq!(
        found(&rpm_system(&[], enabled), "2-1"),
        ["undeclared-program:/usr/bin/web"]
    );
}

#[test]
fn what_rpm_keeps_of_a_package_of_the_base_stays_as_it_is() {
    let [base, tree] = [&["web"][..], &[]].map(|programs| rpm_system(programs, ""));
    let root = base.root();
    let facts = ObservedState::collect(&root, &verify(&root).unwrap()).unwrap();
    let declared = Declared::new(facts, None, &inputs());
    let root = tree.root();
    let packaged = verify(&root).unwrap();
    let now = ObservedState::collect(&root, &packaged).unwrap();
    let found = check(&root, &packaged, &now, &declared).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|finding| (finding.id.as_str(), finding.package.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("undeclared-program:/usr/bin/web", None),
            (
                "modified-package-database:/var/lib/rpm/rpmdb.sqlite",
                Some("web")
            ),
        ]
    );
}

#[test]
fn without_a_lock_what_a_declared_package_needs_is_declared() {
    let (web, extra) = (("web", "9", "extra"), ("extra", "1", "more | other"));
    let packages = [BASE, web, extra, ("more", "1", ""), ("stray", "1", "")];
    let tree = built().file("/var/lib/dpkg/status", 0o644, status(&packages));
    let mut declared = declared();
    declared.packages[0].exact = None;
    let found: Vec<_> = found(&tree, &declared).into_keys().collect();
    assert_eq!(found, ["undeclared-package:stray"]);
}

#[test]
fn a_python_module_is_compiled_of_what_is_declared() {
    let compiled = |name: &str| {
        built().file(
            &format!("/opt/lib/__pycache__/{name}.cpython-311.pyc"),
            0o644,
            "x",
        )
    };
    let tree = compiled("a").file("/opt/lib/a.py", 0o644, "x");
    let mut declared = declared();
    declared.files.push(DeclaredPath {
        path: "/opt/lib/a.py".to_owned(),
        by: "`[[files]]`".to_owned(),
    });
    assert_eq!(found(&tree, &declared), BTreeMap::new());
    assert_eq!(found(&compiled("b"), &declared).len(), 1);
}

#[test]
fn a_directory_declares_what_is_in_it_and_nothing_else() {
    let tree = built()
        .file("/usr/local/share/web/a", 0o644, "x")
        .file("/usr/local/share/web/sub/b", 0o644, "x")
        .file("/usr/local/share/web/c", 0o644, "stray");
    let mut declared = declared();
    declared.files.push(DeclaredPath {
        path: "/usr/local/share/web".to_owned(),
        by: "`[[files]]`".to_owned(),
    });
    assert_eq!(
        found(&tree, &declared),
        BTreeMap::new(),
        "without a listing"
    );
    let digest = crate::digest::Digest::of(b"x").hex();
    let listing = format!("directory sub\0file 0644 {digest} a\0file 0644 {digest} sub/b\0");
    declared.narrow("/usr/local/share/web/", listing.as_bytes());
    let found = found(&tree, &declared);
    let ids: Vec<_> = found.keys().collect();
    assert_eq!(ids, ["undeclared-file:/usr/local/share/web/c"]);
    assert!(
        found
            .values()
            .all(|evidence| evidence.contains("related: `[[files]]` declares")),
        "{found:?}"
    );
}
