//! Boot configuration: kernel command lines, kernels, and the disks in fstab and crypttab.

use super::lists::LISTS;
use super::text::{has_url_password, lines};
use super::{HygieneScan, ScanError};
use crate::disk::read::FileType;

/// Ends of a parameter's name that mark a secret.
const SECRET_ENDS: [&str; 5] = ["api_key", "private_key", "access_key", "wpa", "api-key"];
/// Parameters that hand a credential to systemd.
const CREDENTIALS: [&str; 2] = ["systemd.set_credential", "systemd.set_credential_binary"];
/// Parameters that open a root shell.
const DEBUG: [&str; 3] = ["rd.break", "systemd.debug-shell", "systemd.debug-shell=1"];
const SHELLS: [&str; 4] = ["/bin/sh", "/bin/bash", "/usr/bin/bash", "/usr/bin/sh"];

pub(super) fn check(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    for (path, text) in scan.texts(&LISTS.boot_directories, &LISTS.boot_files)? {
        for (number, line) in lines(&text) {
            for word in line.split([' ', '\t', '"', '\'']) {
                parameter(scan, &path, number, word);
            }
        }
    }
    kernels(scan);
    mounts(scan)
}

fn parameter(scan: &mut HygieneScan<'_>, path: &str, number: usize, word: &str) {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let is_value = value.len() > 3 && !value.starts_with('$');
    if (is_value && is_secret(name)) || CREDENTIALS.contains(&name) || has_url_password(word) {
        let evidence = format!("the value of {name}");
        scan.report_line("boot-secret", path, number, &evidence);
    }
    let shell = matches!(name, "init" | "rdinit") && SHELLS.contains(&value);
    if shell || DEBUG.contains(&word) {
        scan.report_line("boot-root-shell", path, number, word);
    }
    if LISTS.protection_off.contains(&word) {
        scan.report_line("boot-protection-off", path, number, word);
    }
    let device = name.eq_ignore_ascii_case("root") || name.eq_ignore_ascii_case("resume");
    if device && is_device_name(value) {
        scan.report_line("device-name", path, number, word);
    }
}

/// Returns whether a parameter of this name holds a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut parts = name.split(['_', '-', '.']);
    parts.any(|part| LISTS.secret_parts.contains(&part))
        || SECRET_ENDS.iter().any(|end| name.ends_with(end))
}

/// Returns whether a device has a name that depends on the machine: the first SCSI disk here may be the second there, or a
/// virtio disk.
fn is_device_name(device: &str) -> bool {
    let Some(name) = device.strip_prefix("/dev/") else {
        return false;
    };
    let lettered = ["sd", "hd", "vd", "xvd"].iter().any(|kind| {
        let rest = name.strip_prefix(kind);
        rest.is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_lowercase()))
    });
    lettered || name.starts_with("nvme") || name.starts_with("mmcblk")
}

fn kernels(scan: &mut HygieneScan<'_>) {
    let kernels = scan.root.children(b"/boot").filter(|(path, file)| {
        let kernel = (path.starts_with(b"/boot/vmlinuz-") || path.starts_with(b"/boot/vmlinux-"))
            && !path.starts_with(b"/boot/vmlinuz-0-rescue");
        kernel && file.kind == FileType::File
    });
    let versions: Vec<_> = kernels
        .map(|(path, _)| String::from_utf8_lossy(&path[b"/boot/vmlinuz-".len()..]).into_owned())
        .collect();
    if versions.len() > 1 {
        scan.report("several-kernels", b"/boot", versions.join(", "));
    }
}

fn mounts(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    const PASSWORDS: [&str; 4] = ["password=", "pass=", "passwd=", "password2="];
    for (path, column) in [("/etc/fstab", 0), ("/etc/crypttab", 1)] {
        for (number, line) in lines(&scan.text(path)?.unwrap_or_default()) {
            let device = line.split_whitespace().nth(column).unwrap_or_default();
            if is_device_name(device) {
                scan.report_line("device-name", path, number, device);
            }
            let mut words = line.split([' ', '\t', ',']);
            let password = |word: &str| PASSWORDS.iter().any(|name| word.starts_with(name));
            if column == 0 && words.any(password) {
                let evidence = "a password among the options";
                scan.report_line("mount-password", path, number, evidence);
            }
        }
    }
    Ok(())
}
