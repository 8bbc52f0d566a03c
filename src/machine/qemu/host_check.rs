//! Checks of a guest's settings against this host, before anything is downloaded, hashed or launched.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use miette::Diagnostic as _;

use super::arguments::program;
use super::{QemuError, accelerator, firmware};
use crate::os::requirement::{MissingPrograms, require_programs};
use crate::os::{resources, search_path};
use crate::plan::{self, Arch, Firmware};
use crate::size::show_size;
use crate::template::problem::nearest;
use crate::ui::report::Report;

/// Smallest memory with which the kernel of a distribution may boot, in bytes.
const MIN_MEMORY: u64 = 128 << 20;
/// More virtual processors than this on each of the host's are hardly meant.
const MAX_CPUS_PER_PROCESSOR: usize = 8;

/// Checks that this host can run such a guest: programs, memory, accelerator, firmware and machine type.
///
/// # Errors
/// Names what the host lacks.
pub(crate) fn check_host(plan: &plan::Qemu) -> Result<(), QemuError> {
    find_qemu(plan.arch)?;
    require_memory(plan)?;
    accelerator::choose(plan.accelerator, plan.arch, &accelerator::Host::detect())?;
    if plan.firmware == Firmware::Uefi {
        firmware::find(plan.arch, Path::new("/"))?;
    }
    require_machine(plan)
}

/// Returns the settings that are probably mistakes of the template. What this host lacks is one only if it can build for its own
/// architecture: another host may have it.
pub(crate) fn doubts(plan: &plan::Qemu) -> Vec<Report> {
    let mut errors = vec![require_memory(plan), require_machine(plan)];
    if search_path::find(program(Arch::of_host())).is_some() {
        let host = accelerator::Host::detect();
        let programs = require_programs(&[program(plan.arch)], search_path::find);
        errors.push(programs.map_err(QemuError::from));
        errors.push(accelerator::choose(plan.accelerator, plan.arch, &host).map(drop));
    }
    let errors = errors.into_iter().filter_map(Result::err);
    let errors = errors.map(|error| {
        let help = error.help().map(|help| help.to_string());
        Report::new(error.to_string(), help.unwrap_or_default())
    });
    errors.chain(size_doubts(plan)).collect()
}

/// Returns warnings of a guest that is too small or too large to boot.
fn size_doubts(plan: &plan::Qemu) -> Vec<Report> {
    let mut doubts = Vec::new();
    if plan.memory < MIN_MEMORY {
        doubts.push(Report::new(
            format!(
                "a guest with {} of memory probably does not boot",
                show_size(plan.memory)
            ),
            "write `memory = \"512MiB\"` or more, or omit it for the default",
        ));
    }
    let host = thread::available_parallelism().map_or(1, usize::from);
    if usize::try_from(plan.cpus).is_ok_and(|cpus| cpus / host > MAX_CPUS_PER_PROCESSOR) {
        doubts.push(Report::new(
            format!(
                "a guest with {} processors is slow on this host, which has {host}",
                plan.cpus
            ),
            format!("write `cpus = {host}`"),
        ));
    }
    doubts
}

/// Finds QEMU, and checks that the other programs of a launch are installed.
pub(super) fn find_qemu(arch: Arch) -> Result<PathBuf, QemuError> {
    let program = program(arch);
    require_programs(&[program, "setpriv", "qemu-img"], search_path::find)?;
    let missing = || MissingPrograms(vec![program]);
    Ok(search_path::find(program).ok_or_else(missing)?)
}

/// Refuses a guest with more memory than this host has.
pub(super) fn require_memory(plan: &plan::Qemu) -> Result<(), QemuError> {
    match resources::memory() {
        Some(host) if host.total < plan.memory => Err(QemuError::NoMemory {
            wanted: plan.memory,
            // Whole mebibytes, so that the message is short.
            host: host.total >> 20 << 20,
        }),
        _ => Ok(()),
    }
}

/// Refuses a machine type that QEMU does not list. Without an answer of QEMU, its launch decides.
fn require_machine(plan: &plan::Qemu) -> Result<(), QemuError> {
    let name = plan.machine.split(',').next().unwrap_or_default();
    // The default need not be asked for.
    if name == plan::default_machine(plan.arch) {
        return Ok(());
    }
    let program = program(plan.arch);
    let Some(path) = search_path::find(program) else {
        return Ok(());
    };
    let Ok(output) = Command::new(path).args(["-machine", "help"]).output() else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let machines = machines(&text);
    if !output.status.success() || machines.is_empty() || machines.contains(&name) {
        return Ok(());
    }
    Err(QemuError::NoMachine {
        name: name.to_owned(),
        program,
        nearest: nearest(name, machines).map(str::to_owned),
    })
}

/// Parses the output of `-machine help`: a heading, then a name and a description a line.
fn machines(text: &str) -> Vec<&str> {
    let lines = text.lines().skip(1);
    lines
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_types_are_read() {
        let text = "Supported machines are:\nmicrovm              microvm (i386)\n\
                    pc                   Standard PC (alias of pc-i440fx-7.2)\nq35                  Standard PC (Q35)\n";
        assert_eq!(machines(text), ["microvm", "pc", "q35"]);
        assert!(machines("").is_empty());
    }
}
