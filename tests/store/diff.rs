//! `karat diff`: of what is recorded, and of real disks.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use flate2::{Compression, write::GzEncoder};
use karat::digest::Digest;
use karat::record::manifest::{
    Allow, Image, Manifest, ManifestId, Origin, Package, Request, Source, SourceKind, Tree,
};
use karat::scan::report::policy::Verdict;
use karat::ui::Ui;
use serde_json::Value;

use crate::cli::Site;
use crate::trust::scanned;

/// Records an image with these files, as lines of a listing.
fn put(
    site: &Site,
    image: &Path,
    listing: &[&str],
    change: impl FnOnce(&mut Manifest),
) -> ManifestId {
    let bytes = fs::read(image).unwrap();
    let mut manifest = super::manifest("web", &bytes);
    let text = listing.join("\n") + "\n";
    let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
    manifest.outputs.tree = Some(Tree {
        digest: Digest::of(text.as_bytes()),
        listing: Digest::of(&packed),
    });
    manifest.outputs.image = Image {
        format: "raw".to_owned(),
        ..manifest.outputs.image
    };
    change(&mut manifest);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let writing = site.store.begin().await.unwrap();
        writing.add_image(image, &Ui::default()).await.unwrap();
        writing.add_text(&packed).unwrap();
        writing.commit(&manifest, super::run(b"image")).unwrap()
    })
}

fn package(name: &str, version: &str) -> Package {
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: "amd64".to_owned(),
        origin: Origin::Declared,
        sha256: None,
    }
}

/// A disk with the package `tool` and what a template puts there.
fn disk(site: &Site, name: &str, version: &str, changelog: &str) -> std::path::PathBuf {
    let root = site.path().join(name);
    let write = |path: &str, bytes: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let status = format!(
        "Package: tool\nStatus: install ok installed\nVersion: {version}\nArchitecture: amd64\nMaintainer: M\nDescription: d\n"
    );
    write("var/lib/dpkg/status", status.as_bytes());
    write(
        "var/lib/dpkg/info/tool.list",
        b"/.\n/usr\n/usr/bin\n/usr/bin/tool\n/usr/bin/old\n/usr/bin/new\n",
    );
    write("usr/bin/tool", version.as_bytes());
    write("etc/motd", b"hello\n");
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(changelog.as_bytes()).unwrap();
    write(
        "usr/share/doc/tool/changelog.Debian.gz",
        &packed.finish().unwrap(),
    );
    let disk = site.path().join(format!("{name}.raw"));
    fs::File::create(&disk).unwrap().set_len(16 << 20).unwrap();
    let made = Command::new("/sbin/mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .args([&root, &disk])
        .status();
    assert!(made.unwrap().success());
    disk
}

const NEW: &str = "tool (1.2) bookworm; urgency=high\n\n  * Fix CVE-2026-0002.\n\ntool (1.1) bookworm; urgency=low\n\n  * Fix CVE-2026-0001.\n\n";
const OLD: &str = "tool (1.0) bookworm; urgency=low\n\n  * Fix CVE-2024-0009.\n";

/// Two images that differ in something of everything.
fn images(site: &Site) -> [ManifestId; 2] {
    let first = disk(site, "one", "1.0", OLD);
    let second = disk(site, "two", "1.2", &format!("{NEW}{OLD}"));
    let lines = |tool: &str, motd: &str, more: &str| {
        [
            format!(
                r#"{{"kind":"file","mode":"0644","path":"/etc/motd","sha256":"{motd}","uid":0}}"#
            ),
            r#"{"kind":"file","mtime":1,"path":"/etc/os-release"}"#.replace('1', tool),
            format!(r#"{{"path":"/srv/\u001b[31m|{more}"}}"#),
            format!(r#"{{"path":"/usr/bin/{more}"}}"#),
            format!(
                r#"{{"kind":"file","mode":"{tool}","path":"/usr/bin/tool","sha256":"{tool}"}}"#
            ),
        ]
    };
    let put = |image, lines: [String; 5], change: fn(&mut Manifest)| {
        put(site, image, &lines.each_ref().map(String::as_str), change)
    };
    let first = put(&first, lines("10", "a", "old"), |it| {
        it.outputs.packages = vec![package("gone", "2"), package("tool", "1.0")];
        it.inputs.network.open = false;
    });
    let second = put(&second, lines("12", "b", "new"), |it| {
        it.outputs.packages = vec![package("more", "3"), package("tool", "1.2")];
        it.inputs
            .variables
            .insert("debug".to_owned(), "a | `b` <c>\n".to_owned());
        it.inputs.base.suite = Some("trixie".to_owned());
        it.inputs.steps.remove(0);
        it.inputs.template.digest = Digest::of(b"another");
        "another".clone_into(&mut it.inputs.template.text);
        it.inputs.network.open = false;
        it.inputs.network.allow.push(Allow {
            url: "https://example.org/".to_owned(),
            sha256: None,
        });
        it.inputs.network.requests.push(Request {
            url: "https://example.org/x".to_owned(),
            status: None,
            sha256: None,
            size: Some(1),
        });
        let (digest, kind) = (Digest::of(b"x"), SourceKind::File);
        it.inputs
            .sources
            .insert("x".to_owned(), Source { digest, kind });
    });
    scanned(
        site,
        first,
        &["CVE-2026-0001", "CVE-2026-0007"],
        &Verdict::Told,
    );
    scanned(
        site,
        second,
        &["CVE-2026-0007", "CVE-2026-0008"],
        &Verdict::Told,
    );
    [first, second]
}

/// Without the digests of disks, which have the time of their making in them, of compressed lists, and the times of scans.
fn plain(site: &Site, ids: [ManifestId; 2], mut text: String) -> String {
    for (id, name) in ids.into_iter().zip(["[ONE]", "[TWO]"]) {
        for scan in site.store.scans_of(id).unwrap() {
            text = text.replace(&scan.scanned.to_string(), "[TIME]");
        }
        let outputs = site.store.manifest(id).unwrap().manifest.outputs;
        let (image, listing) = (outputs.image.digest, outputs.tree.unwrap().listing);
        text = text
            .replace(&id.to_string(), name)
            .replace(&id.short(), name)
            .replace(&image.to_string(), &format!("{name} image"))
            .replace(&listing.to_string(), &format!("{name} listing"));
    }
    text
}

#[test]
fn what_changed_is_told_to_people_programs_and_pull_requests() {
    let site = Site::new();
    let ids = images(&site);
    let [one, two] = ids.map(|id| id.to_string());
    let said = |more: &[&str]| {
        plain(
            &site,
            ids,
            site.karat(&[&["diff", &one, &two], more].concat()),
        )
    };
    insta::assert_snapshot!("diff", said(&[]));
    insta::assert_snapshot!("diff_markdown", said(&["--markdown"]));
    insta::assert_snapshot!("diff_json", said(&["--json"]));

    let back = site
        .command(&["diff", &two, &one, "--json"])
        .output()
        .unwrap();
    let back: Value = serde_json::from_slice(&back.stdout).unwrap();
    let tool = back["packages"].as_array().unwrap().iter();
    let tool = tool.clone().find(|it| it["name"] == "tool").unwrap();
    assert_eq!(tool["change"], "downgraded");
    let again = ["CVE-2026-0001", "CVE-2026-0002"];
    assert_eq!(
        tool["changelog"],
        Value::from(&again[..]),
        "what a rollback brings back"
    );
}

#[test]
fn without_the_images_all_but_the_owners_is_told() {
    let site = Site::new();
    let ids = images(&site);
    for id in ids {
        let image = site
            .store
            .manifest(id)
            .unwrap()
            .manifest
            .outputs
            .image
            .digest;
        fs::remove_dir_all(site.store.root().join("images").join(image.hex())).unwrap();
    }
    let [one, two] = ids.map(|id| id.short());
    let said = plain(&site, ids, site.karat(&["diff", &one, &two]));
    insta::assert_snapshot!("diff_without_images", said);
}

#[test]
fn the_same_image_is_told_to_be_and_the_exit_code_tells_it_too() {
    let site = Site::new();
    let one = site.put("web", b"one");
    let two = site.put("web", b"two");
    let [one, two] = [one.to_string(), two.to_string()];
    insta::assert_snapshot!("diff_same", site.karat(&["diff", &one, &one[..8]]));
    for (second, more, expected) in [
        (&one, "--exit-code", 0),
        (&two, "--exit-code", 1),
        (&two, "--markdown", 0),
    ] {
        let output = site
            .command(&["diff", &one, second, more])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(expected), "{second} {more}");
    }
}

#[test]
fn what_cannot_be_compared_is_explained() {
    let site = Site::new();
    let id = site.put("web", b"one").to_string();
    for end in ["0", "1"] {
        let name = format!("manifests/{}{end}.json", "a".repeat(63));
        fs::write(site.store.root().join(name), "").unwrap();
    }
    let said = [
        ["diff", &id, "00000000"],
        ["diff", "aaaaaaaa", &id],
        ["diff", &id, "shop"],
        ["diff", &id, "web/stable"],
    ]
    .map(|arguments| site.karat(&arguments));
    insta::assert_snapshot!("diff_errors", said.join("\n"));
    let both = site.command(&["diff", &id, &id, "--json", "--markdown"]);
    assert_eq!({ both }.output().unwrap().status.code(), Some(2));
}
