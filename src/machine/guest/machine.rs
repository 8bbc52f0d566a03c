//! Guest of any backend as a [`Machine`]: waiting, reconnecting, sealing, cleaning up.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::{boot, clean_up, cloud_init, sealed};
use crate::machine::{Death, Machine, MachineError, console};
use crate::network::EgressProxy;
use crate::ssh::{self, Session, SshError, Target};
use crate::time::Timestamp;
use crate::ui::Ui;

/// Handle of a running guest, with what differs between the places that guests run in.
#[expect(async_fn_in_trait, reason = "used inside this crate, on one thread")]
pub trait Backend {
    /// Script that makes attempts to leave a sealed guest fail at once, instead of running into a timeout.
    const SEALED_SCRIPT: &'static str;

    /// Returns a watch for the death of the guest.
    fn death(&self) -> Death;

    /// Waits until the guest has an address, and returns it; `None` if the address was known when it was launched.
    async fn address(&self, _within: Duration) -> Result<Option<String>, MachineError> {
        Ok(None)
    }

    /// Returns the file that the guest's console is written to, if there is one.
    fn console(&self) -> Option<PathBuf> {
        None
    }

    /// Adds what the backend knows, such as the end of the console, to the failure to reach the guest.
    async fn explain_unreachable(&self, error: SshError) -> MachineError;

    /// See [`Machine::split_disk`].
    async fn split_disk(&mut self, _session: &Session) -> Result<(), MachineError> {
        Ok(())
    }

    /// Closes the connection and ends the guest.
    async fn destroy(self, session: Option<Session>);
}

/// Running guest, with its connection.
#[derive(Debug)]
pub struct Guest<B> {
    pub(crate) backend: B,
    pub(crate) target: Target,
    pub(crate) session: Option<Session>,
    egress: Option<EgressProxy>,
    /// Time that its clock is set to after every boot.
    clock: Option<Timestamp>,
    /// Public key that cloud-init authorizes.
    authorized: Option<String>,
}

impl<B: Backend> Guest<B> {
    pub(crate) fn new(backend: B, target: Target, authorized: Option<String>) -> Self {
        Self {
            backend,
            target,
            session: None,
            egress: None,
            clock: None,
            authorized,
        }
    }

    /// Waits until the guest answers SSH and cloud-init has finished.
    ///
    /// # Errors
    /// The guest died, did not answer in time, or cloud-init failed.
    pub async fn wait_ready(&mut self, within: Duration, ui: &Ui) -> Result<(), MachineError> {
        let console = self.backend.console();
        let ready = Box::pin(self.wait_reachable(within, ui));
        console::shown(console.as_deref(), ui, ready).await
    }

    async fn wait_reachable(&mut self, within: Duration, ui: &Ui) -> Result<(), MachineError> {
        let deadline = Instant::now() + within;
        let left = || deadline.saturating_duration_since(Instant::now());
        if let Some(address) = self.backend.address(within).await? {
            self.target.address = address;
        }
        self.reconnect(left()).await?;
        let finished = cloud_init::wait(self.session(), left(), ui);
        self.death().or(finished).await
    }

    /// Waits until the guest has started its services. Comes after [`Self::wait_ready`].
    ///
    /// # Errors
    /// The connection was lost, or the guest died. Services that fail or never start are warnings.
    pub async fn wait_booted(&mut self, within: Duration, ui: &Ui) -> Result<(), MachineError> {
        let settled = boot::settled(self.session(), within, ui);
        self.death().or(settled).await
    }

    /// Cuts the guest off the network from now on, also after reboots. Comes after [`Self::wait_ready`].
    ///
    /// # Errors
    /// The connection was lost, or the guest's sshd refuses to forward the port of a proxy.
    pub async fn seal_with(&mut self, mut proxy: EgressProxy) -> Result<(), MachineError> {
        sealed::fail_fast(self.session(), B::SEALED_SCRIPT, proxy.ui()).await?;
        proxy.attach(self.session()).await?;
        self.egress = Some(proxy);
        Ok(())
    }

    /// Stops the guest's timers and sets its clock, now and after every reboot, so that what programs write does not depend on the
    /// day of the build.
    ///
    /// # Errors
    /// The connection was lost, or the guest's `date` cannot set the clock.
    pub async fn set_clock(&mut self, to: Timestamp) -> Result<(), MachineError> {
        self.clock = Some(to);
        Ok(set_clock(self.session(), to).await?)
    }

    /// Removes build credentials, cloud-init's state and logs, running the script `first` before and `last` after that. From then
    /// on, new logins fail.
    pub(crate) async fn clean_up_between(
        &self,
        first: &str,
        last: &str,
    ) -> Result<(), MachineError> {
        let authorized = self.authorized.as_deref();
        clean_up::clean_up(self.session(), self.death(), authorized, first, last).await
    }
}

/// Script that stops the timers of systemd, and keeps those of new packages from starting. A build that passes midnight on the
/// guest's clock would run daily jobs, and leave their traces in the image. A drop-in below `timer.d` applies to every timer
/// (systemd.unit(5)); all of `/run` ends with the guest.
const STOP_TIMERS: &str = "\
if [ -d /run/systemd/system ]; then
    mkdir -p /run/systemd/system/timer.d
    printf '[Unit]\\nConditionPathExists=/run/nonexistent\\n' >/run/systemd/system/timer.d/build.conf
    systemctl stop '*.timer'
fi";

/// Stops all timers, and sets the clock.
async fn set_clock(session: &Session, to: Timestamp) -> Result<(), SshError> {
    let command = format!("{STOP_TIMERS}\ndate -u -s @{} >/dev/null", to.seconds());
    session.output(&command).await.map(drop)
}

impl<B: Backend> Machine for Guest<B> {
    fn session(&self) -> &Session {
        self.session
            .as_ref()
            .expect("`wait_ready` comes before the first use")
    }

    async fn reconnect(&mut self, within: Duration) -> Result<(), MachineError> {
        self.session = None;
        let connect = async { Ok::<_, MachineError>(ssh::connect(&self.target, within).await) };
        let session = match self.death().or(connect).await? {
            Ok(session) => self.session.insert(session),
            Err(error) => return Err(self.backend.explain_unreachable(error).await),
        };
        if let Some(clock) = self.clock {
            set_clock(session, clock).await?;
        }
        if let Some(proxy) = &mut self.egress {
            sealed::fail_fast(session, B::SEALED_SCRIPT, proxy.ui()).await?;
            proxy.attach_again(session).await?;
        }
        Ok(())
    }

    fn egress(&self) -> Option<&EgressProxy> {
        self.egress.as_ref()
    }

    fn death(&self) -> Death {
        self.backend.death()
    }

    fn target(&self) -> &Target {
        &self.target
    }

    async fn split_disk(&mut self) -> Result<(), MachineError> {
        let session = self.session.as_ref();
        let session = session.expect("`wait_ready` comes before the first use");
        self.backend.split_disk(session).await
    }

    async fn destroy(self) {
        self.backend.destroy(self.session).await;
    }
}
