//! Whether a machine that starts from the image gets host keys of its own.

use super::{Look, ScanError};
use crate::disk::read::Kind;

/// Units that make keys when they are there and nothing has masked them (OpenSSH of Fedora, Arch, Alpine; Ubuntu).
const UNITS: [&str; 5] = [
    "sshd-keygen.target",
    "sshd-keygen@.service",
    "sshd-keygen.service",
    "sshdgenkeys.service",
    "ssh-keygen.service",
];
const SYSTEM: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    let exists = |path: &str| look.root.resolve(path.as_bytes()).is_some();
    if !exists("/usr/sbin/sshd") {
        return Ok(());
    }
    let has_keys = look
        .root
        .children(b"/etc/ssh")
        .any(|(path, _)| path.starts_with(b"/etc/ssh/ssh_host_") && path.ends_with(b"_key"));
    // cloud-init makes them for every new instance.
    if has_keys || exists("/usr/bin/cloud-init") || makes_keys(look)? {
        return Ok(());
    }
    let evidence = "sshd is there, host keys are not, and nothing makes them at the first boot";
    look.report("no-host-key-generator", b"/etc/ssh", evidence);
    Ok(())
}

/// A unit, a part of one, or a script of other init systems that calls ssh-keygen for host keys.
fn makes_keys(look: &Look<'_>) -> Result<bool, ScanError> {
    for directory in SYSTEM {
        if UNITS.iter().any(|unit| {
            let path = format!("{directory}/{unit}");
            look.root.resolve(path.as_bytes()).is_some()
        }) {
            return Ok(true);
        }
        let Some(real) = look.root.resolve(directory.as_bytes()) else {
            continue;
        };
        for (path, index) in look.root.tree().below(&real) {
            let file = &look.root.tree().files()[index];
            let small = file.kind == Kind::File && file.content.size() < 64 << 10;
            let unit = path.ends_with(b".service") || path.ends_with(b".conf");
            if small && unit && has(&look.root.content(path, file, super::LARGEST)?) {
                return Ok(true);
            }
        }
    }
    for script in ["/etc/init.d/sshd", "/etc/init.d/ssh", "/etc/rc.local"] {
        if look
            .root
            .read(script.as_bytes(), super::LARGEST)?
            .is_some_and(|text| has(&text))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.lines().any(|line| {
        !line.trim_start().starts_with('#')
            && (line.contains("ssh-keygen") || line.contains("dpkg-reconfigure openssh-server"))
    })
}
