//! A base made by the program itself, where whatever can be another about a host is another.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The base is made before there is a guest, which ends at once here.
const TEMPLATE: &str = "[image]\nname = \"elsewhere\"\n\n[base.bootstrap]\ndistribution = \"debian\"\nsuite = \"bookworm\"\n";
const NO_GUEST: &str = "#!/bin/sh\necho 'no guest is wanted' >&2\nexit 1\n";

/// Makes a base below `site`, in a cache of its own.
pub fn make(site: &Path) -> PathBuf {
    let place = |name: &str| {
        let path = site.join("elsewhere").join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let (programs, cache) = (place("programs"), place("cache"));
    let qemu = programs.join("qemu-system-x86_64");
    std::fs::write(&qemu, NO_GUEST).unwrap();
    std::fs::set_permissions(&qemu, std::fs::Permissions::from_mode(0o755)).unwrap();
    let template = place("template").join("elsewhere.toml");
    std::fs::write(&template, TEMPLATE).unwrap();

    // Only root can have another host name for one program.
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("unshare");
        command.args(["--uts", "sh", "-c"]);
        command.arg("hostname elsewhere && umask 077 && exec \"$@\"");
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 077 && exec \"$@\""]);
        command
    };
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    command.args(["karat", env!("CARGO_BIN_EXE_karat"), "build", "--store"]);
    command.arg(place("store")).arg(&template);
    command
        .env("PATH", path)
        .env("KARAT_CACHE", &cache)
        .env("TMPDIR", place("tmp"))
        .env("HOME", place("home"))
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("TZ", "Pacific/Kiritimati")
        .env("SOURCE_DATE_EPOCH", "86400");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("no guest is wanted"),
        "{said}"
    );
    let made = std::fs::read_dir(cache.join("bootstrap")).unwrap();
    let mut made = made
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "qcow2"));
    made.next().unwrap_or_else(|| panic!("no base: {said}"))
}
