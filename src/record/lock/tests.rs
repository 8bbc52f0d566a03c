use std::path::Path;

use super::*;

fn package(name: &str, version: &str, reason: InstallReason) -> LockedPackage {
    LockedPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        reason,
        archive: "https://example.org/debian".to_owned(),
        path: format!("pool/main/n/{name}_{version}_amd64.deb"),
        size: 7,
        sha256: Digest::of(format!("{name} {version}").as_bytes()),
    }
}

fn request(install: &[&str]) -> PackageRequest {
    PackageRequest {
        manager: Some(Manager::Apt),
        architecture: Some("x86_64".to_owned()),
        install: install.iter().map(|name| (*name).to_owned()).collect(),
        remove: vec![],
        recommends: false,
        repositories: vec![Repository {
            name: "tools".to_owned(),
            uri: "https://example.org/tools".to_owned(),
            suites: vec!["stable".to_owned()],
            components: vec!["main".to_owned()],
            key: Some(Digest::of(b"key")),
            trusted: false,
        }],
    }
}

fn base() -> LockedBase {
    LockedBase {
        digest: Digest::of(b"base"),
        size: 1 << 30,
        ami: None,
    }
}

fn archive(suite: &str, date: &str) -> LockedArchive {
    LockedArchive {
        uri: "https://example.org/debian".to_owned(),
        suite: suite.to_owned(),
        components: vec!["main".to_owned()],
        in_release: Digest::of(suite.as_bytes()),
        date: date.parse().unwrap(),
        signed_by: vec!["ABCD".repeat(10)],
    }
}

fn lock() -> Lock {
    Lock::new(
        request(&["nginx", "curl=7.88.1-10"]),
        Some(base()),
        Resolution {
            archives: vec![
                archive("bookworm-updates", "2026-01-02T00:00:00Z"),
                archive("bookworm", "2026-01-01T00:00:00Z"),
            ],
            removals: vec![Removal {
                name: "exim4".to_owned(),
                version: "4.96-15".to_owned(),
            }],
            packages: vec![
                package("libnginx", "1:2.0~rc1", InstallReason::Dependency),
                package("nginx", "1.22.1-9+deb12u2", InstallReason::Declared),
            ],
        },
    )
}

#[test]
fn a_lock_is_made_for_review() {
    insta::assert_snapshot!(lock().to_toml());
}

#[test]
fn a_lock_reads_back_and_its_epoch_is_the_newest_date() {
    let lock = lock();
    assert_eq!(
        Lock::from_toml(&lock.to_toml(), Path::new("x")).unwrap(),
        lock
    );
    assert_eq!(lock.epoch, Some("2026-01-02T00:00:00Z".parse().unwrap()));
    assert_eq!(lock.archives[0].suite, "bookworm", "in order");

    let empty = PackageRequest {
        manager: None,
        repositories: vec![],
        ..request(&[])
    };
    let nothing = Lock::new(empty, Some(base()), Resolution::default());
    assert_eq!(
        Lock::from_toml(&nothing.to_toml(), Path::new("x")).unwrap(),
        nothing
    );
}

#[test]
fn an_invalid_lock_is_refused_with_its_line() {
    let text = lock().to_toml();
    for (from, to, said) in [
        (
            "size = 7",
            "size = 7\nmirror = \"x\"",
            "unknown field `mirror`",
        ),
        ("size = 7", "size = \"7\"", "expected u64"),
        (
            "reason = \"declared\"",
            "reason = \"wish\"",
            "unknown variant `wish`",
        ),
        ("sha256 = \"", "sha256 = \"zz", "is not a SHA-256 digest"),
        ("epoch = \"2026", "epoch = \"26", "is not an RFC 3339 time"),
        (
            "path = \"pool/",
            "path = \"../pool/",
            "`path` is not a path below the archive",
        ),
        (
            "path = \"pool/",
            "path = \"/pool/",
            "`path` is not a path below the archive",
        ),
        (
            "name = \"nginx\"",
            "name = \"-o\"",
            "`name` is not a package's name",
        ),
        (
            "version = \"1:2",
            "version = \"$(x)1:2",
            "`version` is not a version",
        ),
        (
            "archive = \"https:",
            "archive = \"file:",
            "`archive` is not an http",
        ),
        ("[base]", "[base", "unclosed table"),
    ] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text, "{from}");
        let error = Lock::from_toml(&broken, Path::new("web.lock.toml")).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.starts_with("web.lock.toml is not a lock file"),
            "{shown}"
        );
        assert!(
            shown.contains(said) && shown.contains("line "),
            "{said}: {shown}"
        );
        assert_eq!(error.exit_code(), 2);
    }
    let newer = text.replacen("karat.lock/1", "karat.lock/2", 1);
    let error = Lock::from_toml(&newer, Path::new("x")).unwrap_err();
    assert!(matches!(error, LockError::Schema { found, .. } if found == "karat.lock/2"));
}

#[test]
fn a_lock_is_beside_its_template() {
    for (template, path) in [
        ("web.toml", "web.lock.toml"),
        ("a/web.toml", "a/web.lock.toml"),
        ("web", "web.lock.toml"),
        ("a.b.toml", "a.b.lock.toml"),
    ] {
        assert_eq!(Lock::path_of(Path::new(template)), Path::new(path));
    }
}

#[test]
fn a_lock_is_stale_when_what_it_depends_on_has_changed() {
    let lock = lock();
    let same = request(&["nginx", "curl=7.88.1-10"]);
    let base = base();
    assert!(lock.differences(&same, Some(&base)).is_empty());
    let other = LockedBase {
        size: 1,
        ..base.clone()
    };
    let changed = |change: fn(&mut PackageRequest)| {
        let mut request = same.clone();
        change(&mut request);
        request
    };
    for (now, base, said) in [
        (
            request(&["nginx"]),
            Some(&base),
            "the lock file has `install` curl=7.88.1-10, but the template does not",
        ),
        (
            request(&["nginx", "curl=7.88.1-10", "jq"]),
            Some(&base),
            "`install` has jq, but the lock file does not",
        ),
        (
            request(&["curl=7.88.1-10", "nginx"]),
            Some(&base),
            "`install` is in another order",
        ),
        (
            changed(|r| r.recommends = true),
            Some(&base),
            "`recommends` is now true",
        ),
        (
            changed(|r| r.remove.push("x".into())),
            Some(&base),
            "`remove` has x, but the lock file does not",
        ),
        (
            changed(|r| r.repositories.clear()),
            Some(&base),
            "the repository `tools` was removed",
        ),
        (
            changed(|r| r.repositories[0].key = None),
            Some(&base),
            "the repository `tools` has changed",
        ),
        (
            changed(|r| r.repositories[0].name = "x".into()),
            Some(&base),
            "the repository `x` is new",
        ),
        (
            changed(|r| r.architecture = Some("aarch64".into())),
            Some(&base),
            "the architecture was x86_64 and is aarch64",
        ),
        (same.clone(), Some(&other), "the base was sha256:"),
        (same.clone(), None, "and is none"),
    ] {
        let lines = lock.differences(&now, base);
        assert!(
            lines.iter().any(|line| line.contains(said)),
            "{said}: {lines:?}"
        );
    }
    let mut edited = lock.clone();
    edited.inputs = Digest::of(b"edited");
    assert!(!edited.differences(&same, Some(&base)).is_empty());
}

#[test]
fn changes_are_listed_from_old_to_new() {
    let old = lock();
    let mut new = old.clone();
    new.packages = vec![
        package("libnginx", "1:2.1", InstallReason::Dependency),
        package("curl", "8", InstallReason::Declared),
    ];
    let lines: Vec<_> = diff(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "curl none -> 8",
            "libnginx 1:2.0~rc1 -> 1:2.1",
            "nginx 1.22.1-9+deb12u2 -> none"
        ]
    );
    assert_eq!(diff(&old, &old), []);
    let mut rebuilt = old.clone();
    rebuilt.packages[0].sha256 = Digest::of(b"rebuilt");
    assert_eq!(
        diff(&old, &rebuilt)[0].to_string(),
        "libnginx 1:2.0~rc1 -> 1:2.0~rc1 (another file)"
    );
}

#[test]
fn an_unwritable_place_leaves_the_old_lock() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("web.lock.toml");
    assert_eq!(Lock::read(&path).unwrap(), None);
    lock().write(&path).unwrap();
    assert_eq!(Lock::read(&path).unwrap(), Some(lock()));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
    let error = lock()
        .write(&scratch.path().join("gone/web.lock.toml"))
        .unwrap_err();
    assert!(
        error.to_string().contains("cannot write the lock"),
        "{error}"
    );
}

proptest::proptest! {
    #[test]
    fn a_lock_with_any_package_name_reads_back(
        name in "[a-z0-9][a-z0-9+.-]{1,20}",
        version in "[0-9][A-Za-z0-9.+~:^_-]{0,20}",
        path in "[!-.0-~]{1,9}(/[a-zA-Z0-9~+%\"'\\\\][!-.0-~]{0,9}){0,3}",
        size in 0..1_u64 << 53,
    ) {
        proptest::prop_assume!(path.split('/').all(|step| !step.starts_with(['.', '-'])));
        let mut lock = lock();
        lock.packages.push(LockedPackage { path, size, ..package(&name, &version, InstallReason::Declared) });
        let read = Lock::from_toml(&lock.to_toml(), Path::new("x"));
        proptest::prop_assert_eq!(read.unwrap(), lock);
    }
}
