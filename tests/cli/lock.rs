//! Locks, as far as they go without a machine.

use std::path::Path;

use karat::digest::Digest;
use karat::record::lock::{
    InstallReason, Lock, LockedBase, LockedPackage, Manager, PackageRequest, Resolution,
};

use crate::site::{IMAGE, Site};
use crate::support::disk;

/// A template with a base that is never booted, and what is given.
fn template(more: &str) -> String {
    format!("{IMAGE}[base.file]\npath = \"disk.raw\"\n[builder.qemu]\narch = \"x86_64\"\n{more}")
}

fn site(more: &str) -> Site {
    let mut site = Site::new();
    // A build looks for QEMU first, which is not run here.
    site.set("PATH", "/usr/bin:/bin");
    site.write("disk.raw", &disk::xfs(7));
    site.write("web.toml", &template(more));
    site
}

fn package(name: &str, archive: &str) -> LockedPackage {
    LockedPackage {
        name: name.to_owned(),
        version: "1.0-1".to_owned(),
        architecture: "all".to_owned(),
        reason: InstallReason::Declared,
        archive: archive.to_owned(),
        path: format!("pool/{name}_1.0-1_all.deb"),
        size: 9,
        sha256: Digest::of(name.as_bytes()),
    }
}

/// A lock of these packages in the site's base, from an archive that is not there.
fn lock(install: &[&str]) -> Lock {
    let request = PackageRequest {
        manager: Some(Manager::Apt),
        install: install.iter().map(|name| (*name).to_owned()).collect(),
        ..PackageRequest::nothing(Some("x86_64"))
    };
    let disk = disk::xfs(7);
    let base = LockedBase {
        digest: Digest::of(&disk),
        size: disk.len() as u64,
        ami: None,
    };
    let packages = install
        .iter()
        .map(|name| package(name, "http://127.0.0.1:1/debian"));
    let resolution = Resolution {
        packages: packages.collect(),
        ..Resolution::default()
    };
    Lock::new(request, Some(base), resolution)
}

#[test]
fn locked_refuses_a_lock_that_is_missing_or_of_something_else() {
    let site = site("[packages.apt]\ninstall = [\"curl\", \"jq\"]\n");
    let mut said = site.karat(["build", "--quiet", "--locked", "web.toml"]);
    lock(&["curl", "nginx"])
        .write(&site.path("web.lock.toml"))
        .unwrap();
    said += &site.karat(["build", "--quiet", "--locked", "web.toml"]);
    lock(&["curl", "jq"])
        .write(&site.path("web.lock.toml"))
        .unwrap();
    site.write("disk.raw", &disk::xfs(8));
    said += &site.karat(["build", "--quiet", "--locked", "web.toml"]);
    insta::assert_snapshot!(said);
}

#[test]
fn what_is_accepted_of_a_package_that_is_not_locked_is_refused() {
    let accept = |package: &str| {
        let entry = format!("path = \"/usr/lib/x/run\", package = \"{package}\", reason = \"x\"");
        site(&format!(
            "[packages.apt]\ninstall = [\"curl\"]\naccept = [{{ {entry} }}]\n"
        ))
    };
    for (package, code) in [("jq", 2), ("curl", 1)] {
        let site = accept(package);
        lock(&["curl"]).write(&site.path("web.lock.toml")).unwrap();
        let output = site.run(["build", "--locked", "web.toml"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        let refused = "`accept` in [packages] names packages that the lock file";
        assert_eq!(said.contains(refused), code == 2, "{said}");
    }
}

#[test]
fn a_lock_that_cannot_be_understood_is_never_overwritten() {
    let site = site("[packages.apt]\ninstall = [\"curl\"]\n");
    let text = lock(&["curl"]).to_toml();
    let mut said = String::new();
    for broken in [
        text.replace("size = 9", "size = 9\nsha1 = \"x\""),
        text.replace("karat.lock/1", "karat.lock/9"),
        text.replace("path = \"pool", "path = \"../../pool"),
    ] {
        site.write("web.lock.toml", &broken);
        said += &site.karat(["build", "web.toml"]);
        assert_eq!(
            std::fs::read_to_string(site.path("web.lock.toml")).unwrap(),
            broken
        );
    }
    insta::assert_snapshot!(said);
}

#[test]
fn packages_that_nothing_has_are_listed_before_a_machine_is_launched() {
    let site = site("[packages.apt]\ninstall = [\"curl\", \"jq\"]\n");
    lock(&["curl", "jq"])
        .write(&site.path("web.lock.toml"))
        .unwrap();
    site.write("mirror/pool/jq_1.0-1_all.deb", "another jq");
    site.write("other/curl_1.0-1_all.deb", "curl");
    let output = site.run([
        "build", "--locked", "web.toml", "--mirror", "mirror", "--mirror", "other",
    ]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("1 file was not found in the cache, store, mirrors or archive"),
        "{said}"
    );
    let line = said.lines().find(|line| line.contains("jq 1.0-1")).unwrap();
    assert!(line.contains(&Digest::of(b"jq").to_string()), "{line}");
    assert!(
        line.contains("jq_1.0-1_all.deb is sha256:"),
        "the mirror lies: {line}"
    );
    assert!(!said.contains("launch"), "{said}");
    assert!(
        !said.contains("curl 1.0-1"),
        "the other mirror has it: {said}"
    );
}

#[test]
fn a_template_without_packages_is_locked_without_a_machine() {
    let site = site("");
    let mut said = site.karat(["lock", "web.toml", "--quiet"]);
    let text = std::fs::read_to_string(site.path("web.lock.toml")).unwrap();
    let lock = Lock::from_toml(&text, Path::new("web.lock.toml")).unwrap();
    assert_eq!(lock.base.unwrap().digest, Digest::of(&disk::xfs(7)));
    assert_eq!((lock.packages.len(), lock.epoch), (0, None));
    said += &site.karat(["lock", "-P", "curl", "web.toml", "--quiet"]);
    insta::assert_snapshot!(said);
}

#[test]
fn an_existing_host_has_no_lock() {
    let site = Site::new();
    let host = "[builder.host]\naddress = \"127.0.0.1\"\n";
    site.write("web.toml", &format!("{IMAGE}{host}"));
    let mut said = site.karat(["build", "--quiet", "--locked", "web.toml"]);
    said += &site.karat(["lock", "web.toml"]);
    insta::assert_snapshot!(said);
}

#[test]
fn a_repository_says_where_it_is_and_who_signs_it() {
    let site = site("");
    site.write("key.asc", "");
    let good = "name = \"tools\"\nuri = \"https://example.org/tools\"\nsuites = [\"stable\"]\ncomponents = [\"main\"]\nkey = \"key.asc\"\n";
    let cases = [
        good.to_owned(),
        good.replace("name = \"tools\"\n", ""),
        good.replace("\"tools\"", "\"Tools/x\""),
        good.replace("https:", "ftp:"),
        good.replace("suites = [\"stable\"]\n", ""),
        good.replace("components = [\"main\"]\n", ""),
        good.replace("\"stable\"", "\"./\""),
        good.replace("\"stable\"", "\"-o x\""),
        good.replace("key = \"key.asc\"\n", ""),
        good.replace("key = \"key.asc\"", "trusted = true"),
        good.replace("key.asc", "gone.asc"),
        good.replace("key =", "kye ="),
        format!("{good}[[packages.apt.repositories]]\n{good}"),
    ];
    let said = cases.map(|case| {
        let more = format!("[[packages.apt.repositories]]\n{case}");
        site.write("t.toml", &template(&more));
        format!("##### {case}\n{}", site.karat(["validate", "t.toml"]))
    });
    insta::assert_snapshot!(said.join("\n"));
    let more = format!("[[packages.apt.repositories]]\n{good}keep = false\n");
    site.write("t.toml", &template(&more));
    let plan = site.karat(["plan", "t.toml"]);
    let line = "from tools (https://example.org/tools stable main), signed by key.asc, not kept in the image";
    assert!(plan.contains(line), "{plan}");
}
