//! Pruning, pins, what holds what; importing; stores that others can change.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use karat::digest::Digest;
use karat::record::manifest::ManifestId;
use karat::scan::report::policy::Verdict;
use karat::store::Store;
use serde_json::Value;

use crate::cli::{Site, without_times};
use crate::support::disk;
use crate::trust::{code, said, scanned, succeed};

/// Nothing is young, and what is marked is removed by the next run.
const AT_ONCE: [&str; 6] = ["prune", "--keep-within", "0s", "--grace", "0s", "--keep=2"];

pub fn images(site: &Site, names: &[&str]) -> Vec<ManifestId> {
    succeed(site, &["keys", "generate", "--comment", "ci"]);
    let put = |(number, name): (usize, &&str)| {
        // The run's times follow from the length.
        let image = format!("{name} {}", "x".repeat(number));
        let id = site.put(name, image.as_bytes());
        succeed(site, &["sign", &id.short()]);
        scanned(site, id, &[], &Verdict::Told);
        id
    };
    names.iter().enumerate().map(put).collect()
}

pub fn has_image(site: &Site, id: ManifestId) -> bool {
    let image = site.store.manifest(id).unwrap().manifest.outputs.image;
    site.store.image(&image.digest).is_ok()
}

#[test]
fn what_nothing_holds_is_marked_and_later_removed() {
    let site = Site::new();
    let ids = images(&site, &["web", "web", "web", "web", "mail", "base", "web"]);
    let [one, two, three, four, mail, base, last] = ids[..] else {
        panic!("{ids:?}")
    };
    let shop = site.put_on("shop", b"the shop", b"base xxxxx");
    for id in [one, two, three] {
        succeed(&site, &["promote", &id.short(), "web/stable"]);
    }
    let all = [one, two, three, four, mail, base, last, shop];
    let here = || all.map(|id| has_image(&site, id));
    succeed(&site, &["pin", &mail.short(), "--reason", "evidence"]);
    insta::assert_snapshot!(
        "status",
        without_times(&said(
            &site,
            &["store", "status", "--keep-within", "0s", "--keep", "2"]
        ))
    );
    insta::assert_snapshot!(
        "prune_dry",
        said(&site, &[&AT_ONCE[..], &["--dry-run"]].concat())
    );
    assert!(!site.store.root().join("tombstones.json").exists());
    insta::assert_snapshot!("prune_marks", said(&site, &AT_ONCE));
    assert_eq!(here(), [true; 8], "marked only");
    // What became wanted meanwhile is kept.
    let not_yet = ["prune", "--keep-within", "0s", "--grace", "1d", "--keep=2"];
    succeed(&site, &["promote", &four.short(), "web/testing"]);
    insta::assert_snapshot!("prune_spares", said(&site, &not_yet));
    assert_eq!(here(), [true; 8]);
    insta::assert_snapshot!("prune_removes", said(&site, &AT_ONCE));
    assert_eq!(here(), [false, true, true, true, true, true, true, true]);
    // Everything but the bytes is there still.
    succeed(&site, &["verify", "--unsigned"]);
    succeed(&site, &["show", &one.short()]);
    let (exit, error) = code(&site, &["export", &one.short(), "-o", "one"]);
    assert!(
        exit == 1 && error.contains("is not in the store"),
        "{error}"
    );
    let (exit, error) = code(&site, &["rollback", &one.short()]);
    assert!(
        exit == 4 && error.contains("is not in the store"),
        "{error}"
    );
    insta::assert_snapshot!(
        "status_after",
        without_times(&said(
            &site,
            &["store", "status", "--keep-within", "0s", "--keep", "2"]
        ))
    );
    // Built again, it is an image like any other: marked first.
    site.put("web", b"web ");
    assert!(has_image(&site, one));
    let output = site
        .command(&[&AT_ONCE[..], &["--json"]].concat())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["removed"], Value::Array(vec![]), "{report}");
    succeed(&site, &["verify", "--unsigned"]);
}

#[test]
fn blobs_of_nobody_are_removed_in_two_steps_too() {
    let site = Site::new();
    images(&site, &["web"]);
    let left = Digest::of(b"left by a crash");
    fs::write(site.store.blob(&left), "left by a crash").unwrap();
    succeed(&site, &["prune"]);
    assert!(site.store.blob(&left).exists(), "its time has not come");
    succeed(&site, &["prune", "--grace", "0s"]);
    assert!(!site.store.blob(&left).exists());
    succeed(&site, &["verify"]);
}

#[test]
fn pruning_at_once_with_builds_and_promotions_removes_nothing_of_theirs() {
    let site = Site::new();
    let ids = images(&site, &["web", "web", "web", "web"]);
    let spawn = |arguments: &[&str]| {
        let mut command = site.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    for round in 0..6_usize {
        let prunes: Vec<_> = (0..3).map(|_| spawn(&AT_ONCE)).collect();
        let id = ids[round % 4].short();
        let promote = spawn(&["promote", &id, "web/stable"]);
        let new = site.put("new", format!("new {round}").as_bytes());
        assert!(has_image(&site, new), "it is the last of its name");
        for mut child in prunes {
            assert!(child.wait().unwrap().success());
        }
        // It moved and the image is there, or it was refused because it was removed before.
        let moved = { promote }.wait().unwrap();
        let name = "web/stable".parse().unwrap();
        let head = site
            .store
            .channel(&name)
            .unwrap()
            .head()
            .map(|it| it.manifest);
        if moved.success() {
            assert_eq!(head, Some(ids[round % 4]));
        }
        if let Some(head) = head {
            assert!(has_image(&site, head), "round {round}");
        }
    }
    succeed(&site, &["verify", "--unsigned"]);
}

#[test]
fn an_image_of_another_builder_is_imported_and_goes_the_same_way() {
    let site = Site::new();
    succeed(&site, &["keys", "generate", "--comment", "ci"]);
    let image: Vec<u8> = (0..3 << 20)
        .map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let image = disk::bootable(image);
    fs::write(site.path().join("packer.raw"), &image).unwrap();
    let import = |arguments: &[&str]| {
        let mut command = site.command(&[&["import"][..], arguments].concat());
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.env("KARAT_CACHE", site.path().join("cache"));
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        (output.status.code().unwrap(), id, error)
    };
    let (exit, id, error) = import(&["packer.raw", "--name", "web", "--description", "by Packer"]);
    assert_eq!(exit, 0, "{error}");
    assert!(
        error.contains("cannot list its packages and files"),
        "{error}"
    );
    let (exit, again, _) = import(&["packer.raw", "--name", "web", "--description", "by Packer"]);
    assert_eq!((exit, &again), (0, &id), "the same file has the same id");
    assert!(
        site.path().join("packer.raw").exists(),
        "it stays where it was"
    );
    insta::assert_snapshot!("imported", {
        let shown = site.karat(&["show", &id]);
        let lines = shown.lines().filter(|line| !line.starts_with("built"));
        lines.collect::<Vec<_>>().join("\n")
    });
    succeed(&site, &["sign", &id]);
    succeed(&site, &["export", &id, "-o", "out.raw"]);
    assert!(fs::read(site.path().join("out.raw")).unwrap() == image);
    for (arguments, wanted) in [
        (&["packer.raw"][..], "--name"),
        (&["packer.raw", "--name", "Web"], "use the letters a to z"),
        (
            &["none.raw", "--name", "web"],
            "cannot read the image none.raw",
        ),
        (&["config", "--name", "web"], "not a regular file"),
        (
            &["packer.raw", "--name", "web", "--from", "x"],
            "cannot be used with",
        ),
    ] {
        let (exit, _, error) = import(arguments);
        assert!(
            exit == 2 && error.contains(wanted),
            "{arguments:?}: {error}"
        );
    }
    let runs = fs::read_dir(site.path().join("cache/runs"));
    assert_eq!(runs.map_or(0, Iterator::count), 0, "nothing is left over");

    // To another store, with its signature.
    let other = site.path().join("other");
    let other = other.to_str().unwrap();
    let from = site.store.root().to_str().unwrap();
    let take = [&id[..12], "--from", from, "--store", other];
    let (exit, taken, error) = import(&take);
    assert_eq!((exit, &taken), (0, &id), "{error}");
    succeed(&site, &["verify", &id, "--store", other]);
    // One that is built on an image comes with it, so that it can be rebuilt there.
    let shop = site.put_on("shop", b"the shop", &image).to_string();
    let (exit, _, error) = import(&[&shop, "--from", from, "--store", other]);
    assert_eq!(exit, 0, "{error}");
    let base = Digest::of(&image);
    assert!(!error.contains("the base was missing"), "{error}");
    assert_eq!(
        Store::new(other).image(&base).unwrap().size(),
        image.len() as u64
    );
    // Nothing of a damaged one.
    let damaged = site.put("mail", b"the mail");
    let digest = site
        .store
        .manifest(damaged)
        .unwrap()
        .manifest
        .outputs
        .image
        .digest;
    let blob = site
        .store
        .blob(site.store.chunks_of(&digest).unwrap().first().unwrap());
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, "the mall").unwrap();
    let id = damaged.short();
    let (exit, _, error) = import(&[&id, "--from", from, "--store", other]);
    assert!(exit == 4 && error.contains("nothing was copied"), "{error}");
    let (exit, _) = code(&site, &["show", &id, "--store", other]);
    assert_eq!(exit, 2);
}

#[test]
fn a_store_that_others_can_change_is_refused() {
    let site = Site::new();
    let id = images(&site, &["web"])[0].short();
    succeed(&site, &["promote", &id, "web/stable"]);
    let root = site.store.root();
    let mode = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for below in [
        "",
        "channels",
        "channels/web",
        "audit.jsonl",
        "manifests",
        "blobs/sha256",
    ] {
        let path = root.join(below);
        let before = path.metadata().unwrap().permissions().mode() & 0o777;
        mode(&path, before | 0o020);
        for arguments in [&["verify"][..], &["show", &id], &["promote", &id, "web/x"]] {
            let (exit, error) = code(&site, arguments);
            assert!(
                exit == 2 && error.contains("other users can write to"),
                "{error}"
            );
        }
        mode(&path, before);
    }
    succeed(&site, &["verify"]);
    let signers = site.path().join("config/karat/allowed_signers");
    mode(&signers, 0o646);
    let (exit, error) = code(&site, &["verify"]);
    assert!(
        exit == 2 && error.contains("all users can write to"),
        "{error}"
    );
    mode(&signers, 0o664);
    succeed(&site, &["verify"]);
    // Whatever the umask says, karat's own are not so.
    fs::write(site.path().join("image.raw"), disk::xfs(1)).unwrap();
    let karat = env!("CARGO_BIN_EXE_karat");
    let line = format!(
        "umask 0
        id=$('{karat}' import image.raw --name other) && '{karat}' sign $id --key config/karat/key &&
        '{karat}' promote $id other/stable --force --reason x --key config/karat/key --trust config/karat/allowed_signers &&
        '{karat}' verify --unsigned"
    );
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", &line])
        .current_dir(site.path())
        .env("KARAT_CACHE", site.path().join("cache"))
        .env("KARAT_STORE", site.path().join("fresh"));
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(root.join("channels"), Some(12345), None).unwrap();
        insta::assert_snapshot!("foreign", site.karat(&["verify"]));
    }
}

#[test]
fn a_move_can_be_waited_for() {
    let site = Site::new();
    let ids = images(&site, &["web", "web"]);
    let (exit, error) = code(&site, &["wait", "web/stable", "--timeout", "300ms"]);
    assert!(
        exit == 1 && error.contains("did not move within 300ms"),
        "{error}"
    );
    let mut waiting = site.command(&[
        "wait",
        "web/stable",
        "--json",
        "--after",
        "0",
        "--exec",
        "cat > moved",
    ]);
    waiting.env("PATH", std::env::var_os("PATH").unwrap());
    let waiting = waiting.stdout(Stdio::piped()).spawn().unwrap();
    succeed(&site, &["promote", &ids[0].short(), "web/stable"]);
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success());
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let piped: Value =
        serde_json::from_slice(&fs::read(site.path().join("moved")).unwrap()).unwrap();
    assert_eq!(printed["manifest"], ids[0].to_string());
    assert_eq!(printed, piped);
}

#[test]
fn the_worked_example_goes_as_it_says() {
    let site = Site::new();
    let example =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rollback/rollback.sh");
    let mut command = std::process::Command::new(example);
    let output = command
        .arg(site.path().join("story"))
        .env("KARAT", env!("CARGO_BIN_EXE_karat"))
        .env_remove("KARAT_KEY")
        .env_remove("KARAT_STORE")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}{error}");
    for line in [
        "/usr/sbin/updater",
        "web/stable 4:",
        "its bytes go, in two steps",
        "removed  ",
        "== done",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(
        error.contains("brings back 1 fixed vulnerability: CVE-2026-0001"),
        "{error}"
    );
}
