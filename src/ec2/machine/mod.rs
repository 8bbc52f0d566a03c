//! Instances of EC2: [`set_up`] a place, [`launch`], wait until the instance is ready, provision it, clean it up, bring its disk to
//! rest, and take a snapshot of that.
//!
//! Everything that is made belongs to a [`Rental`], which removes it all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::ec2::client::Region;
use crate::ec2::client::ec2::Instance;
use crate::machine::{Death, Machine, MachineError, guest};
use crate::network::EgressProxy;
use crate::plan::Interface;
use crate::ssh::{self, Session, Target, quote};
use crate::ui::Ui;

mod ami;
mod error;
mod launch;
mod leftover;
mod resources;
mod setup;
mod snapshot;
mod snapshot_reader;
mod teardown;

pub use ami::{Ami, find, newest, pinned};
pub use error::Ec2Error;
pub use launch::launch;
pub use leftover::{Leftover, expired, leftover};
pub use resources::Rental;
pub use setup::{Place, set_up};
pub use snapshot::{Part, begin_snapshot, end};
pub use snapshot_reader::read;

const SEALED: &str = include_str!("sealed.sh");
const CLEAN: &str = include_str!("clean.sh");
const FREEZE: &str = include_str!("freeze.sh");
/// Between two looks whether an instance is still there.
const ALIVE: Duration = Duration::from_secs(5);
/// As much of a console as fits on a screen.
const CONSOLE_LINES: usize = 20;

/// An instance that runs. Whoever has its [`Rental`] ends it.
#[derive(Debug)]
pub struct Ec2Machine {
    region: Region,
    id: String,
    interface: Interface,
    session: Option<Session>,
    seal: Option<EgressProxy>,
    target: Target,
    /// The public key that cloud-init lets in.
    authorized: Option<String>,
    death: watch::Receiver<Option<String>>,
    /// It is to end now.
    ending: Arc<AtomicBool>,
    _watch: AbortOnDropHandle<()>,
}

impl Ec2Machine {
    fn new(
        region: Region,
        id: String,
        interface: Interface,
        target: Target,
        authorized: Option<String>,
    ) -> Self {
        let (announce, death) = watch::channel(None);
        let ending = Arc::new(AtomicBool::new(false));
        let watch = stays(region.clone(), id.clone(), announce, Arc::clone(&ending));
        Self {
            region,
            id,
            interface,
            session: None,
            seal: None,
            target,
            authorized,
            death,
            ending,
            _watch: AbortOnDropHandle::new(tokio::spawn(watch)),
        }
    }

    /// `i-...`
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Waits until the instance answers SSH and cloud-init has done its work.
    ///
    /// # Errors
    /// The instance ended, did not answer in time, or cloud-init failed.
    pub async fn wait_ready(&mut self, within: Duration, ui: &Ui) -> Result<(), MachineError> {
        let deadline = Instant::now() + within;
        let left = || deadline.saturating_duration_since(Instant::now());
        let interface = self.interface;
        let address = |it: &Instance| address(it, interface);
        let found = self.region.instance_addressed(&self.id, within, address);
        self.target.address = found.await.map_err(Ec2Error::from)?;
        self.reconnect(left()).await?;
        let mut death = self.death();
        tokio::select! {
            biased;
            report = death.wait() => Err(MachineError::Died(report)),
            done = guest::cloud_init(self.session(), left(), ui) => done,
        }
    }

    /// Waits until the guest has started its services, [`Self::wait_ready`] done.
    ///
    /// # Errors
    /// The line dropped, or the instance ended. Services that fail or never start are warnings.
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

    /// Removes the way in and what a machine writes about itself. After this, nobody can log in anew. With `freeze`, its disk
    /// is at rest then.
    ///
    /// # Errors
    /// The script failed, the line dropped, or the instance ended.
    pub async fn clean_up(&self, freeze: bool) -> Result<(), MachineError> {
        let authorized = self.authorized.as_deref();
        let last = if freeze { FREEZE } else { "" };
        guest::clean_up(self.session(), self.death(), authorized, CLEAN, last).await
    }

    /// Stops the instance, so that its disk is at rest.
    ///
    /// # Errors
    /// It does not stop, or the principal may not.
    pub async fn stop(&mut self) -> Result<(), Ec2Error> {
        self.ending.store(true, Ordering::Relaxed);
        self.session = None;
        self.region.stop_instance(&self.id).await?;
        self.region.instance_stopped(&self.id).await?;
        Ok(())
    }

    async fn not_reached(&self, source: ssh::SshError) -> MachineError {
        // Asked once more: it may have ended since the last look.
        if let Ok(instance) = self.region.instance(&self.id).await
            && let Some(report) = end_of(&instance)
        {
            return MachineError::Died(report);
        }
        let console = self.region.console_of(&self.id).await;
        let lines: Vec<&str> = console.lines().collect();
        let from = lines.len().saturating_sub(CONSOLE_LINES);
        Ec2Error::NotReady {
            instance: self.id.clone(),
            console: lines[from..].join("\n"),
            source: Box::new(source),
        }
        .into()
    }
}

/// What an instance is reached by, once it has that.
fn address(instance: &Instance, interface: Interface) -> Option<String> {
    let address = match interface {
        Interface::PublicIp => instance.public_address(),
        Interface::PrivateIp => instance.private_address(),
        Interface::Ssm => Some(instance.id.as_str()).filter(|_| instance.state() == "running"),
    };
    address.map(str::to_owned)
}

/// What is known of the end of an instance that does not run any more.
fn end_of(instance: &Instance) -> Option<String> {
    if matches!(instance.state(), "pending" | "running") {
        return None;
    }
    let reason = instance.reason().filter(|text| !text.is_empty());
    let reason = reason.map_or_else(String::new, |text| format!(": {text}"));
    let (id, state) = (&instance.id, instance.state());
    Some(format!("the instance {id} is {state}{reason}"))
}

/// Announces when an instance is going or gone. A look that fails says nothing.
async fn stays(
    region: Region,
    id: String,
    announce: watch::Sender<Option<String>>,
    ending: Arc<AtomicBool>,
) {
    loop {
        sleep(ALIVE).await;
        let Ok(instance) = region.instance(&id).await else {
            continue;
        };
        if ending.load(Ordering::Relaxed) {
            // Kept open: a death that nobody announces is none.
            announce.closed().await;
            return;
        }
        if let Some(report) = end_of(&instance) {
            let _nobody_listens = announce.send(Some(report));
            announce.closed().await;
            return;
        }
    }
}

impl Machine for Ec2Machine {
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
        let session = match connected {
            Ok(session) => session,
            Err(error) => return Err(self.not_reached(error).await),
        };
        let session = self.session.insert(session);
        match &mut self.seal {
            Some(seal) => Ok(guest::attach_again(seal, session, SEALED).await?),
            None => Ok(()),
        }
    }

    fn egress(&self) -> Option<&EgressProxy> {
        self.seal.as_ref()
    }

    fn death(&self) -> Death {
        Death::new(self.death.clone())
    }

    fn login(&self) -> String {
        let Target {
            address,
            port,
            user,
            auth,
            proxy,
            ..
        } = &self.target;
        let key = match auth {
            ssh::Auth::KeyFile(path) => format!("-i {} ", quote(&path.to_string_lossy())),
            ssh::Auth::Agent => String::new(),
        };
        let proxy = proxy.as_ref().map(|command| {
            let command: Vec<_> = command.iter().map(|word| quote(word)).collect();
            format!("-o ProxyCommand={} ", quote(&command.join(" ")))
        });
        let proxy = proxy.unwrap_or_default();
        // The host key is this build's own and in no known_hosts file.
        format!(
            "ssh {key}{proxy}-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p {port} {user}@{address}"
        )
    }

    /// The connection ends; the instance does with its [`Rental`].
    async fn destroy(self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(session) = self.session {
            session.close().await;
        }
    }
}
