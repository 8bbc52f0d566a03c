//! QEMU guests on this host: [`launch`] a guest, wait until it is ready, provision it, clean it up, shut it down.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use super::guest::{Backend, Guest};
use super::{Death, MachineError, console};
use crate::disk;
use crate::os::tail::said;
use crate::plan::Arch;
use crate::ssh::{Session, SshError};

mod accelerator;
mod arguments;
mod connections;
mod error;
mod firmware;
mod host_check;
mod launch;
mod leftover;
mod process;
mod qmp;
mod seed;
mod watch;

use accelerator::Accelerator;
pub(crate) use arguments::program;
pub use connections::{Connections, Console, PortForward};
pub use error::QemuError;
pub(crate) use host_check::{check_host, doubts};
pub use launch::launch;
pub use leftover::end_leftover;
use process::Process;

/// Time between the report of a guest's end and the end of its process.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// Time that the guest gets to react to one request to shut down before it is asked in another way.
const REACTION_TIMEOUT: Duration = Duration::from_secs(20);
const POWER_OFF: &str = "systemctl poweroff --no-block 2>/dev/null || poweroff || shutdown -h now";

/// Returns the reason why guests of this host's architecture cannot use KVM.
pub(crate) fn why_not_kvm() -> Option<String> {
    accelerator::why_not_kvm(Arch::of_host(), &accelerator::Host::detect())
}

/// Returns the UEFI firmware for guests of an architecture.
pub(crate) fn find_firmware(arch: Arch) -> Result<PathBuf, QemuError> {
    firmware::find(arch, Path::new("/")).map(|found| found.code)
}

/// Guest of QEMU. Dropping it kills it.
pub type QemuMachine = Guest<Qemu>;

/// QEMU process of a guest, with its run directory.
#[derive(Debug)]
pub struct Qemu {
    process: Process,
    accelerator: Accelerator,
    run: PathBuf,
    /// The disk has a second overlay.
    is_split: bool,
}

impl Backend for Qemu {
    const SEALED_SCRIPT: &'static str = include_str!("sealed.sh");

    fn death(&self) -> Death {
        self.process.death()
    }

    fn console(&self) -> Option<PathBuf> {
        Some(self.run.join(arguments::CONSOLE))
    }

    async fn explain_unreachable(&self, error: SshError) -> MachineError {
        QemuError::NotReady {
            console: console::tail(&self.run.join(arguments::CONSOLE)),
            source: Box::new(error),
        }
        .into()
    }

    async fn split_disk(&mut self, session: &Session) -> Result<(), MachineError> {
        session.output("sync").await?;
        let [below, above] =
            [arguments::DISK, arguments::SPLIT_DISK].map(|name| self.run.join(name));
        disk::overlay_on_running(&below, &above)
            .await
            .map_err(QemuError::from)?;
        self.process.put_overlay(arguments::SPLIT_DISK).await?;
        self.is_split = true;
        Ok(())
    }

    async fn destroy(self, session: Option<Session>) {
        drop(session);
        self.process.end_by_force().await;
    }
}

impl QemuMachine {
    /// Returns the accelerator that runs its instructions: `kvm` or `tcg`.
    #[must_use]
    pub fn accelerator(&self) -> &'static str {
        match self.backend.accelerator {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg => "tcg",
        }
    }

    /// Returns the log of its serial console.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.backend.run.join(arguments::CONSOLE)
    }

    /// Returns the overlays of its disk, the one that it writes to first.
    #[must_use]
    pub fn overlays(&self) -> Vec<PathBuf> {
        let split = self.backend.is_split.then_some(arguments::SPLIT_DISK);
        let names = split.into_iter().chain([arguments::DISK]);
        names.map(|name| self.backend.run.join(name)).collect()
    }

    /// Connects to the serial console of a guest that was launched with [`Console::Socket`].
    ///
    /// # Errors
    /// QEMU has ended, or the guest has no such console.
    pub async fn connect_console(&self) -> io::Result<UnixStream> {
        // Through the directory's descriptor: the path of a socket has at most 107 bytes.
        let run = File::open(&self.backend.run)?;
        let directory = format!("/proc/self/fd/{}", run.as_raw_fd());
        UnixStream::connect(format!("{directory}/{}", arguments::CONSOLE_SOCKET)).await
    }

    /// Waits until the guest ends by itself.
    ///
    /// # Errors
    /// It did not switch its power off: it panicked, or QEMU ended.
    pub async fn wait_for_end(&self) -> Result<(), QemuError> {
        let report = self.backend.death().wait().await;
        match self.backend.process.ended(END_TIMEOUT).await {
            Some(end) if end.powered_off => Ok(()),
            _ => Err(QemuError::Died(report)),
        }
    }

    /// Removes build credentials, cloud-init's state and logs. Only [`Self::shut_down`] may follow.
    ///
    /// # Errors
    /// The script failed, the connection was lost, or the guest died.
    pub async fn clean_up(&self) -> Result<(), MachineError> {
        self.clean_up_between("", "").await
    }

    /// Shuts the guest down and returns the overlays of its disk, the topmost first; the base is below them.
    ///
    /// # Errors
    /// The guest panicked, or did not shut down within `grace`; QEMU has ended in every case.
    pub async fn shut_down(mut self, grace: Duration) -> Result<Vec<PathBuf>, QemuError> {
        self.backend.process.expect_end();
        let deadline = Instant::now() + grace;
        let left = || deadline.saturating_duration_since(Instant::now());
        let (overlays, log) = (self.overlays(), self.console());
        let mut asked = false;
        if let Some(session) = self.session.take() {
            let answer = timeout(REACTION_TIMEOUT.min(grace), session.output(POWER_OFF)).await;
            // Fails if `clean_up` has removed the login's way to root, or if sshd ended before it could answer.
            asked = matches!(answer, Ok(Ok(_)));
        }
        let mut process = self.backend.process;
        let mut end = None;
        if asked {
            end = process.ended(REACTION_TIMEOUT.min(left())).await;
        }
        if end.is_none() {
            // SSH did not work, or had no effect. The answer of the monitor does not matter; the end of the guest does.
            let _answer = process.power_down().await;
            end = process.ended(left()).await;
        }
        match end {
            Some(end) if end.powered_off => Ok(overlays),
            Some(end) => Err(QemuError::Died(format!(
                "QEMU {} while the guest was shutting down{}; its console ends with:\n{}",
                process::describe(end.status),
                said(&end.stderr),
                console::tail(&log)
            ))),
            None => {
                process.end_by_force().await;
                let console = console::tail(&log);
                Err(QemuError::Forced { grace, console })
            }
        }
    }
}
