//! Ways to launch a machine and turn its disk into an image.

use std::time::Duration;

use tokio::sync::watch;

use crate::network::EgressProxy;
use crate::ssh::Session;

pub(crate) mod guest;
pub mod host;
pub mod qemu;

/// A running machine that can be reached over SSH.
#[expect(async_fn_in_trait, reason = "used inside this crate, on one thread")]
pub trait Machine {
    /// The open connection.
    fn session(&self) -> &Session;

    /// Drops the connection and opens a new one, after a reboot or a drop.
    ///
    /// # Errors
    /// The machine did not answer within the time, or died.
    async fn reconnect(&mut self, within: Duration) -> Result<(), MachineError>;

    /// What keeps it from the network; `None` for a machine with a network of its own.
    fn egress(&self) -> Option<&EgressProxy> {
        None
    }

    /// Tells when the machine dies.
    fn death(&self) -> Death;

    /// A command line with which a person can log in.
    fn login(&self) -> String;

    /// Ends the machine and removes what it used. What could not be removed is said.
    async fn destroy(self);
}

/// Resolves when a machine has died by itself, with what is known about it (the end of its console).
#[derive(Clone, Debug)]
pub struct Death(watch::Receiver<Option<String>>);

impl Death {
    /// A death that the given channel announces.
    #[must_use]
    pub fn new(receiver: watch::Receiver<Option<String>>) -> Self {
        Self(receiver)
    }

    /// Waits for it; never returns for a machine that only ends when told to.
    pub async fn wait(&mut self) -> String {
        match self.0.wait_for(Option::is_some).await {
            Ok(report) => report.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Why a machine could not be had or kept.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum MachineError {
    /// SSH failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ssh(#[from] crate::ssh::SshError),
    /// The machine ended by itself.
    #[error("the machine died: {0}")]
    Died(String),
    /// The builder's own error.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Qemu(#[from] qemu::QemuError),
    /// What every guest has.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Guest(#[from] guest::GuestError),
    /// The builder's own error.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ec2(#[from] crate::ec2::machine::Ec2Error),
}
