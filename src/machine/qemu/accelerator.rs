//! Choice of the accelerator that runs the guest's instructions: KVM where it works, else software emulation.

use std::fs::{self, OpenOptions};

use super::QemuError;
use crate::plan;

/// Accelerator that QEMU uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accelerator {
    /// The processor of the host.
    Kvm,
    /// Emulation of the processor in software.
    Tcg,
}

/// Accelerator, with the reason if it is not KVM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Choice {
    pub accelerator: Accelerator,
    /// Note for the user, who did not ask for emulation.
    pub note: Option<String>,
}

/// Capabilities of the host.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Result of opening `/dev/kvm`, with the reason of a failure.
    pub kvm: Result<(), String>,
    /// Text of the file `/proc/cpuinfo`.
    pub cpuinfo: String,
    pub arch: plan::Arch,
}

impl Host {
    pub fn detect() -> Self {
        Self {
            kvm: match OpenOptions::new().read(true).write(true).open("/dev/kvm") {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("cannot open /dev/kvm: {error}")),
            },
            cpuinfo: fs::read_to_string("/proc/cpuinfo").unwrap_or_default(),
            arch: plan::Arch::of_host(),
        }
    }
}

/// Chooses the accelerator. Pure.
pub(super) fn choose(
    wanted: plan::Accelerator,
    guest: plan::Arch,
    host: &Host,
) -> Result<Choice, QemuError> {
    let (accelerator, note) = match (wanted, why_not_kvm(guest, host)) {
        (plan::Accelerator::Tcg, _) => (Accelerator::Tcg, None),
        (_, None) => (Accelerator::Kvm, None),
        (plan::Accelerator::Kvm, Some(reason)) => return Err(QemuError::NoKvm { reason }),
        (plan::Accelerator::Auto, Some(reason)) => {
            let note = format!(
                "KVM is not available ({reason}); the guest is emulated, which is several times slower"
            );
            (Accelerator::Tcg, Some(note))
        }
    };
    Ok(Choice { accelerator, note })
}

/// Returns the reason why a guest cannot use KVM on this host. Pure.
pub(super) fn why_not_kvm(guest: plan::Arch, host: &Host) -> Option<String> {
    if guest != host.arch {
        return Some("the guest's architecture differs from this host's".into());
    }
    if let Err(reason) = &host.kvm {
        return Some(reason.clone());
    }
    // On a processor that shows no virtualisation, /dev/kvm opens and answers, and then hangs every real kernel.
    // Arm has no such flag: there the device alone decides.
    let flagged = || {
        host.cpuinfo
            .lines()
            .filter(|line| line.starts_with("flags"))
            .flat_map(str::split_whitespace)
            .any(|flag| flag == "vmx" || flag == "svm")
    };
    (guest == plan::Arch::X86_64 && !flagged())
        .then(|| "the processor has neither vmx nor svm".into())
}

#[cfg(test)]
mod tests {
    use plan::Accelerator::{Auto, Kvm as WantKvm, Tcg as WantTcg};
    use plan::Arch::{Aarch64, X86_64};

    use super::Accelerator::{Kvm, Tcg};
    use super::*;

    #[test]
    fn kvm_is_taken_only_where_device_and_processor_agree() {
        let intel = "processor\t: 0\nflags\t\t: fpu sse2 vmx avx2\n";
        let amd = "flags\t\t: fpu svm\n";
        let bare = "model name\t: svm vmx\nflags\t\t: fpu vmxx sse2\n";
        for (wanted, guest, device, cpuinfo, arch, expected) in [
            (Auto, X86_64, true, intel, X86_64, Some((Kvm, false))),
            (Auto, X86_64, true, amd, X86_64, Some((Kvm, false))),
            (Auto, X86_64, true, bare, X86_64, Some((Tcg, true))),
            (Auto, X86_64, false, intel, X86_64, Some((Tcg, true))),
            (Auto, Aarch64, true, intel, X86_64, Some((Tcg, true))),
            (
                Auto,
                Aarch64,
                true,
                "Features : fp",
                Aarch64,
                Some((Kvm, false)),
            ),
            (WantTcg, X86_64, true, intel, X86_64, Some((Tcg, false))),
            (WantKvm, X86_64, true, intel, X86_64, Some((Kvm, false))),
            (WantKvm, X86_64, true, bare, X86_64, None),
            (WantKvm, X86_64, false, intel, X86_64, None),
            (WantKvm, Aarch64, true, intel, X86_64, None),
        ] {
            let kvm = if device {
                Ok(())
            } else {
                Err("refused".into())
            };
            let host = Host {
                kvm,
                cpuinfo: cpuinfo.into(),
                arch,
            };
            let chosen = choose(wanted, guest, &host).ok();
            assert_eq!(
                chosen.map(|choice| (choice.accelerator, choice.note.is_some())),
                expected,
                "{wanted:?} {guest:?} {device} {cpuinfo:?}"
            );
        }
    }
}
