//! UEFI firmware, as distributions install it.

use std::path::{Path, PathBuf};

use super::QemuError;
use crate::plan::Arch;

/// Read-only code and the template of its variables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Uefi {
    pub code: PathBuf,
    pub vars: PathBuf,
}

/// Pairs of code and variables, as Debian/Ubuntu, Fedora/RHEL, Arch and openSUSE install them.
const X86_64: [(&str, &str); 6] = [
    (
        "usr/share/OVMF/OVMF_CODE_4M.fd",
        "usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    (
        "usr/share/edk2/ovmf/OVMF_CODE.fd",
        "usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    ("usr/share/OVMF/OVMF_CODE.fd", "usr/share/OVMF/OVMF_VARS.fd"),
    (
        "usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
    (
        "usr/share/edk2-ovmf/x64/OVMF_CODE.fd",
        "usr/share/edk2-ovmf/x64/OVMF_VARS.fd",
    ),
    (
        "usr/share/qemu/ovmf-x86_64-code.bin",
        "usr/share/qemu/ovmf-x86_64-vars.bin",
    ),
];
const AARCH64: [(&str, &str); 4] = [
    (
        "usr/share/AAVMF/AAVMF_CODE.fd",
        "usr/share/AAVMF/AAVMF_VARS.fd",
    ),
    (
        "usr/share/edk2/aarch64/QEMU_EFI-pflash.raw",
        "usr/share/edk2/aarch64/vars-template-pflash.raw",
    ),
    (
        "usr/share/edk2/aarch64/QEMU_CODE.fd",
        "usr/share/edk2/aarch64/QEMU_VARS.fd",
    ),
    (
        "usr/share/qemu/aavmf-aarch64-code.bin",
        "usr/share/qemu/aavmf-aarch64-vars.bin",
    ),
];

/// Finds the firmware under `root`, which is `/` outside of tests.
pub(super) fn find(arch: Arch, root: &Path) -> Result<Uefi, QemuError> {
    let (pairs, package) = match arch {
        Arch::X86_64 => (&X86_64[..], "ovmf"),
        Arch::Aarch64 => (&AARCH64[..], "qemu-efi-aarch64"),
    };
    pairs
        .iter()
        .map(|(code, vars)| Uefi {
            code: root.join(code),
            vars: root.join(vars),
        })
        .find(|found| found.code.is_file() && found.vars.is_file())
        .ok_or(QemuError::NoFirmware { package })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_complete_pair_is_taken() {
        for (files, arch, expected) in [
            (&[][..], Arch::X86_64, None),
            (&["usr/share/OVMF/OVMF_CODE_4M.fd"][..], Arch::X86_64, None),
            (
                &[
                    "usr/share/OVMF/OVMF_CODE_4M.fd",
                    "usr/share/OVMF/OVMF_CODE.fd",
                    "usr/share/OVMF/OVMF_VARS.fd",
                ][..],
                Arch::X86_64,
                Some("usr/share/OVMF/OVMF_CODE.fd"),
            ),
            (
                &[
                    "usr/share/AAVMF/AAVMF_CODE.fd",
                    "usr/share/AAVMF/AAVMF_VARS.fd",
                ][..],
                Arch::Aarch64,
                Some("usr/share/AAVMF/AAVMF_CODE.fd"),
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            for file in files {
                let path = root.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            let found = find(arch, root.path()).ok().map(|found| found.code);
            assert_eq!(
                found,
                expected.map(|code| root.path().join(code)),
                "{files:?}"
            );
        }
    }
}
