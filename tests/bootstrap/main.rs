//! A base is made from the machine's own package archive, looked into from outside, and booted by BIOS and by UEFI.

mod elsewhere;
mod guest;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use guest::{Guest, WayIn};
use karat::disk::normalize::source::SourceDisk;
use karat::disk::read::qcow2::{Layer, open_chain};
use support::base;

/// Where the root file system starts; `sfdisk --list` of a base says the same.
const ROOT_OFFSET: u64 = (4096 + 131_072) * 512;

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} does not run: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn make(cache: &Path, run: &Path) -> PathBuf {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(base::make(cache, run))
}

fn looks_right_from_outside(base: &Path, scratch: &Path) {
    let raw = scratch.join("disk.raw");
    let raw = raw.to_str().unwrap();
    let info = output("qemu-img", &["info", base.to_str().unwrap()]);
    assert!(info.contains("zstd") && !info.contains("backing"), "{info}");
    output(
        "qemu-img",
        &["convert", "-O", "raw", base.to_str().unwrap(), raw],
    );
    let table = output("sfdisk", &["--verify", raw]);
    assert!(table.contains("No errors detected"), "{table}");
    let root = format!("{raw}?offset={ROOT_OFFSET}");
    let fsck = Command::new("e2fsck")
        .args(["-f", "-n", &root])
        .output()
        .unwrap();
    assert!(
        fsck.status.success(),
        "{}",
        String::from_utf8_lossy(&fsck.stdout)
    );
    let debugfs = |request: &str| output("debugfs", &["-R", request, &root]);
    let ssh = debugfs("ls -p /etc/ssh");
    assert!(
        ssh.contains("sshd_config") && !ssh.contains("ssh_host_"),
        "{ssh}"
    );
    let machine_id = debugfs("stat /etc/machine-id");
    assert!(machine_id.contains("Size: 0"), "{machine_id}");
    for absent in [
        "/var/lib/dbus/machine-id",
        "/root/.ssh",
        "/var/lib/cloud",
        "/etc/apt/apt.conf.d/99mmdebstrap",
    ] {
        let found = debugfs(&format!("stat {absent}"));
        assert!(found.contains("File not found"), "{absent}: {found}");
    }
    for directory in ["/dev", "/proc", "/run", "/tmp", "/var/log/apt"] {
        let listing = debugfs(&format!("ls -p {directory}"));
        let names = listing.lines().filter(|line| line.starts_with('/'));
        assert!(names.count() <= 2, "{directory}: {listing}");
    }
    let sources = debugfs("cat /etc/apt/sources.list");
    assert!(
        sources.contains(" bookworm main") && !sources.contains("backports"),
        "{sources}"
    );
    std::fs::remove_file(raw).unwrap();
}

fn nothing_is_mounted_below(directory: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(directory.to_str().unwrap()), "{mounts}");
}

#[test]
fn a_base_is_made_once_and_boots_by_bios_and_by_uefi() {
    let scratch = tempfile::tempdir().unwrap();
    let cache = base::cache();
    let run = scratch.path().join("run");
    std::fs::create_dir_all(&run).unwrap();
    let started = Instant::now();
    let base = make(&cache, &run);
    eprintln!("made, or found, in {:?}", started.elapsed());
    nothing_is_mounted_below(&run);
    assert_eq!(
        std::fs::read_dir(&run).unwrap().count(),
        0,
        "scratch is left in {}",
        run.display()
    );
    let started = Instant::now();
    assert_eq!(make(&cache, &run), base);
    assert!(
        started.elapsed().as_secs() < 1,
        "the second time it comes from the cache"
    );

    looks_right_from_outside(&base, scratch.path());

    let guest = Guest::boot(&base, scratch.path(), "bios", WayIn::Seed);
    let status = guest.ssh("cloud-init status --wait");
    assert!(status.contains("status: done"), "{status}");
    is_in_order(&guest);
    let facts = guest.ssh("hostname; test -d /sys/firmware/efi && echo efi; update-grub 2>&1; grep -c ' quiet' /boot/grub/grub.cfg");
    assert!(
        facts.starts_with("seeded\n") && !facts.contains("efi\n") && facts.contains("\ndone\n"),
        "{facts}"
    );
    drop(guest);

    let guest = Guest::boot(&base, scratch.path(), "uefi", WayIn::Credentials);
    is_in_order(&guest);
    let facts = guest.ssh("cloud-init status; test -d /sys/firmware/efi && echo efi");
    assert!(
        facts.contains("status: disabled") && facts.ends_with("efi\n"),
        "{facts}"
    );
}

/// The files of a base's root that say which packages it was made of.
fn packages(base: &Path) -> Vec<u8> {
    let disk = open_chain(&[Layer::Qcow2(base.to_owned())]).unwrap();
    let source = SourceDisk::open(disk).unwrap();
    let tree = source.tree().unwrap();
    let status = tree.find(b"/var/lib/dpkg/status").unwrap();
    let status = &tree.files()[status].content;
    let mut text = vec![0; status.size().try_into().unwrap()];
    let read = status.read_at(source.files(), 0, &mut text).unwrap();
    assert_eq!(read, text.len());
    text
}

#[test]
fn the_same_packages_give_the_same_base_to_another_user_of_another_host() {
    let scratch = tempfile::tempdir().unwrap();
    let run = scratch.path().join("run");
    std::fs::create_dir_all(&run).unwrap();
    let theirs = elsewhere::make(scratch.path());
    let mut ours = make(&base::cache(), &run);
    let wanted = packages(&theirs);
    assert!(wanted.starts_with(b"Package: "));
    if packages(&ours) != wanted {
        eprintln!("the archive has moved on since the shared base was made: one more is made");
        ours = make(&scratch.path().join("cache"), &run);
        assert!(packages(&ours) == wanted, "the archive has just moved on");
    }
    let [ours, theirs] = [ours, theirs].map(|base| std::fs::read(base).unwrap());
    let different = ours
        .iter()
        .zip(&theirs)
        .position(|(one, other)| one != other);
    assert_eq!((ours.len(), different), (theirs.len(), None));
}

/// What holds however the guest was booted. The disk was grown to 6 GiB.
fn is_in_order(guest: &Guest) {
    let facts = guest.ssh(
        "systemctl --failed --no-legend; df -BM --output=size / | tail -1; wc -c < /etc/machine-id; \
         . /etc/default/locale; echo $LANG; getent hosts localhost | head -1; ls /etc/ssh/ssh_host_*_key; cat /proc/cmdline",
    );
    let size = facts
        .split('M')
        .next()
        .and_then(|size| size.trim().parse::<u32>().ok());
    assert!(
        size.is_some_and(|size| size > 5500),
        "the root was not grown, or a unit failed: {facts}"
    );
    assert!(
        facts.contains("\n33\n") && facts.contains("C.UTF-8"),
        "{facts}"
    );
    assert!(
        facts.contains("ssh_host_ed25519_key") && !facts.contains("rsa"),
        "{facts}"
    );
    assert!(
        facts.contains("console=ttyS0") && !facts.contains("tty0"),
        "{facts}"
    );
}
