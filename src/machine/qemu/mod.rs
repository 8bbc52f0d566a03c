//! QEMU guests on this host: [`launch`], wait until the guest is ready, provision it, clean it up, shut it down.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::{Death, Machine, MachineError, guest};
use crate::network::EgressProxy;
use crate::ssh::{self, Session, Target, quote};
use crate::time::Timestamp;
use crate::ui::Ui;

mod accelerator;
mod arguments;
mod console;
mod error;
mod firmware;
mod launch;
mod leftover;
mod process;
mod qmp;
mod seed;
mod watch;

pub use error::QemuError;
pub use launch::launch;
pub use leftover::end_leftover;
use process::Process;

/// Makes whatever would leave a sealed guest fail at once.
const SEALED: &str = include_str!("sealed.sh");
/// How long the guest may take to act on one way of asking before it is asked in another.
const ASK_AGAIN: Duration = Duration::from_secs(20);

/// A guest that runs. Dropping it kills it.
#[derive(Debug)]
pub struct QemuMachine {
    process: Process,
    session: Option<Session>,
    seal: Option<EgressProxy>,
    /// What its clock is set to after every boot.
    clock: Option<Timestamp>,
    target: Target,
    /// The public key that the seed lets in.
    authorized: Option<String>,
    accelerator: accelerator::Accelerator,
    run: PathBuf,
}

impl QemuMachine {
    fn new(
        process: Process,
        target: Target,
        authorized: Option<String>,
        accelerator: accelerator::Accelerator,
        run: PathBuf,
    ) -> Self {
        Self {
            process,
            session: None,
            seal: None,
            clock: None,
            target,
            authorized,
            accelerator,
            run,
        }
    }

    /// What runs its instructions: `kvm` or `tcg`.
    #[must_use]
    pub fn accelerator(&self) -> &'static str {
        match self.accelerator {
            accelerator::Accelerator::Kvm => "kvm",
            accelerator::Accelerator::Tcg => "tcg",
        }
    }

    /// How to reach it: for `--on-error keep`.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The log of its serial console.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.run.join(arguments::CONSOLE)
    }

    /// The overlay that the guest writes to.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.run.join(arguments::DISK)
    }

    /// Waits until the guest answers SSH and cloud-init has done its work.
    ///
    /// # Errors
    /// The guest died, did not answer in time, or cloud-init failed.
    pub async fn wait_ready(&mut self, within: Duration, ui: &Ui) -> Result<(), MachineError> {
        let deadline = Instant::now() + within;
        self.reconnect(within).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        let mut death = self.death();
        tokio::select! {
            biased;
            report = death.wait() => Err(MachineError::Died(report)),
            done = guest::cloud_init(self.session(), left, ui) => done,
        }
    }

    /// Waits until the guest has started its services, [`Self::wait_ready`] done.
    ///
    /// # Errors
    /// The line dropped, or the guest died. Services that fail or never start are warnings.
    pub async fn wait_booted(&mut self, within: Duration, ui: &Ui) -> Result<(), MachineError> {
        let mut death = self.death();
        tokio::select! {
            biased;
            report = death.wait() => Err(MachineError::Died(report)),
            settled = guest::settled(self.session(), within, ui) => settled,
        }
    }

    /// Keeps it from the network from now on, also after reboots. Comes after [`Self::wait_ready`].
    ///
    /// # Errors
    /// The line dropped, or the guest's sshd forwards no port and there is something to serve.
    pub async fn seal_with(&mut self, mut seal: EgressProxy) -> Result<(), MachineError> {
        guest::attach(&mut seal, self.session(), SEALED).await?;
        self.seal = Some(seal);
        Ok(())
    }

    /// Sets the guest's clock to this time, now and after every reboot, so that what programs write does not depend on the
    /// day of the build.
    ///
    /// # Errors
    /// The line dropped, or the guest's `date` does not set the clock.
    pub async fn set_clock(&mut self, to: Timestamp) -> Result<(), MachineError> {
        self.clock = Some(to);
        Ok(set_clock(self.session(), to).await?)
    }

    /// Removes the way in: keys, cloud-init's state, logs. Only [`Self::shut_down`] may follow.
    ///
    /// # Errors
    /// The script failed, the line dropped, or the guest died.
    pub async fn clean_up(&self) -> Result<(), MachineError> {
        let authorized = self.authorized.as_deref();
        guest::clean_up(self.session(), self.death(), authorized, "", "").await
    }

    /// Shuts the guest down and returns its disk, an overlay on the base, ready to be read.
    ///
    /// # Errors
    /// The guest panicked, or did not shut down within `grace`; QEMU has ended in every case.
    pub async fn shut_down(mut self, grace: Duration) -> Result<PathBuf, QemuError> {
        self.process.expect_end();
        let deadline = Instant::now() + grace;
        let (disk, log) = (self.disk(), self.console());
        let mut asked = false;
        if let Some(session) = self.session.take() {
            let command =
                "systemctl poweroff --no-block 2>/dev/null || poweroff || shutdown -h now";
            let answer = tokio::time::timeout(ASK_AGAIN.min(grace), session.output(command)).await;
            // It fails for a login whose way to root `clean_up` has closed, and when sshd went before it could answer.
            asked = matches!(answer, Ok(Ok(_)));
        }
        let mut end = None;
        if asked {
            end = self
                .process
                .ended(ASK_AGAIN.min(deadline.saturating_duration_since(Instant::now())))
                .await;
        }
        if end.is_none() {
            // Not asked by SSH, or not heard. What it answers does not matter; the end does.
            let _answer = self.process.power_down().await;
            end = self
                .process
                .ended(deadline.saturating_duration_since(Instant::now()))
                .await;
        }
        match end {
            Some(end) if end.powered_off => Ok(disk),
            Some(end) => Err(QemuError::Died(format!(
                "QEMU {} while the guest was shutting down{}; its console ends with:\n{}",
                process::describe(end.status),
                guest::said(&end.stderr),
                console::tail(&log)
            ))),
            None => {
                self.process.end_by_force().await;
                Err(QemuError::Forced { grace, log })
            }
        }
    }

    fn not_reached(&self, source: ssh::SshError) -> MachineError {
        let log = self.console();
        QemuError::NotReady {
            console: console::tail(&log),
            log,
            source: Box::new(source),
        }
        .into()
    }
}

async fn set_clock(session: &Session, to: Timestamp) -> Result<(), ssh::SshError> {
    let command = format!("date -u -s @{} >/dev/null", to.seconds());
    session.output(&command).await.map(drop)
}

impl Machine for QemuMachine {
    fn session(&self) -> &Session {
        self.session
            .as_ref()
            .expect("`wait_ready` comes before the first use")
    }

    async fn reconnect(&mut self, within: Duration) -> Result<(), MachineError> {
        self.session = None;
        let mut death = self.death();
        let connected = tokio::select! {
            biased;
            report = death.wait() => return Err(MachineError::Died(report)),
            connected = ssh::connect(&self.target, within) => connected,
        };
        let session = connected.map_err(|error| self.not_reached(error))?;
        let session = self.session.insert(session);
        if let Some(clock) = self.clock {
            set_clock(session, clock).await?;
        }
        match &mut self.seal {
            Some(seal) => Ok(guest::attach_again(seal, session, SEALED).await?),
            None => Ok(()),
        }
    }

    fn egress(&self) -> Option<&EgressProxy> {
        self.seal.as_ref()
    }

    fn death(&self) -> Death {
        self.process.death()
    }

    fn login(&self) -> String {
        let Target {
            port, user, auth, ..
        } = &self.target;
        let key = match auth {
            ssh::Auth::KeyFile(path) => format!("-i {} ", quote(&path.to_string_lossy())),
            ssh::Auth::Agent => String::new(),
        };
        // The host key is this build's own and in no known_hosts file.
        format!(
            "ssh {key}-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p {port} {user}@127.0.0.1"
        )
    }

    async fn destroy(self) {
        drop(self.session);
        self.process.end_by_force().await;
    }
}
