//! Why a QEMU guest could not be had: what, why, and how to mend it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;

use crate::disk::DiskError;
use crate::machine::guest::{GuestError, said};
use crate::ssh::SshError;

/// Why QEMU could not run the guest.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum QemuError {
    /// A program is not installed.
    #[error("{program} is not installed")]
    #[diagnostic(help("install it: `apt install {package}`"))]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// KVM was asked for and is not there.
    #[error("KVM cannot be used: {reason}")]
    #[diagnostic(help(
        "set `accelerator = \"auto\"` to fall back to emulation, or build on a host with KVM"
    ))]
    NoKvm {
        /// Why.
        reason: String,
    },
    /// There is no UEFI firmware.
    #[error("no UEFI firmware for the guest was found")]
    #[diagnostic(help("install it: `apt install {package}`, or set `firmware = \"bios\"`"))]
    NoFirmware {
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The guest's disk could not be made.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    /// The keys.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Guest(#[from] GuestError),
    /// A file of the run directory could not be read or written.
    #[error("cannot prepare {}", path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The process could not be started.
    #[error("cannot start {program}")]
    Spawn {
        /// What was to be started.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// QEMU ended before the guest ran.
    #[error("{program} {status}{}", said(.stderr))]
    #[diagnostic(help("check `machine` and `extra_args` of `[builder.qemu]`"))]
    EndedEarly {
        /// Which QEMU.
        program: String,
        /// How it ended.
        status: String,
        /// The end of its stderr.
        stderr: String,
    },
    /// No host port is free.
    #[error("all host ports from {first} to {last} are taken")]
    #[diagnostic(help("widen `ssh.ports`, or leave it out to take any free port"))]
    NoPort {
        /// First port that was tried.
        first: u16,
        /// Last port that was tried.
        last: u16,
    },
    /// QEMU does not obey.
    #[error("QEMU's monitor: {0}")]
    Monitor(String),
    /// SSH did not come up.
    #[error("the guest did not become reachable; its console ends with:\n{console}")]
    #[diagnostic(help("read the whole console at {}, or raise `ssh.timeout`", log.display()))]
    NotReady {
        /// The end of the console.
        console: String,
        /// The console's log file.
        log: PathBuf,
        /// The last failure.
        source: Box<SshError>,
    },
    /// The guest died by itself.
    #[error("the machine died: {0}")]
    Died(String),
    /// The guest did not shut down.
    #[error("the guest did not shut down within {}s and was ended by force, so its disk is not usable", grace.as_secs())]
    #[diagnostic(help("a service that does not stop holds it up; the console is in {}", log.display()))]
    Forced {
        /// How long was waited.
        grace: Duration,
        /// The console's log file.
        log: PathBuf,
    },
}
