//! Instances of EC2: [`set_up`] a place, [`launch`] an instance, wait until it is ready, provision it, clean it up, bring its
//! disk to rest, and take a snapshot of that.
//!
//! All resources that a run creates belong to its [`ResourceGuard`], which removes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::ec2::client::Region;
use crate::ec2::client::ec2::{Instance, instances};
use crate::machine::guest::{Backend, Guest};
use crate::machine::{Death, MachineError};
use crate::plan::Interface;
use crate::ssh::{Session, SshError};

mod ami;
mod error;
mod launch;
mod leftover;
mod resources;
mod setup;
mod snapshot;
mod snapshot_reader;
mod teardown;

pub use ami::{BaseAmi, find_ami, newest_ami, pinned_ami};
pub use error::Ec2Error;
pub use launch::launch;
pub use leftover::{find_expired, read_leftover};
pub use resources::ResourceGuard;
pub use setup::{InstanceNetwork, set_up};
pub use snapshot::{SnapshotKind, begin_snapshot, tear_down};
pub use snapshot_reader::read_snapshot;

const CLEAN_UP: &str = include_str!("clean.sh");
const FREEZE_DISK: &str = include_str!("freeze.sh");
/// Interval between two checks of whether an instance still exists.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// Lines of a console that an error shows: as many as fit on a screen.
const CONSOLE_LINES: usize = 20;

/// Guest on an instance. The owner of its [`ResourceGuard`] terminates the instance.
pub type Ec2Machine = Guest<InstanceHandle>;

/// Running instance, which a task watches.
#[derive(Debug)]
pub struct InstanceHandle {
    region: Region,
    id: String,
    interface: Interface,
    death: watch::Receiver<Option<String>>,
    /// Set before karat ends the instance: its end is not a death then.
    ending: Arc<AtomicBool>,
    _watch: AbortOnDropHandle<()>,
}

impl InstanceHandle {
    fn new(region: Region, id: String, interface: Interface) -> Self {
        let (announce, death) = watch::channel(None);
        let ending = Arc::new(AtomicBool::new(false));
        let watch = watch_instance(region.clone(), id.clone(), announce, Arc::clone(&ending));
        Self {
            region,
            id,
            interface,
            death,
            ending,
            _watch: AbortOnDropHandle::new(tokio::spawn(watch)),
        }
    }
}

impl Backend for InstanceHandle {
    const SEALED_SCRIPT: &'static str = include_str!("sealed.sh");

    fn death(&self) -> Death {
        Death::new(self.death.clone())
    }

    async fn address(&self, within: Duration) -> Result<Option<String>, MachineError> {
        let address = |instance: &Instance| address(instance, self.interface);
        let found = instances::wait_address(&self.region, &self.id, within, address);
        Ok(Some(found.await.map_err(Ec2Error::from)?))
    }

    async fn explain_unreachable(&self, error: SshError) -> MachineError {
        // Checked once more: the instance may have ended since the last poll.
        if let Ok(instance) = instances::get(&self.region, &self.id).await
            && let Some(report) = end_of(&instance)
        {
            return MachineError::Died(report);
        }
        let console = instances::console(&self.region, &self.id).await;
        let lines: Vec<&str> = console.lines().collect();
        let from = lines.len().saturating_sub(CONSOLE_LINES);
        Ec2Error::NotReady {
            instance: self.id.clone(),
            console: lines[from..].join("\n"),
            source: Box::new(error),
        }
        .into()
    }

    /// Closes the connection. The [`ResourceGuard`] terminates the instance.
    async fn destroy(self, session: Option<Session>) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(session) = session {
            session.close().await;
        }
    }
}

impl Ec2Machine {
    /// Returns the id, `i-...`.
    pub fn id(&self) -> &str {
        &self.backend.id
    }

    pub fn region(&self) -> &Region {
        &self.backend.region
    }

    /// Removes build credentials and what a machine writes about itself. From then on, new logins fail. With `freeze`, its disk
    /// is at rest afterwards.
    pub async fn clean_up(&self, freeze: bool) -> Result<(), MachineError> {
        let last = if freeze { FREEZE_DISK } else { "" };
        self.clean_up_between(CLEAN_UP, last).await
    }

    /// Stops the instance, so that its disk is at rest.
    pub async fn stop(&mut self) -> Result<(), Ec2Error> {
        self.backend.ending.store(true, Ordering::Relaxed);
        self.session = None;
        instances::stop(self.region(), self.id()).await?;
        instances::wait_stopped(self.region(), self.id()).await?;
        Ok(())
    }
}

/// Returns the address of an instance, if it has one yet.
fn address(instance: &Instance, interface: Interface) -> Option<String> {
    let address = match interface {
        Interface::PublicIp => instance.public_address(),
        Interface::PrivateIp => instance.private_address(),
        Interface::Ssm => Some(instance.id.as_str()).filter(|_| instance.state() == "running"),
    };
    address.map(str::to_owned)
}

/// Describes the end of an instance that no longer runs.
fn end_of(instance: &Instance) -> Option<String> {
    if matches!(instance.state(), "pending" | "running") {
        return None;
    }
    let reason = instance.reason().filter(|text| !text.is_empty());
    let reason = reason.map_or_else(String::new, |text| format!(": {text}"));
    let (id, state) = (&instance.id, instance.state());
    Some(format!("the instance {id} is {state}{reason}"))
}

/// Announces the end of an instance. A failed poll is ignored.
async fn watch_instance(
    region: Region,
    id: String,
    announce: watch::Sender<Option<String>>,
    ending: Arc<AtomicBool>,
) {
    loop {
        sleep(ALIVE_INTERVAL).await;
        let Ok(instance) = instances::get(&region, &id).await else {
            continue;
        };
        if ending.load(Ordering::Relaxed) {
            return;
        }
        if let Some(report) = end_of(&instance) {
            let _no_receiver = announce.send(Some(report));
            return;
        }
    }
}
