//! A base, declarations on top of it, and undeclared changes.

use std::collections::BTreeMap;

use md5::Digest as _;
use serde_json::json;

use super::declared::{DeclaredPackage, DeclaredPath, Right};
use super::*;
use crate::digest::Digest;
use crate::distro::debian::deb::{Entry, EntryKind, PackageContent};
use crate::distro::rpm::header;
use crate::record::manifest::{self, Inputs};
use crate::scan::integrity::{LockedPackage, Trusted, verify, verify_trusted};
use crate::scan::inventory::rpm::tests::{
    Value, database as rpm_database, header_of, large_header,
};
use crate::scan::testing::{self, Planted};

mod scripts;
mod steps;

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

/// A unit that is enabled in two ways.
const UNIT: &str = "[Install]\nWantedBy=multi-user.target\nWantedBy=sockets.target\n";

/// Texts of the tables.
fn texts() -> [(&'static str, String); 5] {
    [
        ("{UNIT}", UNIT.to_owned()),
        ("{BASE}", status(&[BASE])),
        ("{WEB}", status(&[WEB])),
        ("{EXTRA}", status(&[("extra", "1", "")])),
        ("{PASSWD}", PASSWD.to_owned()),
    ]
}

fn base() -> Planted {
    Planted::default().table("undeclared/base.tsv", &texts())
}

/// The base with everything that is declared, and nothing else.
fn built() -> Planted {
    base().table("undeclared/built.tsv", &texts())
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
    let mut declared = Declared::new(observed(&base()), None, &inputs());
    // With the version from a lock file.
    declared.packages[0].exact = Some(("2".to_owned(), "amd64".to_owned()));
    declared
}

fn by(by: &str, path: &str) -> DeclaredPath {
    DeclaredPath {
        path: path.to_owned(),
        by: by.to_owned(),
        rights: Vec::new(),
    }
}

fn observed(tree: &Planted) -> ObservedState {
    let root = tree.root();
    ObservedState::collect(&root, &verify(&root).unwrap()).unwrap()
}

fn findings(tree: &Planted, declared: &Declared) -> Vec<Finding> {
    let root = tree.root();
    let packaged = verify(&root).unwrap();
    let base = base();
    let trees = Trees {
        image: &root,
        base: &base.root(),
        steps: None,
        explain: true,
    };
    let (findings, _) = check(&trees, &packaged, &observed(tree), declared).unwrap();
    findings
}

fn found(tree: &Planted, declared: &Declared) -> BTreeMap<String, String> {
    let all = findings(tree, declared);
    // Of the base no more need be known than what the image asks for.
    let declared = Declared {
        base: ObservedState::collect_base(&base().root(), &observed(tree)).unwrap(),
        ..declared.clone()
    };
    assert_eq!(all, findings(tree, &declared));
    all.into_iter()
        .map(|finding| (finding.id, finding.evidence))
        .collect()
}

#[test]
fn nothing_is_found_where_everything_is_declared() {
    assert_eq!(found(&built(), &declared()), BTreeMap::new());
    assert_eq!(found(&base(), &declared()), BTreeMap::new());
}

/// Returns id, part of the evidence and the tree of each case.
fn cases() -> Vec<([String; 2], Planted)> {
    testing::cases::<2, 5, _>("undeclared/cases.tsv", &built(), &texts())
}

#[test]
fn what_nobody_has_declared_is_found_with_its_nearest_cause() {
    for ([id, words], tree) in cases() {
        let found = found(&tree, &declared());
        assert!(found.len() == 1, "{id}: {found:?}");
        let evidence = found.get(&id).unwrap_or_else(|| panic!("{id}: {found:?}"));
        assert!(evidence.contains(&words), "{id}: {evidence}");
    }
}

#[test]
fn every_place_has_a_case() {
    for place in &*watched_paths::PLACES {
        let mut cases = cases().into_iter();
        let has_case = cases.any(|([id, _], _)| id.starts_with(place.check));
        assert!(has_case, "{}", place.check);
    }
}

#[test]
fn what_is_declared_may_differ_from_its_package() {
    let tree = built().file("/usr/bin/tool", 0o755, "abd");
    let mut declared = declared();
    declared.creates.push(by("a step", "/usr/bin/tool"));
    assert_eq!(found(&tree, &declared), BTreeMap::new());
}

/// Returns declarations with more entries of `creates`.
fn declared_with(creates: &[serde_json::Value]) -> Declared {
    let mut inputs = inputs();
    let creates = creates.iter().cloned().map(serde_json::from_value);
    inputs.steps[1].creates.extend(
        creates
            .collect::<Result<Vec<manifest::Creates>, _>>()
            .unwrap(),
    );
    Declared {
        creates: Declared::new(ObservedState::default(), None, &inputs).creates,
        ..declared()
    }
}

#[test]
fn a_right_is_declared_by_its_name() {
    let tree = built().table("undeclared/rights.tsv", &texts());
    let left = |entry: serde_json::Value| {
        let ids = found(&tree, &declared_with(&[entry])).into_keys();
        let ids = ids.filter_map(|id| Some(id.split_once(":/opt/app/")?.1.to_owned()));
        let mut ids: Vec<_> = ids.collect();
        ids.sort();
        ids
    };
    let all = ["both", "ping", "sda", "sg", "su"];
    for (entry, expected) in [
        (json!("/opt/app/**"), &all[..]),
        (
            json!({"path": "/opt/app/**", "setuid": true}),
            &["both", "ping", "sda"],
        ),
        (json!({"path": "/opt/app/su", "setuid": true}), &all[..4]),
        (
            json!({"path": "/opt/app/**", "capabilities": true}),
            &["both", "sda", "sg", "su"],
        ),
        (
            json!({"path": "/opt/app/**", "device": true}),
            &["both", "ping", "sg", "su"],
        ),
        (
            json!({"path": "/opt/app/**", "setuid": true, "capabilities": true, "device": true}),
            &[],
        ),
    ] {
        assert_eq!(left(entry.clone()), expected, "{entry}");
    }
    let mut inputs = inputs();
    inputs.files[0].destination = "/opt/app/su".to_owned();
    for (mode, expected) in [("4755", true), ("2755", true), ("0755", false)] {
        inputs.files[0].mode = Some(mode.to_owned());
        let declared = Declared::new(ObservedState::default(), None, &inputs);
        assert_eq!(
            declared.allows("/opt/app/su", Right::Setuid),
            expected,
            "{mode}"
        );
    }
}

#[test]
fn a_declared_right_settles_the_finding_of_another_group() {
    let declared = declared_with(&[
        json!({"path": "/opt/app/su", "setuid": true}),
        json!({"path": "/opt/app/sda", "device": true}),
    ]);
    for (check, path, expected) in [
        ("setuid-unpackaged", "/opt/app/su", true),
        ("setuid-unpackaged", "/opt/app/other", false),
        ("setuid-writable", "/opt/app/su", false),
        ("device-node", "/opt/app/sda", true),
        ("device-node", "/opt/app/su", false),
    ] {
        let mut finding = Finding::new(check, check, Severity::High, "");
        finding.path = Some(path.to_owned());
        assert_eq!(declared.settles(&finding), expected, "{check} {path}");
    }
}

#[test]
fn a_glob_declares_files_of_a_dangerous_place_only_by_naming_it() {
    let unit = "/etc/systemd/system/app.service";
    for (glob, path, expected) in [
        ("/etc/sys*/**", unit, false),
        ("/etc/systemd/**", unit, true),
        ("/etc/systemd/system/app.*", unit, true),
        (unit, unit, true),
        ("/{etc,usr/lib}/systemd/system/*", unit, true),
        ("/etc/{systemd,*}/**", unit, true),
        ("/etc/{cron.d,*}/**", unit, false),
        ("/usr/lib/**", "/usr/lib/app/x", true),
        ("/usr/lib/**", "/usr/lib/udev/rules.d/9.rules", false),
        (
            "/usr/lib/udev/rules.d/*",
            "/usr/lib/udev/rules.d/9.rules",
            true,
        ),
        ("/usr/lib/**", "/usr/lib/modules/6/x.ko", false),
        ("/usr/lib", "/usr/lib/modules/6/x.ko", false),
        ("/usr/lib/modules/6", "/usr/lib/modules/6/x.ko", true),
        ("/etc/*.d/*", "/etc/modules-load.d/x.conf", false),
        ("/etc/*.d/*", "/etc/sudoers.d/x", false),
        ("/etc/*.d/*", "/etc/app.d/x", true),
        ("/etc/default/*", "/etc/default/grub", false),
        ("/etc/default/*", "/etc/default/app", true),
        ("/etc/default/grub*", "/etc/default/grub.d/x", true),
        (
            "/etc/initramfs-tools/**",
            "/etc/initramfs-tools/hooks/x",
            true,
        ),
        ("/var/lib/**", "/var/lib/dpkg/info/x.postinst", false),
    ] {
        let declared = declared_with(&[json!(glob)]);
        assert_eq!(declared.path(path).is_some(), expected, "{glob} {path}");
    }
    let tree = built().file(unit, 0o644, "x");
    let found = found(&tree, &declared_with(&[json!("/etc/sys*/**")]));
    let evidence = &found[&format!("undeclared-unit:{unit}")];
    assert!(
        evidence.contains(
            "declares /etc/sys*/**, but a systemd unit only with /etc/systemd in the glob"
        ),
        "{evidence}"
    );
}

#[test]
fn what_systemctl_enable_makes_needs_no_declaration() {
    let link = "/etc/systemd/system/multi-user.target.wants/app.service";
    let unit = "/etc/systemd/system/app.service";
    let enabled = |text: &str| built().file(unit, 0o644, text).link(link, "../app.service");
    let declared = declared_with(&[json!(unit)]);
    assert_eq!(found(&enabled(UNIT), &declared), BTreeMap::new());
    let ids = |found: BTreeMap<String, String>| found.into_keys().collect::<Vec<_>>();
    let of_link = format!("undeclared-unit:{link}");
    assert_eq!(
        ids(found(&enabled("[Unit]\n"), &declared)),
        std::slice::from_ref(&of_link)
    );
    let of_unit = format!("undeclared-unit:{unit}");
    let undeclared = found(&enabled(UNIT), &self::declared());
    assert_eq!(ids(undeclared), [of_unit, of_link]);
    // A package's unit with another section explains no link.
    let file = "/usr/lib/systemd/system/web.service";
    let changed = built()
        .file("/usr/bin/web-su", 0o4755, "abc")
        .file(file, 0o644, format!("{UNIT}WantedBy=x.target\n"))
        .link("/etc/systemd/system/x.target.wants/web.service", file);
    assert_eq!(
        ids(found_from_outside(&changed)),
        [
            format!("modified-package-file:{file}"),
            "undeclared-unit:/etc/systemd/system/multi-user.target.wants/web.service".to_owned(),
            "undeclared-unit:/etc/systemd/system/x.target.wants/web.service".to_owned(),
        ]
    );
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
        let creates = creates.iter().map(|path| by("a step", path));
        declared.creates.extend(creates);
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

/// A system of RPM with the package `web`, whose scripts make a user; with that user, and with enabled units of this text.
fn rpm_system(programs: &[&str], unit: &str) -> Planted {
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
        .file("/usr/lib/systemd/system/web.service", 0o644, unit)
        .file("/usr/lib/systemd/system/web@.service", 0o644, unit)
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
        let mut declared = Declared::new(observed(&base), None, &inputs());
        declared.packages[0].exact = Some((exact.to_owned(), "noarch".to_owned()));
        let found = findings(tree, &declared).into_iter();
        found.map(|finding| finding.id).collect::<Vec<_>>()
    };
    let system = rpm_system(&["web"], UNIT);
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
        found(&rpm_system(&["web"], ""), "2-1"),
        [unit("web"), unit("web@1")]
    );
    assert_eq!(
        found(&rpm_system(&[], UNIT), "2-1"),
        ["undeclared-program:/usr/bin/web"]
    );
}

#[test]
fn what_rpm_keeps_of_a_package_of_the_base_stays_as_it_is() {
    let [base, tree] = [&["web"][..], &[]].map(|programs| rpm_system(programs, ""));
    let declared = Declared::new(observed(&base), None, &inputs());
    let found = findings(&tree, &declared);
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
    declared.files.push(by("`[[files]]`", "/opt/lib/a.py"));
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
    declared
        .files
        .push(by("`[[files]]`", "/usr/local/share/web"));
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

/// The package of the lock file, as its own file has it.
fn locked() -> LockedPackage {
    let abc = EntryKind::File(*b"\x90\x01\x50\x98\x3c\xd2\x4f\xb0\xd6\x96\x3f\x7d\x28\xe1\x7f\x72");
    let unit = EntryKind::File(md5::Md5::digest(UNIT).into());
    let entries = [
        ("/usr", 0o755, EntryKind::Directory),
        ("/usr/sbin/web", 0o755, abc.clone()),
        (
            "/usr/bin/web",
            0o777,
            EntryKind::Link(b"../sbin/web".to_vec()),
        ),
        ("/usr/bin/ed.web", 0o755, abc.clone()),
        ("/usr/bin/web-ping", 0o755, abc.clone()),
        ("/usr/bin/web-su", 0o4755, abc),
        ("/usr/lib/systemd/system/web.service", 0o644, unit.clone()),
        ("/usr/lib/systemd/user/web.socket", 0o644, unit),
        ("/usr/share/web", 0o755, EntryKind::Directory),
    ];
    let entries = entries.map(|(path, mode, kind)| Entry {
        path: path.into(),
        mode,
        owner: (0, 0),
        kind,
    });
    LockedPackage {
        name: "web".to_owned(),
        version: "2".to_owned(),
        architecture: "amd64".to_owned(),
        content: PackageContent {
            entries: entries.to_vec(),
            conffiles: Vec::new(),
            scripts: "#!/bin/sh\nadduser --system \\\n  --group web\naddgroup docker\nchown root:sudo /srv\nsetcap cap_net_raw+ep /usr/bin/web-ping\n"
                .to_owned(),
        },
    }
}

fn found_from_outside(tree: &Planted) -> BTreeMap<String, String> {
    found_with(tree, &[locked()], &declared())
}

/// Returns the findings and the explanation of a tree, by what is known from outside.
fn checked_with(
    tree: &Planted,
    locked: &[LockedPackage],
    declared: &Declared,
) -> (Vec<Finding>, Vec<u8>) {
    let (root, base) = (tree.root(), base());
    let trusted = Trusted {
        base: &base.root(),
        packages: locked,
    };
    let packaged = verify_trusted(&root, trusted).unwrap();
    let now = ObservedState::collect(&root, &packaged).unwrap();
    let trees = Trees {
        image: &root,
        base: trusted.base,
        steps: None,
        explain: true,
    };
    let (all, explanation) = check(&trees, &packaged, &now, declared).unwrap();
    (all, explanation.unwrap())
}

fn found_with(
    tree: &Planted,
    locked: &[LockedPackage],
    declared: &Declared,
) -> BTreeMap<String, String> {
    let (all, _) = checked_with(tree, locked, declared);
    all.into_iter()
        .map(|finding| (finding.id, finding.evidence))
        .collect()
}

#[test]
fn the_package_database_of_the_image_proves_nothing() {
    let built = built().file("/usr/bin/web-su", 0o4755, "abc");
    assert_eq!(found_from_outside(&built), BTreeMap::new());
    let cases = testing::cases::<2, 5, _>("undeclared/trusted.tsv", &built, &texts());
    for ([id, words], tree) in cases {
        let found = found_from_outside(&tree);
        assert!(found.len() == 1, "{id}: {found:?}");
        let evidence = found.get(&id).unwrap_or_else(|| panic!("{id}: {found:?}"));
        assert!(evidence.contains(&words), "{id}: {evidence}");
    }
}

#[test]
fn every_architecture_of_a_package_is_known_from_outside() {
    let mut other = locked();
    other.architecture = "i386".to_owned();
    other.content.entries = vec![Entry {
        path: b"/usr/bin/web-i386".to_vec(),
        ..other.content.entries[1].clone()
    }];
    let mut declared = declared();
    declared.packages.push(DeclaredPackage {
        name: "web".to_owned(),
        exact: Some(("2".to_owned(), "i386".to_owned())),
    });
    let both = status(&[BASE, WEB])
        + "Package: web\nStatus: install ok installed\nArchitecture: i386\nVersion: 2\n\n";
    for (content, expected) in [
        ("abc", None),
        ("abd", Some("modified-package-file:/usr/bin/web-i386")),
    ] {
        let tree = built()
            .file("/var/lib/dpkg/status", 0o644, both.clone())
            .file("/usr/bin/web-su", 0o4755, "abc")
            .file("/usr/bin/web-i386", 0o755, content);
        let found = found_with(&tree, &[locked(), other.clone()], &declared);
        assert_eq!(
            found.keys().next().map(String::as_str),
            expected,
            "{found:?}"
        );
        assert!(found.len() <= 1, "{found:?}");
    }
}
