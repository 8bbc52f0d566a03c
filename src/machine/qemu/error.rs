//! Errors of QEMU guests.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use crate::disk::DiskError;
use crate::machine::MachineError;
use crate::machine::guest::{GuestError, said};
use crate::ssh::SshError;

/// Failure to run a guest with QEMU.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum QemuError {
    /// A program is not installed.
    #[error("{program} is not installed")]
    #[diagnostic(help("install it: `apt install {package}`"))]
    NoProgram {
        /// Name of the program.
        program: &'static str,
        /// Debian package that has it.
        package: &'static str,
    },
    /// The plan requires KVM, which does not work here.
    #[error("KVM cannot be used: {reason}")]
    #[diagnostic(help(
        "set `accelerator = \"auto\"` to fall back to emulation, or build on a host with KVM"
    ))]
    NoKvm {
        /// Explanation in a few words.
        reason: String,
    },
    /// The plan requires UEFI firmware, which is not installed.
    #[error("UEFI firmware for the guest was not found")]
    #[diagnostic(help("install it: `apt install {package}`, or set `firmware = \"bios\"`"))]
    NoFirmware {
        /// Debian package that has it.
        package: &'static str,
    },
    /// The guest's disk could not be created.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    /// The guest's keys could not be prepared.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Guest(#[from] GuestError),
    /// A file of the run directory could not be read or written.
    #[error("cannot prepare {}", path.display())]
    Prepare {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The process could not be started.
    #[error("cannot start {program}")]
    Spawn {
        /// Path of the program.
        program: String,
        /// Error of the operating system.
        source: io::Error,
    },
    /// QEMU ended before the guest ran.
    #[error("{program} {status}{}", said(.stderr))]
    #[diagnostic(help("check `machine` and `extra_args` of `[builder.qemu]`"))]
    EndedEarly {
        /// Path of the program.
        program: String,
        /// Exit status in words.
        status: String,
        /// End of its stderr.
        stderr: String,
    },
    /// Other processes use all ports of the plan.
    #[error("all host ports from {first} to {last} are in use")]
    #[diagnostic(help("widen `ssh.ports`, or leave it out to use any free port"))]
    NoPort {
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// QEMU's monitor does not answer, or refuses a command.
    #[error("QEMU's monitor: {0}")]
    Monitor(String),
    /// SSH did not come up.
    #[error("the guest did not become reachable; its console ends with:\n{console}")]
    #[diagnostic(help("read the whole console at {}, or raise `ssh.timeout`", log.display()))]
    NotReady {
        /// End of the console.
        console: String,
        /// Log file of the console.
        log: PathBuf,
        /// Failure of the last attempt.
        source: Box<SshError>,
    },
    /// The guest ended without being told to.
    #[error("the machine died: {0}")]
    Died(String),
    /// The guest did not shut down.
    #[error("the guest did not shut down within {}s and was killed, so its disk is not usable", grace.as_secs())]
    #[diagnostic(help("a service that does not stop delays the shutdown; the console is in {}", log.display()))]
    Forced {
        /// Time that it was given.
        grace: Duration,
        /// Log file of the console.
        log: PathBuf,
    },
}

impl From<QemuError> for MachineError {
    fn from(error: QemuError) -> Self {
        Self::backend(error)
    }
}
