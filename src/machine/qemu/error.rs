//! Errors of QEMU guests.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use crate::disk::DiskError;
use crate::machine::MachineError;
use crate::machine::guest::GuestError;
use crate::os::requirement::{MissingPrograms, install_advice};
use crate::os::tail::said;
use crate::plan::Arch;
use crate::size::show_size;
use crate::ssh::SshError;

/// Failure to run a guest with QEMU.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages document the variants")]
#[non_exhaustive]
pub enum QemuError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    MissingPrograms(#[from] MissingPrograms),
    #[error("KVM cannot be used: {reason}")]
    #[diagnostic(help(
        "set `accelerator = \"auto\"` to fall back to emulation, or build on a host with KVM"
    ))]
    NoKvm { reason: String },
    #[error("the guest's memory of {} is more than this host has ({})", show_size(*wanted), show_size(*host))]
    #[diagnostic(help("set a smaller `memory` in `[builder.qemu]`"))]
    NoMemory { wanted: u64, host: u64 },
    #[error("{program} has no machine type `{name}`")]
    #[diagnostic(help("{}`{program} -machine help` lists them; omit `machine` for the default", nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`? ")).unwrap_or_default()))]
    NoMachine {
        name: String,
        program: &'static str,
        /// Machine type with a similar name.
        nearest: Option<String>,
    },
    #[error("UEFI firmware for the guest was not found")]
    #[diagnostic(help("{}{}", install_advice(&[&format!("{} UEFI firmware", arch.name())]), match arch {
        Arch::X86_64 => "; or set `firmware = \"bios\"`",
        Arch::Aarch64 => "",
    }))]
    NoFirmware { arch: Arch },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Guest(#[from] GuestError),
    #[error("cannot prepare {}", path.display())]
    Prepare { path: PathBuf, source: io::Error },
    #[error("cannot start {program}")]
    Spawn { program: String, source: io::Error },
    #[error("{program} {status}{}", said(.stderr))]
    #[diagnostic(help("check `machine` and `extra_args` of `[builder.qemu]`"))]
    EndedEarly {
        program: String,
        status: String,
        /// End of its stderr.
        stderr: String,
    },
    #[error("all host ports from {first} to {last} are in use")]
    #[diagnostic(help(
        "widen `min_port` to `max_port` in `[ssh]`, or remove them to use any free port"
    ))]
    NoPort { first: u16, last: u16 },
    /// QEMU's monitor does not answer, or refuses a command.
    #[error("QEMU's monitor: {0}")]
    Monitor(String),
    #[error("the guest did not become reachable; its console ends with:\n{console}")]
    #[diagnostic(help("raise `timeout` in `[ssh]`; the log of the build has the whole console"))]
    NotReady {
        /// End of the console.
        console: String,
        source: Box<SshError>,
    },
    /// The guest ended without being told to.
    #[error("the machine died: {0}")]
    Died(String),
    #[error("the guest did not shut down within {}s and was killed, so its disk is not usable; its console ends with:\n{console}", grace.as_secs())]
    #[diagnostic(help("a service that does not stop delays the shutdown"))]
    Forced {
        /// Time that it was given.
        grace: Duration,
        /// End of the console.
        console: String,
    },
}

impl From<QemuError> for MachineError {
    fn from(error: QemuError) -> Self {
        Self::backend(error)
    }
}
