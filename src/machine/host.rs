//! Existing host as a machine: provisioned like a guest, but never launched nor destroyed.

use std::time::Duration;

use tokio::sync::watch;

use super::{Death, Machine, MachineError};
use crate::plan;
use crate::ssh::{Auth, RejectedKey, Session, Target, connect_with};

/// Connection to an existing host.
#[derive(Debug)]
pub struct HostMachine {
    target: Target,
    session: Session,
    /// Sender that is never used: karat does not watch whether the host lives.
    never: watch::Sender<Option<String>>,
}

impl HostMachine {
    /// Logs in. A refused key is an error at once, because the host is not about to change.
    ///
    /// # Errors
    /// The host cannot be reached, has another key, or refuses the login.
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

    fn target(&self) -> &Target {
        &self.target
    }

    async fn destroy(self) {
        self.session.close().await;
    }
}

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

/// Returns how to connect to the jump host of a plan.
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

/// Returns the named key file, or else the agent: an existing host does not authorize a key of the build.
fn auth(key_file: Option<&std::path::PathBuf>) -> Auth {
    key_file.map_or(Auth::Agent, |path| Auth::KeyFile(path.clone()))
}
