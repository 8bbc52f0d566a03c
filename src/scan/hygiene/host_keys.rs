//! Checks that every machine that boots from the image gets SSH host keys of its own.

use super::{HygieneScan, ScanError};
use crate::disk::read::FileType;

/// Units that generate keys if they exist and are not masked (OpenSSH of Fedora, Arch, Alpine; Ubuntu).
const UNITS: [&str; 5] = [
    "sshd-keygen.target",
    "sshd-keygen@.service",
    "sshd-keygen.service",
    "sshdgenkeys.service",
    "ssh-keygen.service",
];
const UNIT_DIRECTORIES: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Scripts of other init systems.
const SCRIPTS: [&str; 3] = ["/etc/init.d/sshd", "/etc/init.d/ssh", "/etc/rc.local"];
/// No unit that is written by hand is larger.
const MAX_UNIT_BYTES: u64 = 64 << 10;

pub(super) fn check(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    let exists = |path: &str| scan.root.resolve(path.as_bytes()).is_some();
    if !exists("/usr/sbin/sshd") {
        return Ok(());
    }
    let has_keys = scan
        .root
        .children(b"/etc/ssh")
        .any(|(path, _)| path.starts_with(b"/etc/ssh/ssh_host_") && path.ends_with(b"_key"));
    // cloud-init generates them for every new instance.
    if has_keys || exists("/usr/bin/cloud-init") || has_generator(scan)? {
        return Ok(());
    }
    let evidence =
        "sshd is installed without host keys, and nothing generates them at the first boot";
    scan.report("no-host-key-generator", b"/etc/ssh", evidence);
    Ok(())
}

/// Returns whether a unit, a drop-in or an init script generates host keys.
fn has_generator(scan: &HygieneScan<'_>) -> Result<bool, ScanError> {
    let root = scan.root;
    for directory in UNIT_DIRECTORIES {
        let mut units = UNITS.iter().map(|unit| format!("{directory}/{unit}"));
        if units.any(|unit| root.resolve(unit.as_bytes()).is_some()) {
            return Ok(true);
        }
        let Some(real) = root.resolve(directory.as_bytes()) else {
            continue;
        };
        for (path, index) in root.tree().below(&real) {
            let file = &root.tree().files()[index];
            let small = file.kind == FileType::File && file.content.size() < MAX_UNIT_BYTES;
            let unit = path.ends_with(b".service") || path.ends_with(b".conf");
            if small && unit && runs_generator(&root.content(path, file, super::MAX_FILE_BYTES)?) {
                return Ok(true);
            }
        }
    }
    for script in SCRIPTS {
        let text = root.read(script.as_bytes(), super::MAX_FILE_BYTES)?;
        if text.is_some_and(|text| runs_generator(&text)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn runs_generator(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.lines().any(|line| {
        !line.trim_start().starts_with('#')
            && (line.contains("ssh-keygen") || line.contains("dpkg-reconfigure openssh-server"))
    })
}
