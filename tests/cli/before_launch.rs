//! What can be known before a guest is launched: by `validate`, or at the start of a build.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::site::{IMAGE, Site};
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
    site.write("Fedora-Cloud-42.qcow2", "");
    site.write("debian-12.qcow2", "");
    let qemu = "[builder.qemu]\narch = \"x86_64\"\n";
    let file = |name: &str, manager: &str| {
        format!("{qemu}[base.file]\npath = \"{name}\"\n[packages.{manager}]\ninstall = [\"jq\"]\n")
    };
    // The apt sources of this host decide nothing.
    let suite = |name: &str| {
        format!("[base.bootstrap]\nmirror = \"https://example.org/\"\nsuite = \"{name}\"\n")
    };
    for (case, what, help) in [
        (
            suite("bokworm"),
            "no release `bokworm`",
            "`suite = \"bookworm\"`",
        ),
        (
            suite("noble"),
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
        suite("kirkstone"),
        suite("trixie"),
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

#[test]
fn a_base_without_a_root_file_system_is_found_before_the_launch() {
    let mut site = Site::new();
    site.set("PATH", std::env::var("PATH").unwrap());
    let base = site.path("base.img");
    fs::write(&base, vec![0; 8 << 20]).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        let status = command.args(arguments).current_dir(site.path("")).status();
        assert!(status.unwrap().success(), "{program}");
    };
    run("/sbin/mkfs.ext4", &["-q", "-F", "base.img"]);
    // The boot signature: ext4 leaves room for one.
    let mut bytes = fs::read(&base).unwrap();
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&base, bytes).unwrap();
    let template = format!(
        "{IMAGE}[builder.qemu]\narch = \"x86_64\"\naccelerator = \"tcg\"\n[base.file]\npath = \"base.img\"\n"
    );
    site.write("web.toml", &template);
    for format in ["raw", "qcow2"] {
        if format == "qcow2" {
            let qcow2 = ["convert", "-f", "raw", "-O", "qcow2", "base.img", "qcow2"];
            run("qemu-img", &qcow2);
            fs::rename(site.path("qcow2"), &base).unwrap();
        }
        let said = site.karat(["--quiet", "build", "web.toml"]);
        let expected = "base.img has no root file system: no partition has `/etc` and `/usr`";
        assert!(said.contains(expected), "{format}: {said}");
        assert!(!said.contains("qemu-system"), "{format}: {said}");
    }
}
