//! The archive and the Debian package of `make dist`: unpacked, installed and removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Runs `command`, which must succeed, and returns its stdout.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program is installed");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Packages the binary under test, without its debug information.
fn package(scratch: &Path) -> PathBuf {
    let (binary, dist) = (scratch.join("karat"), scratch.join("dist"));
    run(Command::new("strip")
        .arg("-o")
        .args([&binary, Path::new(env!("CARGO_BIN_EXE_karat"))]));
    run(Command::new(".ci/package")
        .args([&binary, &dist])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("ZSTD_CLEVEL", "1")
        .env("DPKG_DEB_COMPRESSOR_TYPE", "zstd")
        .env("DPKG_DEB_COMPRESSOR_LEVEL", "1"));
    dist
}

/// Returns all files below `root`, relative to it, without the records and the log of dpkg.
fn files(root: &Path) -> BTreeSet<String> {
    let listed = run(Command::new("find")
        .args([".", "-type", "f", "-not", "-path", "./var/*"])
        .current_dir(root));
    listed
        .lines()
        .map(|line| line.trim_start_matches("./").to_owned())
        .collect()
}

#[test]
fn packages_install_what_make_install_does_and_are_removed_without_a_trace() {
    let scratch = TempDir::new().unwrap();
    let dist = package(scratch.path());
    run(Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(&dist));
    let version = env!("CARGO_PKG_VERSION");

    let archive = format!("karat-{version}-x86_64-linux");
    run(Command::new("tar")
        .args(["--extract", "--file", &format!("{archive}.tar.zst")])
        .current_dir(&dist));
    let unpacked = files(&dist.join(&archive));
    for expected in [
        "bin/karat",
        "share/man/man1/karat.1",
        "share/man/man1/karat-build.1",
        "share/bash-completion/completions/karat",
        "share/zsh/site-functions/_karat",
        "share/fish/vendor_completions.d/karat.fish",
        "share/doc/karat/copyright",
        "share/doc/karat/examples/templates/debian-web.toml",
        "share/doc/karat/examples/provisioners/final-cleanup.sh",
    ] {
        assert!(unpacked.contains(expected), "{expected}: {unpacked:#?}");
    }

    let root = scratch.path().join("root");
    for directory in ["info", "updates", "triggers"] {
        std::fs::create_dir_all(root.join("var/lib/dpkg").join(directory)).unwrap();
    }
    std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    let dpkg = |arguments: &[&str]| {
        // Dependencies are those of the scratch root, which has nothing.
        let mut command = Command::new("dpkg");
        command.arg("--root").arg(&root);
        command.args(["--force-depends", "--force-not-root"]);
        run(command.args(arguments).current_dir(&dist))
    };
    dpkg(&["--install", &format!("karat_{version}_amd64.deb")]);
    let installed: BTreeSet<String> = files(&root)
        .iter()
        .filter_map(|path| path.strip_prefix("usr/").map(str::to_owned))
        .collect();
    // zsh of Debian reads completions of packages elsewhere than completions of `make install`.
    let packaged: BTreeSet<String> = unpacked
        .iter()
        .map(|path| path.replace("zsh/site-functions", "zsh/vendor-completions"))
        .collect();
    assert_ne!(packaged, unpacked);
    assert_eq!(installed, packaged);
    let said = run(Command::new(root.join("usr/bin/karat")).arg("--version"));
    assert!(said.starts_with(&format!("karat {version}")), "{said}");
    dpkg(&["--remove", "karat"]);
    assert_eq!(files(&root), BTreeSet::new());
}

#[test]
fn the_same_binary_gives_the_same_packages() {
    let scratches = [(); 2].map(|()| TempDir::new().unwrap());
    let sums = scratches.each_ref().map(|scratch| {
        std::fs::read_to_string(package(scratch.path()).join("SHA256SUMS")).unwrap()
    });
    assert_eq!(sums[0], sums[1]);
}
