//! An existing host as a machine: provisioned the same way, never launched and never destroyed.

use std::time::Duration;

use tokio::sync::watch;

use super::{Death, Machine, MachineError};
use crate::plan;
use crate::ssh::{Auth, RejectedKey, Session, Target, connect_with};

/// A host that was there before, and stays.
#[derive(Debug)]
pub struct HostMachine {
    target: Target,
    session: Session,
    /// Kept, so that the death that nobody announces is never taken for one.
    never: watch::Sender<Option<String>>,
}

impl HostMachine {
    /// Logs in. A refused key is an error at once, because nothing is going to change on the host by itself.
    ///
    /// # Errors
    /// Not reachable, another host key, or no login.
    pub async fn connect(host: &plan::Host, ssh: &plan::Ssh) -> Result<Self, MachineError> {
        let target = target(host, ssh);
        let session = connect_with(&target, ssh.timeout, RejectedKey::IsFinal).await?;
        Ok(Self {
            target,
            session,
            never: watch::Sender::new(None),
        })
    }
}

impl Machine for HostMachine {
    fn session(&self) -> &Session {
        &self.session
    }

    async fn reconnect(&mut self, within: Duration) -> Result<(), MachineError> {
        self.session = connect_with(&self.target, within, RejectedKey::MayBecomeValid).await?;
        Ok(())
    }

    fn death(&self) -> Death {
        Death::new(self.never.subscribe())
    }

    fn login(&self) -> String {
        format!(
            "ssh -p {} {}@{}",
            self.target.port, self.target.user, self.target.address
        )
    }

    async fn destroy(self) {
        self.session.close().await;
    }
}

/// Where the plan says the host is.
fn target(host: &plan::Host, ssh: &plan::Ssh) -> Target {
    Target {
        address: host.address.clone(),
        port: host.port,
        user: ssh.user.clone(),
        auth: auth(ssh.key_file.as_ref()),
        host_key: host.host_key.clone(),
        jump: ssh.jump.as_ref().map(|jump| Box::new(through(jump))),
        proxy: None,
    }
}

/// The jump host of a plan.
pub(crate) fn through(jump: &plan::Jump) -> Target {
    Target {
        address: jump.address.clone(),
        port: jump.port,
        user: jump.user.clone(),
        auth: auth(jump.key_file.as_ref()),
        host_key: jump.host_key.clone(),
        jump: None,
        proxy: None,
    }
}

/// A named key file, else the agent: a host has no key of the build's own.
fn auth(key_file: Option<&std::path::PathBuf>) -> Auth {
    key_file.map_or(Auth::Agent, |path| Auth::KeyFile(path.clone()))
}
