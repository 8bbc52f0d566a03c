//! What starts, from which disk, and with which command line.

use super::text::{has_url_password, lines};
use super::{Look, ScanError};

const FILES: [&str; 19] = [
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/grub/grubenv",
    "/boot/grub2/grubenv",
    "/etc/default/grub",
    "/etc/kernel/cmdline",
    "/boot/extlinux/extlinux.conf",
    "/boot/cmdline.txt",
    "/boot/firmware/cmdline.txt",
    "/etc/grub.d/40_custom",
    "/etc/grub.d/41_custom",
    "/boot/grub/custom.cfg",
    "/boot/grub2/custom.cfg",
    "/boot/grub2/user.cfg",
    "/boot/syslinux/syslinux.cfg",
    "/boot/syslinux/extlinux.conf",
    "/boot/efi/EFI/debian/grub.cfg",
    "/usr/lib/kernel/cmdline",
    "/etc/initramfs-tools/conf.d/resume",
];
const DIRECTORIES: [&str; 6] = [
    "/boot/loader/entries",
    "/boot/efi/loader/entries",
    "/efi/loader/entries",
    "/etc/kernel/cmdline.d",
    "/etc/default/grub.d",
    "/etc/cmdline.d",
];

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    let mut files = Vec::new();
    for path in FILES {
        files.extend(look.text(path)?.map(|text| (path.to_owned(), text)));
    }
    for directory in DIRECTORIES {
        files.extend(look.texts(directory)?);
    }
    for (path, text) in &files {
        for (number, line) in lines(text) {
            for word in line.split([' ', '\t', '"', '\'']) {
                parameter(look, path, number, word);
            }
        }
    }
    kernels(look);
    fstab(look)
}

fn parameter(look: &mut Look<'_>, path: &str, number: usize, word: &str) {
    let path = path.as_bytes();
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let parts = |name: &str| -> Vec<String> {
        let name = name.to_ascii_lowercase();
        name.split(['_', '-', '.']).map(str::to_owned).collect()
    };
    let secret = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "psk",
        "pwd",
    ];
    let keys = ["api_key", "private_key", "access_key", "wpa", "api-key"];
    let lower = name.to_ascii_lowercase();
    let named = parts(name)
        .iter()
        .any(|part| secret.contains(&part.as_str()))
        || keys.iter().any(|key| lower.ends_with(key));
    let credential = matches!(
        name,
        "systemd.set_credential" | "systemd.set_credential_binary"
    );
    if (named && value.len() > 3 && !value.starts_with('$')) || credential || has_url_password(word)
    {
        look.report(
            "boot-secret",
            path,
            format!("line {number}: the value of {name}"),
        );
    }
    let shell = matches!(
        value,
        "/bin/sh" | "/bin/bash" | "/usr/bin/bash" | "/usr/bin/sh"
    );
    let debug =
        word == "rd.break" || word == "systemd.debug-shell" || word == "systemd.debug-shell=1";
    if debug || (shell && matches!(name, "init" | "rdinit")) {
        look.report("boot-root-shell", path, format!("line {number}: {word}"));
    }
    let off = [
        "mitigations=off",
        "apparmor=0",
        "selinux=0",
        "enforcing=0",
        "nosmep",
        "nosmap",
        "nopti",
        "pti=off",
        "spectre_v2=off",
        "module.sig_enforce=0",
        "audit=0",
        "lockdown=none",
        "nokaslr",
    ];
    if off.contains(&word) {
        look.report(
            "boot-protection-off",
            path,
            format!("line {number}: {word}"),
        );
    }
    let device = name.eq_ignore_ascii_case("root") || name.eq_ignore_ascii_case("resume");
    if device && is_device_name(value) {
        look.report("device-name", path, format!("line {number}: {word}"));
    }
}

/// A name that depends on the machine: the first SCSI disk here is the second there, and a virtio disk elsewhere.
fn is_device_name(device: &str) -> bool {
    let Some(name) = device.strip_prefix("/dev/") else {
        return false;
    };
    ["sd", "hd", "vd", "xvd"].iter().any(|kind| {
        let rest = name.strip_prefix(kind);
        rest.is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_lowercase()))
    }) || name.starts_with("nvme")
        || name.starts_with("mmcblk")
}

fn kernels(look: &mut Look<'_>) {
    let kernels = look.root.children(b"/boot").filter(|(path, file)| {
        let kernel = (path.starts_with(b"/boot/vmlinuz-") || path.starts_with(b"/boot/vmlinux-"))
            && !path.starts_with(b"/boot/vmlinuz-0-rescue");
        kernel && file.kind == crate::disk::read::Kind::File
    });
    let names: Vec<_> = kernels
        .map(|(path, _)| String::from_utf8_lossy(&path[b"/boot/vmlinuz-".len()..]).into_owned())
        .collect();
    if names.len() > 1 {
        look.report("several-kernels", b"/boot", names.join(", "));
    }
}

fn fstab(look: &mut Look<'_>) -> Result<(), ScanError> {
    const FSTAB: &str = "/etc/fstab";
    const CRYPTTAB: &str = "/etc/crypttab";
    for (number, line) in lines(&look.text(CRYPTTAB)?.unwrap_or_default()) {
        let device = line.split_whitespace().nth(1).unwrap_or_default();
        if is_device_name(device) {
            let evidence = format!("line {number}: {device}");
            look.report("device-name", CRYPTTAB.as_bytes(), evidence);
        }
    }
    for (number, line) in lines(&look.text(FSTAB)?.unwrap_or_default()) {
        let mut words = line.split_whitespace();
        let device = words.next().unwrap_or_default();
        if is_device_name(device) {
            look.report(
                "device-name",
                FSTAB.as_bytes(),
                format!("line {number}: {device}"),
            );
        }
        if line.split([' ', '\t', ',']).any(|word| {
            let names = ["password=", "pass=", "passwd=", "password2="];
            names.iter().any(|name| word.starts_with(name))
        }) {
            look.report(
                "mount-password",
                FSTAB.as_bytes(),
                format!("line {number}: a password among the options"),
            );
        }
    }
    Ok(())
}
