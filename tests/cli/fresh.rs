//! `build --if-changed`, `outdated` and `plan --unneeded`, against an archive on loopback. Nothing boots.

use std::os::unix::fs::PermissionsExt as _;

use karat::base::BaseDisk;
use karat::digest::Digest;
use karat::disk;
use karat::os::hash_stream::Stop;
use karat::pipeline::manifest_inputs;
use karat::plan;
use karat::provision::DeclaredPackages;
use karat::record::lock::{self, InstallReason, Lock, LockedPackage, Resolution};
use karat::record::manifest::{self, Manifest, ManifestId};
use karat::store::{BuildRun, Store};
use karat::ui::Ui;

use crate::archive::Archive;
use crate::site::Site;
use crate::support::disk as disks;

const TEMPLATE: &str = r#"
[image]
name = "web"

[base.file]
path = "base.raw"

[builder.qemu]
arch = "x86_64"

[packages.apt]
install = ["nginx"]

[[files]]
source = "motd"
destination = "/etc/motd"

[[provision]]
shell = { inline = ["true"] }
"#;

/// A template with its base, and programs that only pretend: what is not skipped fails before anything boots.
fn site() -> Site {
    let mut site = Site::new();
    site.write("web.toml", TEMPLATE);
    site.write("base.raw", &disks::xfs(1));
    site.write("motd", "hello\n");
    site.write(
        "bin/qemu-img",
        "#!/bin/sh\necho '{\"format\": \"raw\", \"virtual-size\": 1048576, \"filename\": \"base.raw\"}'\n",
    );
    let program = site.path("bin/qemu-img");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    // qemu-img is run by it, so that it ends with karat.
    std::os::unix::fs::symlink("/usr/bin/setpriv", site.path("bin/setpriv")).unwrap();
    let path = site.path("bin").display().to_string();
    site.set("PATH", &path);
    let store = site.path("store").display().to_string();
    site.set("KARAT_STORE", &store);
    site
}

fn package(name: &str, version: &str, archive: &Archive) -> LockedPackage {
    LockedPackage {
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: "amd64".to_owned(),
        reason: InstallReason::Declared,
        archive: archive.uri.clone(),
        path: format!("pool/{name}.deb"),
        size: 1,
        sha256: Digest::of(name.as_bytes()),
    }
}

/// Writes the lock that the site's template would get from the archive as it is now.
fn lock(site: &Site, archive: &Archive, suites: &[&str], packages: Vec<LockedPackage>) -> Lock {
    let plan = plan::load(&site.path("web.toml"), &plan::Inputs::default()).unwrap();
    let declared = DeclaredPackages::read(plan.packages.as_ref())
        .unwrap()
        .unwrap();
    let bytes = std::fs::read(site.path("base.raw")).unwrap();
    let base = lock::LockedBase {
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        ami: None,
    };
    let state = |suite: &&str| lock::LockedArchive {
        uri: archive.uri.clone(),
        suite: (*suite).to_owned(),
        components: vec!["main".to_owned()],
        in_release: archive.in_release(suite),
        date: "2026-01-01T00:00:00Z".parse().unwrap(),
        signed_by: vec![],
    };
    let resolution = Resolution {
        archives: suites.iter().map(state).collect(),
        removals: vec![],
        packages,
    };
    let lock = Lock::new(declared.request(Some("x86_64")), Some(base), resolution);
    lock.write(&site.path("web.lock.toml")).unwrap();
    lock
}

/// Records the image that a build of the site's template would make.
fn record(site: &Site, lock: &Lock) -> ManifestId {
    record_at(site, lock, "2026-01-02T00:00:00Z")
}

fn record_at(site: &Site, lock: &Lock, finished: &str) -> ManifestId {
    let plan = plan::load(&site.path("web.toml"), &plan::Inputs::default()).unwrap();
    let base = plan.base.as_ref().unwrap();
    let of_lock = lock.base.as_ref().unwrap();
    let disk = BaseDisk {
        disk: disk::BaseImage {
            path: site.path("base.raw"),
            format: "raw".to_owned(),
        },
        digest: of_lock.digest,
        size: of_lock.size,
        virtual_size: 1 << 20,
    };
    let base = manifest_inputs::base_of(base, &disk);
    let mut inputs = manifest_inputs::collect(&plan, base, &Stop::default()).unwrap();
    inputs.lock = Some(manifest::Lock {
        digest: lock.digest(),
    });
    let bytes = b"an image".repeat(100);
    for name in ["image", "image.copy"] {
        std::fs::write(site.path(name), &bytes).unwrap();
    }
    let outputs = manifest::Outputs {
        arch: "x86_64".to_owned(),
        firmware: "bios".to_owned(),
        image: manifest::Image {
            format: "qcow2".to_owned(),
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            virtual_size: 4000,
            disk: None,
        },
        tree: None,
        explanation: None,
        finish: None,
        packages: vec![],
    };
    let run = BuildRun {
        started: finished.parse().unwrap(),
        finished: finished.parse().unwrap(),
        phases: std::collections::BTreeMap::default(),
        accelerator: "tcg".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let writing = Store::new(site.path("store")).begin().await.unwrap();
        writing
            .add_image(&site.path("image"), &Ui::default())
            .await
            .unwrap();
        writing
            .commit(&Manifest::new(inputs, outputs), run)
            .unwrap()
    })
}

/// Why `--if-changed` builds; `unchanged` and the id when it does not.
fn verdict(site: &Site) -> String {
    let said = site.karat(["build", "--if-changed", "web.toml"]);
    let line = said.lines().find(|line| line.starts_with("building: "));
    line.unwrap_or(&said).to_owned()
}

#[test]
fn what_has_not_changed_is_not_built() {
    let site = site();
    let archive = Archive::start();
    archive.put("stable", "", &[("nginx", "1.0-1")]);
    archive.put("stable-security", "", &[]);
    assert_eq!(
        verdict(&site),
        "building: the store has no image of that name"
    );
    let packages = vec![package("nginx", "1.0-1", &archive)];
    let lock = lock(&site, &archive, &["stable", "stable-security"], packages);
    let id = record(&site, &lock);

    let unchanged = format!(
        "exit 0\n--- stdout\n{id}\n--- stderr\n    hashing the base (1.00 MiB)\nunchanged\n"
    );
    let of = |status| {
        ["stable-security", "stable"]
            .map(|suite| format!("{status} /debian/dists/{suite}/InRelease"))
    };
    for status in [200, 304] {
        assert_eq!(verdict(&site), unchanged);
        let mut answers = archive.answers();
        answers.sort();
        assert_eq!(answers, of(status), "one question each");
    }
    // The template says where the image is to be put: it is, also when nothing is built.
    site.write(
        "web.toml",
        &format!("{TEMPLATE}[output]\npath = \"web.qcow2\"\n"),
    );
    let id = record_at(&site, &lock, "2026-01-03T00:00:00Z");
    for _ in 0..2 {
        let said = site.karat(["build", "--if-changed", "--force", "web.toml"]);
        assert!(said.contains("\nunchanged\n"), "{said}");
        let image = std::fs::read(site.path("web.qcow2")).unwrap();
        assert_eq!(image, std::fs::read(site.path("image.copy")).unwrap());
    }
    std::fs::remove_file(site.path("web.qcow2")).unwrap();
    let json = site.karat(["build", "--if-changed", "--json", "web.toml"]);
    assert!(json.contains(&format!("\"id\":\"{id}\"")), "{json}");
}

#[test]
fn what_has_changed_is_said_and_built() {
    let site = site();
    let archive = Archive::start();
    archive.put("stable", "", &[("nginx", "1.0-1")]);
    let lock = lock(
        &site,
        &archive,
        &["stable"],
        vec![package("nginx", "1.0-1", &archive)],
    );
    record(&site, &lock);
    assert!(verdict(&site).contains("unchanged"));

    let text = lock.to_toml();
    let changed = |file: &str, with: &[u8], back: &[u8], expected: &str| {
        site.write(file, with);
        let said = verdict(&site);
        assert!(
            said.starts_with(&format!("building: {expected}")),
            "{expected}: {said}"
        );
        site.write(file, back);
        assert!(verdict(&site).contains("unchanged"), "after {expected}");
    };
    let [base, other] = [1, 2].map(disks::xfs);
    changed("base.raw", &other, &base, "the base was sha256:");
    let with = |line: &str| format!("{TEMPLATE}{line}\n");
    for (file, with, back, expected) in [
        (
            "web.toml",
            with("# a comment"),
            TEMPLATE,
            "the template has changed",
        ),
        (
            "motd",
            "bye\n".to_owned(),
            "hello\n",
            "the file /etc/motd has changed",
        ),
        (
            "web.lock.toml",
            text.replace("1.0-1", "1.0-0"),
            &text,
            "the lock has changed",
        ),
        (
            "web.toml",
            TEMPLATE.replace("nginx", "curl"),
            TEMPLATE,
            "`install` has curl",
        ),
        (
            "web.lock.toml",
            text.replace("karat.lock/1", "karat.lock/9"),
            &text,
            "web.lock.toml has the schema",
        ),
    ] {
        changed(file, with.as_bytes(), back.as_bytes(), expected);
    }

    archive.put("stable", "", &[("nginx", "1.0-2")]);
    let uri = &archive.uri;
    assert_eq!(
        verdict(&site),
        format!("building: the archive {uri} stable has changed")
    );
    archive.clear();
    let said = verdict(&site);
    let expected = format!(
        "building: cannot query the archive {uri}: cannot download {uri}/dists/stable/InRelease: the server answered 404 Not Found"
    );
    assert_eq!(said, expected);
    std::fs::remove_file(site.path("web.lock.toml")).unwrap();
    assert_eq!(verdict(&site), "building: there is no lock file yet");
}

/// Indices of several archives are fetched at the same time, so in any order.
fn outdated<const N: usize>(site: &Site, args: [&str; N]) -> String {
    let said = site.karat(args);
    let lines = said
        .lines()
        .filter(|line| !line.starts_with("    fetching "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn newer_versions_are_listed() {
    let site = site();
    let archive = Archive::start();
    let automatic = [
        ("nginx", "1.0-1"),
        ("curl", "7.88.1-10"),
        ("jq", "1.6"),
        ("zlib", "1:1.2"),
    ];
    archive.put("stable", "", &automatic);
    archive.put(
        "backports",
        "NotAutomatic: yes\nButAutomaticUpgrades: yes\n",
        &[("jq", "1.5")],
    );
    let packages = automatic.iter().chain(&[("git", "2~bpo1"), ("gone", "1")]);
    let packages = packages.map(|(name, version)| package(name, version, &archive));
    let lock = lock(
        &site,
        &archive,
        &["stable", "backports"],
        packages.collect(),
    );
    let id = record(&site, &lock);
    // What a build of this lock keeps in the store.
    let blob = Store::new(site.path("store")).blob(&lock.digest());
    std::fs::write(blob, lock.to_toml()).unwrap();
    insta::assert_snapshot!("nothing_newer", outdated(&site, ["outdated", "web.toml"]));

    archive.put(
        "stable",
        "",
        &[
            ("nginx", "1.0-1+deb1u1"),
            ("curl", "7.88.1-9"),
            ("zlib", "1:1.3"),
            ("zlib", "1:1.2.5"),
        ],
    );
    // Of backports apt goes on only with what was taken from there.
    archive.put(
        "backports",
        "NotAutomatic: yes\n",
        &[("git", "2~bpo1"), ("git", "3~bpo1"), ("jq", "1.7~bpo1")],
    );
    insta::assert_snapshot!("newer", outdated(&site, ["outdated", "web.toml"]));
    insta::assert_snapshot!(
        "newer_json",
        outdated(&site, ["outdated", "--json", "web.toml"])
    );
    let of_id = outdated(&site, ["outdated", &id.to_string()[..12]]);
    assert_eq!(of_id, outdated(&site, ["outdated", "web.toml"]));

    site.write("other.toml", crate::site::IMAGE);
    insta::assert_snapshot!(
        "outdated_no_lock",
        outdated(&site, ["outdated", "other.toml"])
    );
    insta::assert_snapshot!(
        "outdated_no_id",
        outdated(&site, ["outdated", "abcdefab12"])
    );
    archive.clear();
    let said = site
        .karat(["outdated", "web.toml"])
        .replace(&archive.uri, "[ARCHIVE]");
    insta::assert_snapshot!("outdated_no_archive", said);
}

#[test]
fn newer_versions_of_rpm_are_listed() {
    let site = site();
    site.write(
        "web.toml",
        &TEMPLATE.replace("[packages.apt]", "[packages.dnf]"),
    );
    let archive = Archive::start();
    let mut locked = Vec::new();
    for (name, version) in [
        ("nginx", "1.0~rc1-1"),
        ("jq", "1:1.6-1"),
        ("curl", "8.0^1-1"),
    ] {
        let architecture = "x86_64".to_owned();
        let package = package(name, version, &archive);
        locked.push(LockedPackage {
            architecture,
            ..package
        });
    }
    let index = archive.put_rpm(&[("nginx", "1.0"), ("jq", "1.7"), ("curl", "8.0")]);
    let mut lock = lock(&site, &archive, &[], locked);
    lock.archives = vec![lock::LockedArchive {
        uri: archive.uri.clone(),
        suite: String::new(),
        components: vec![],
        in_release: index,
        date: "2026-01-01T00:00:00Z".parse().unwrap(),
        signed_by: vec![],
    }];
    lock.write(&site.path("web.lock.toml")).unwrap();
    let said = outdated(&site, ["outdated", "web.toml"]);
    assert_eq!(
        said,
        "exit 0\n--- stdout\nnginx  1.0~rc1-1 -> 1.0-1\n--- stderr"
    );
    // The state of such a repository is asked for as that of any other.
    record(&site, &lock);
    assert!(verdict(&site).contains("unchanged"));
    archive.put_rpm(&[("nginx", "1.1")]);
    let uri = &archive.uri;
    assert_eq!(
        verdict(&site),
        format!("building: the archive {uri} has changed")
    );
}

/// A package with this control file and nothing in it.
fn deb(control: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(control.len() as u64);
    tar.append_data(&mut header, "./control", control.as_bytes())
        .unwrap();
    let member = tar.into_inner().unwrap();
    let head = format!(
        "!<arch>\n{:<16}{:<32}{:<10}`\n",
        "control.tar",
        "0",
        member.len()
    );
    [head.into_bytes(), member].concat()
}

#[test]
fn what_a_base_has_too_much_is_listed() {
    let site = site();
    let archive = Archive::start();
    archive.put("stable", "", &[("nginx", "1.0-1")]);
    insta::assert_snapshot!(
        "unneeded_no_lock",
        site.karat(["plan", "--unneeded", "web.toml"])
    );
    let deb = deb("Package: nginx\nVersion: 1.0-1\nArchitecture: amd64\nDepends: libpcre\n");
    let nginx = LockedPackage {
        sha256: Digest::of(&deb),
        ..package("nginx", "1.0-1", &archive)
    };
    let lock = lock(&site, &archive, &["stable"], vec![nginx]);
    insta::assert_snapshot!(
        "unneeded_no_status",
        site.karat(["plan", "--unneeded", "web.toml"])
    );

    let paragraph = |name: &str, more: &str| {
        format!(
            "Package: {name}\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\
             Installed-Size: 2048\n{more}\n"
        )
    };
    let status = [
        paragraph("base-files", "Essential: yes\nPre-Depends: awk\n"),
        paragraph("mawk", "Provides: awk\n"),
        paragraph("openssh-server", "Depends: libssl (>= 1)\n"),
        paragraph("libssl", ""),
        paragraph("libpcre", ""),
        paragraph("vim", "Depends: vim-common\n"),
        paragraph("vim-common", ""),
    ];
    let place = |kind: &str, digest: &Digest| format!("home/.cache/karat/{kind}/{}", digest.hex());
    site.write(
        &place("status", &lock.base.unwrap().digest),
        &status.concat(),
    );
    insta::assert_snapshot!(
        "unneeded_no_package",
        site.karat(["plan", "--unneeded", "web.toml"])
    );
    let path = place("sha256", &Digest::of(&deb));
    site.write(&path, "");
    std::fs::write(site.path(&path), deb).unwrap();
    insta::assert_snapshot!("unneeded", site.karat(["plan", "--unneeded", "web.toml"]));
    insta::assert_snapshot!(
        "unneeded_json",
        site.karat(["plan", "--unneeded", "--json", "web.toml"])
    );

    site.write(
        "web.toml",
        &TEMPLATE.replace("[packages.apt]", "[packages.dnf]"),
    );
    insta::assert_snapshot!(
        "unneeded_dnf",
        site.karat(["plan", "--unneeded", "web.toml"])
    );
}
