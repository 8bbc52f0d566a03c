//! UEFI firmware, as distributions install it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::QemuError;
use crate::plan::Arch;

/// Read-only code and the template of its variables.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Uefi {
    pub code: PathBuf,
    pub vars: PathBuf,
}

/// Content of `firmware.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    x86_64: Vec<Uefi>,
    aarch64: Vec<Uefi>,
}

/// Finds the firmware under `root`, which is `/` outside of tests.
pub(super) fn find(arch: Arch, root: &Path) -> Result<Uefi, QemuError> {
    let table: Table = toml::from_str(include_str!("firmware.toml")).expect("the tests read it");
    let pairs = match arch {
        Arch::X86_64 => table.x86_64,
        Arch::Aarch64 => table.aarch64,
    };
    pairs
        .into_iter()
        .map(|pair| Uefi {
            code: root.join(pair.code),
            vars: root.join(pair.vars),
        })
        .find(|found| found.code.is_file() && found.vars.is_file())
        .ok_or(QemuError::NoFirmware { arch })
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
