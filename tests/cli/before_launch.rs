//! What can be known before a guest is launched: by `validate`, or at the start of a build.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use karat::digest::Digest;

use crate::site::{IMAGE, Site};
use crate::support::disk;
use crate::support::web::{self, Web};

#[test]
fn what_cannot_be_built_anywhere_is_an_error() {
    let site = Site::new();
    insta::assert_snapshot!(site.validate_each(&[
        "[builder.qemu]\narch = \"x86_64\"\ndisk_size = \"100MiB\"\n",
        "[builder.qemu]\narch = \"x86_64\"\ndisk_size = \"4000TiB\"\n",
        "[packages.dnf]\ninstall = [\"jq\"]\n",
        "[base.bootstrap]\ndistribution = \"ubuntu\"\nsuite = \"noble\"\n[packages.dnf]\ninstall = [\"jq\"]\n",
    ]));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_probably_wrong_is_a_warning() {
    let mut site = Site::new();
    site.write(
        "bin/qemu-system-x86_64",
        "#!/bin/sh\nprintf 'Supported machines are:\\nq35  PC\\npc-q35-9.1  PC\\nmicrovm  m\\n'\n",
    );
    let qemu = site.path("bin/qemu-system-x86_64");
    fs::set_permissions(qemu, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", site.path("bin").display());
    site.set("PATH", path);
    for name in ["Fedora-Cloud-42.qcow2", "debian-12.qcow2"] {
        site.write(name, &disk::xfs(7));
    }
    let qemu = "[builder.qemu]\narch = \"x86_64\"\n";
    let file = |name: &str, manager: &str| {
        format!("{qemu}[base.file]\npath = \"{name}\"\n[packages.{manager}]\ninstall = [\"jq\"]\n")
    };
    // The apt sources of this host decide nothing.
    let release = |name: &str| {
        format!("[base.bootstrap]\nmirror = \"https://example.org/\"\nsuite = \"{name}\"\n")
    };
    for (case, what, help) in [
        (
            release("bokworm"),
            "no release `bokworm`",
            "`suite = \"bookworm\"`",
        ),
        (
            release("noble"),
            "no release `noble`",
            "`distribution = \"ubuntu\"`",
        ),
        (
            format!("{qemu}memory = \"4096KiB\"\n"),
            "4MiB of memory probably does not boot",
            "`memory = \"512MiB\"`",
        ),
        (
            format!("{qemu}cpus = 255\n"),
            "255 processors",
            "write `cpus = ",
        ),
        (
            "[builder.qemu]\narch = \"aarch64\"\n[base.file]\npath = \"debian-12.qcow2\"\n"
                .to_owned(),
            "qemu-system-aarch64",
            "install",
        ),
        (
            format!("{qemu}extra_args = [\"-vga std\"]\n"),
            "no option \"-vga std\"",
            "\"-vga\", \"std\"",
        ),
        (
            "[output]\npath = \"none/web.qcow2\"\n".to_owned(),
            "none of `output.path` does not exist",
            "run `mkdir -p",
        ),
        (
            "[[policy.ignore]]\nid = \"CVE-2020-1\"\nreason = \"r\"\nuntil = \"2021-01-31\"\n"
                .to_owned(),
            "CVE-2020-1 were accepted until 2021-01-31 only",
            "a later `until`",
        ),
        (
            format!("{qemu}memory = \"900TiB\"\n"),
            "memory of 900TiB is more than this host has",
            "smaller `memory`",
        ),
        (
            format!("{qemu}machine = \"q35x\"\n"),
            "no machine type `q35x`",
            "did you mean `q35`?",
        ),
        (
            file("Fedora-Cloud-42.qcow2", "apt"),
            "probably has no apt",
            "[packages.dnf]",
        ),
        (
            file("debian-12.qcow2", "dnf"),
            "probably has no dnf",
            "[packages.apt]",
        ),
    ] {
        site.write("t.toml", &format!("{IMAGE}{case}"));
        let said = site.karat(["validate", "t.toml"]);
        assert!(said.starts_with("exit 0\n"), "{said}");
        let warning = said.split("warning: ").nth(1).unwrap_or_default();
        assert!(
            warning.contains(what) && warning.contains(help),
            "{case}: {said}"
        );
        assert_eq!(said.matches("warning: ").count(), 1, "{said}");
    }
    for case in [
        release("kirkstone"),
        release("trixie"),
        format!("{qemu}machine = \"pc-q35-9.1,hpet=off\"\ncpus = 2\n"),
        file("debian-12.qcow2", "apt"),
        file("Fedora-Cloud-42.qcow2", "dnf"),
    ] {
        site.write("t.toml", &format!("{IMAGE}{case}"));
        let said = site.karat(["validate", "t.toml"]);
        assert!(!said.contains("warning"), "{case}: {said}");
    }
}

#[test]
fn a_suite_that_the_archive_does_not_have_is_found_before_the_bootstrap() {
    let site = Site::new();
    let archive = Web::on(
        "127.0.0.1",
        "http",
        [(
            "/debian/dists/bookworm/InRelease",
            &b"Suite: bookworm\n"[..],
        )],
        web::serve,
    );
    site.write("key.gpg", "");
    let key = site.path("key.gpg");
    let mirror = format!(
        "deb [signed-by={}] {} bokworm main",
        key.display(),
        archive.url("/debian")
    );
    site.write(
        "web.toml",
        &format!("{IMAGE}[base.bootstrap]\nsuite = \"bokworm\"\nmirror = \"{mirror}\"\n"),
    );
    let said = site.karat(["lock", "web.toml"]);
    let said = said.replace(&archive.url(""), "http://[SERVER]");
    assert!(said.starts_with("exit 2\n"), "{said}");
    assert!(
        said.contains("error: the archive http://[SERVER]/debian has no suite `bokworm`\n  help: did you mean `suite = \"bookworm\"`?"),
        "{said}"
    );
    let asked = archive.asked();
    assert!(
        asked.iter().all(|head| head.starts_with("HEAD ")),
        "{asked:?}"
    );
}

fn with_programs() -> Site {
    let mut site = Site::new();
    site.set("PATH", std::env::var("PATH").unwrap());
    site
}

fn run(site: &Site, program: &str, arguments: &[&str]) {
    let mut command = std::process::Command::new(program);
    let status = command.args(arguments).current_dir(site.path("")).status();
    assert!(status.unwrap().success(), "{program} {arguments:?}");
}

/// Enters two partitions into the boot sector, the second of which begins within the first.
fn overlapping(mut disk: Vec<u8>) -> Vec<u8> {
    for (entry, first) in [(446, 2048_u32), (462, 4096)] {
        disk[entry + 4] = 0x83;
        disk[entry + 8..entry + 12].copy_from_slice(&first.to_le_bytes());
        disk[entry + 12..entry + 16].copy_from_slice(&4096_u32.to_le_bytes());
    }
    disk
}

/// Writes files that are no base, each with the error that it gets.
fn wrong_bases(site: &Site) -> Vec<(&'static str, &'static str)> {
    let empty = vec![0; 8 << 20];
    let iso = |mut bytes: Vec<u8>| {
        bytes[0x8001..0x8006].copy_from_slice(b"CD001");
        bytes
    };
    let magic = |magic: &[u8]| [magic, &vec![7; 4096 - magic.len()]].concat();
    for (name, bytes) in [
        ("short", b"8 bytes\n".to_vec()),
        ("text", b"text\n".repeat(1024)),
        ("disk.xz", magic(b"\xfd7zXZ")),
        ("zeros.raw", empty.clone()),
        ("plain.iso", iso(empty.clone())),
        ("hybrid.iso", iso(disk::bootable(empty.clone()))),
        ("overlap.raw", overlapping(disk::bootable(empty.clone()))),
        ("data.raw", empty),
    ] {
        site.write(name, &bytes);
    }
    run(site, "/sbin/mkfs.ext4", &["-q", "-F", "data.raw"]);
    // ext4 leaves room for a boot sector.
    let data = fs::read(site.path("data.raw")).unwrap();
    site.write("data.raw", &disk::bootable(data));
    let convert = |from: &str, to: &str| {
        let arguments = ["convert", "-f", "raw", "-O", "qcow2", from, to];
        run(site, "qemu-img", &arguments);
    };
    convert("zeros.raw", "blank.qcow2");
    convert("hybrid.iso", "iso.qcow2");
    convert("data.raw", "data.qcow2");
    convert("zeros.raw", "snapshot.qcow2");
    run(
        site,
        "qemu-img",
        &["snapshot", "-c", "old", "snapshot.qcow2"],
    );
    let mut long = fs::read(site.path("blank.qcow2")).unwrap();
    long.extend(b"more than the disk");
    site.write("long.qcow2", &long);
    let overlay = "create -q -f qcow2 -b blank.qcow2 -F qcow2 overlay.qcow2";
    run(site, "qemu-img", &overlay.split(' ').collect::<Vec<_>>());
    vec![
        ("short", "is not a disk image"),
        ("text", "is not a disk image"),
        ("disk.xz", "is not a disk image"),
        ("/dev/null", "not a regular file"),
        ("zeros.raw", "neither a boot sector nor a partition table"),
        ("blank.qcow2", "neither a boot sector nor a partition table"),
        ("plain.iso", "is an ISO image"),
        ("hybrid.iso", "is an ISO image"),
        ("iso.qcow2", "is an ISO image"),
        ("overlay.qcow2", "is not a whole disk"),
        (
            "snapshot.qcow2",
            "holds more than its disk: internal snapshots (1)",
        ),
        ("long.qcow2", "holds more than its disk: data at byte"),
        ("overlap.raw", "partition 1 and partition 2 overlap"),
        ("data.raw", NO_ROOT),
        ("data.qcow2", NO_ROOT),
    ]
}

const NO_ROOT: &str = "has no root file system: no partition has `/etc` and `/usr`";

#[test]
fn a_base_that_is_no_system_is_refused_by_every_verb_before_anything_else() {
    let site = with_programs();
    for (name, expected) in wrong_bases(&site) {
        let template = format!(
            "{IMAGE}[builder.qemu]\narch = \"x86_64\"\naccelerator = \"tcg\"\n[base.file]\npath = \"{name}\"\n"
        );
        site.write("web.toml", &template);
        for verb in ["validate", "plan", "lock", "build"] {
            let said = site.karat([verb, "web.toml"]);
            assert!(said.starts_with("exit 2\n"), "{verb} {name}: {said}");
            assert!(said.contains(expected), "{verb} {name}: {said}");
            assert!(said.contains("web.toml:7:8"), "{verb} {name}: {said}");
            assert!(said.contains("help: "), "{verb} {name}: {said}");
            assert!(!said.contains("==>"), "{verb} {name}: {said}");
        }
        assert!(!site.path("web.lock.toml").exists(), "{name}");

        let said = site.karat(["import", name, "--name", "web"]);
        let (code, listed) = if expected == NO_ROOT {
            // Something else than Linux may have been built; it is recorded with a warning.
            assert!(said.contains("warning: "), "{name}: {said}");
            (0, "web ")
        } else {
            (2, "no images")
        };
        assert!(
            said.starts_with(&format!("exit {code}\n")),
            "{name}: {said}"
        );
        assert!(said.contains(expected), "{name}: {said}");
        assert!(site.karat(["list"]).contains(listed), "{name}: {said}");
    }
}

#[test]
fn a_disk_that_could_not_be_rewritten_ends_a_build_before_its_guest_starts() {
    let site = with_programs();
    site.write("base.raw", &disk::xfs(7));
    let template = format!(
        "{IMAGE}[builder.qemu]\narch = \"x86_64\"\naccelerator = \"tcg\"\n[base.file]\npath = \"base.raw\"\n"
    );
    site.write("web.toml", &template);
    let said = site.karat(["build", "web.toml"]);
    assert!(said.starts_with("exit 2\n"), "{said}");
    for part in [
        "error: cannot rewrite the disk: it has an XFS file system",
        "`rebuild = false` under `[finish]`",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert!(!said.contains("launch"), "{said}");
    assert!(site.karat(["list"]).contains("no images"), "{said}");
}

#[test]
fn a_base_that_is_downloaded_is_checked_like_a_file() {
    let site = with_programs();
    site.write("zeros.raw", &vec![0; 1 << 20]);
    let digest = Digest::of(&vec![0; 1 << 20]).hex();
    for (url, sha256, code, expected) in [
        (
            format!("file://{}", site.path("zeros.raw").display()),
            digest,
            2,
            "neither a boot sector nor a partition table",
        ),
        (
            format!("file://{}", site.path("none.raw").display()),
            "0".repeat(64),
            1,
            "help: check the path in the URL\n",
        ),
    ] {
        let template = format!("{IMAGE}[base.url]\nurl = \"{url}\"\nsha256 = \"{sha256}\"\n");
        site.write("web.toml", &template);
        let said = site.karat(["lock", "web.toml"]);
        assert!(said.starts_with(&format!("exit {code}\n")), "{url}: {said}");
        assert!(said.contains(expected), "{url}: {said}");
    }
    for (end, expected) in [
        (".iso", "karat runs no installer"),
        (".ISO?mirror=1", "karat runs no installer"),
        (".qcow2.xz", "unpack it"),
        (".raw.zst#disk", "unpack it"),
        (".qcow2", "ok, image"),
    ] {
        let template = format!(
            "{IMAGE}[base.url]\nurl = \"https://example.org/debian{end}\"\nsha256 = \"{}\"\n",
            "0".repeat(64)
        );
        site.write("web.toml", &template);
        let said = site.karat(["validate", "web.toml"]);
        assert!(said.contains(expected), "{end}: {said}");
    }
}

#[test]
fn a_disk_size_below_that_of_the_base_is_found_and_its_hint_is_valid() {
    let site = with_programs();
    for size in [1 << 30, (1 << 30) + 512, 3 << 20] {
        site.write("base.raw", &disk::xfs(0));
        let file = fs::File::options().write(true).open(site.path("base.raw"));
        file.unwrap().set_len(size).unwrap();
        let convert = [
            "convert",
            "-f",
            "raw",
            "-O",
            "qcow2",
            "base.raw",
            "base.qcow2",
        ];
        run(&site, "qemu-img", &convert);
        for name in ["base.raw", "base.qcow2"] {
            let validate = |size: &str| {
                let lines = format!(
                    "[builder.qemu]\ndisk_size = \"{size}\"\n[base.file]\npath = \"{name}\"\n"
                );
                site.write("web.toml", &format!("{IMAGE}{lines}"));
                site.karat(["validate", "web.toml"])
            };
            let said = validate("2MiB");
            assert!(said.starts_with("exit 2\n"), "{said}");
            assert!(said.contains("web.toml:4:13"), "{said}");
            let advice = said.split("write \"").nth(1).unwrap().split('"').next();
            let said = validate(advice.unwrap());
            assert!(said.starts_with("exit 0\n"), "{advice:?}: {said}");
        }
    }
}

#[test]
fn a_cache_that_cannot_be_used_is_named() {
    let mut site = with_programs();
    site.set("KARAT_CACHE", "/proc/none");
    site.write("base.raw", &disk::xfs(7));
    site.write(
        "web.toml",
        &format!("{IMAGE}[base.file]\npath = \"base.raw\"\n"),
    );
    let said = site.karat(["lock", "web.toml"]);
    assert!(said.contains("/proc/none/runs"), "{said}");
}
