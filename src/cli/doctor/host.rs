//! KVM, firmware, memory and disk space of the host, and the store.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Check, DoctorArgs, State};
use crate::base::bootstrap;
use crate::fetch::Cache;
use crate::machine::qemu;
use crate::os::resources;
use crate::plan::Arch;
use crate::size::GIB;
use crate::ui::text::human_size;

/// Default memory of a guest.
const GUEST_MEMORY: u64 = GIB;
/// Changes of a guest and the finished image, of a small template.
const BUILD_SPACE: u64 = GIB;

const KVM: &str = "/dev/kvm";

pub(super) fn check(args: &DoctorArgs, cache: &Cache, without_base: State) -> Vec<Check> {
    let mut checks = vec![kvm(), firmware()];
    checks.extend(memory());
    let cache_space = match without_base {
        State::Failed => bootstrap::SPACE,
        _ => BUILD_SPACE,
    };
    checks.push(directory("cache", cache.root(), cache_space));
    checks.push(match args.store.open() {
        Ok(store) => directory("store", store.root(), BUILD_SPACE),
        Err(error) => Check::error(State::Failed, "store", &error),
    });
    checks
}

fn kvm() -> Check {
    let Some(reason) = qemu::why_not_kvm() else {
        return Check::ok("KVM", "available");
    };
    let text = format!("{reason}; guests are emulated, which is several times slower");
    Check::problem(State::Warning, "KVM", text, kvm_help())
}

fn kvm_help() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| cpuinfo.split_whitespace().any(|word| word == flag);
    let module = match (has("vmx"), has("svm")) {
        (true, _) => "kvm_intel",
        (_, true) => "kvm_amd",
        _ if Arch::of_host() == Arch::Aarch64 => "kvm",
        _ => {
            return "enable virtualization in the firmware of this host; in a virtual machine, enable nested virtualization"
                .to_owned();
        }
    };
    let Ok(device) = fs::metadata(KVM) else {
        return format!("run `modprobe {module}`; in a container, run it with `--device {KVM}`");
    };
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let group = group_name(&groups, device.gid()).unwrap_or("kvm");
    format!("run `usermod -aG {group} \"$USER\"` as root, then log in again")
}

/// Finds a group by number in group(5): name, password, number.
fn group_name(groups: &str, number: u32) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number.to_string()).then_some(name)
    })
}

fn firmware() -> Check {
    let arch = Arch::of_host();
    // Guests for x86_64 boot with the BIOS by default, which QEMU has.
    let missing = match arch {
        Arch::X86_64 => State::Warning,
        Arch::Aarch64 => State::Failed,
    };
    match qemu::find_firmware(arch) {
        Ok(path) => Check::ok("UEFI firmware", path.display().to_string()),
        Err(error) => Check::error(missing, "UEFI firmware", &error),
    }
}

fn memory() -> Option<Check> {
    let memory = resources::memory()?;
    let (total, available) = (human_size(memory.total), human_size(memory.available));
    let text = format!("{available} available, {total} with swap");
    let state = if memory.total < GUEST_MEMORY {
        State::Failed
    } else if memory.available < GUEST_MEMORY {
        State::Warning
    } else {
        return Some(Check::ok("memory", text));
    };
    let help = "a guest has 1 GiB by default: add memory or swap, end other programs, or set a smaller `memory` in \
                `[builder.qemu]`";
    Some(Check::problem(state, "memory", text, help))
}

/// Checks that a directory is writable and has space. It need not exist.
fn directory(name: &str, path: &Path, needed: u64) -> Check {
    let shown = path.display();
    if let Err(error) = resources::nearest_existing(path).and_then(tempfile::tempfile_in) {
        let text = format!("cannot write to {shown}: {error}");
        let help = "check its permissions, or choose another directory";
        return Check::problem(State::Failed, name, text, help);
    }
    match resources::free_space(path) {
        Ok(free) if free < needed => {
            let (free, needed) = (human_size(free), human_size(needed));
            let text = format!("{shown} has {free} free; a build needs at least {needed}");
            let help = "free some space: run `karat prune`, or `karat prune --runs` after a crash";
            Check::problem(State::Failed, name, text, help)
        }
        Ok(free) => Check::ok(name, format!("{shown}, {} free", human_size(free))),
        Err(error) => {
            let text = format!("{shown}: cannot read the free space: {error}");
            Check::problem(State::Warning, name, text, "check the file system")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_number() {
        let groups = "root:x:0:\nkvm:x:104:ada\n:x\n";
        for (number, name) in [(0, Some("root")), (104, Some("kvm")), (1, None)] {
            assert_eq!(group_name(groups, number), name);
        }
    }

    #[test]
    fn a_directory_without_space_or_permission_fails() {
        let scratch = tempfile::tempdir().unwrap();
        for (path, needed, state) in [
            (scratch.path().join("new/store"), 1, State::Ok),
            (scratch.path().to_owned(), u64::MAX, State::Failed),
            ("/proc/no".into(), 0, State::Failed),
        ] {
            assert_eq!(directory("store", &path, needed).state, state, "{path:?}");
        }
    }
}
