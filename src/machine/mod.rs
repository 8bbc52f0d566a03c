//! Machine backends: ways to run the machine that a template provisions.
//!
//! [`qemu`] runs a guest on this host, [`host`] connects to a machine that exists already, and EC2's backend stands in a room
//! above this one. To add a backend that launches guests, implement [`guest::Backend`] for the handle of a running guest and
//! return a [`guest::Guest`] of it from a `launch` function as soon as the guest exists. A machine that is only connected to
//! implements [`Machine`] itself. Errors of a backend become a [`MachineError`] through [`MachineError::backend`], so that
//! nothing here has to know them.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use miette::Diagnostic;
use tokio::sync::watch;

use crate::network::EgressProxy;
use crate::ssh::{Session, Target};

mod console;
pub(crate) mod guest;
pub mod host;
pub mod qemu;

/// Running machine, reachable over SSH.
#[expect(async_fn_in_trait, reason = "used inside this crate, on one thread")]
pub trait Machine {
    /// Returns the open connection.
    fn session(&self) -> &Session;

    /// Replaces the connection, after a reboot or when it was lost.
    ///
    /// # Errors
    /// The machine did not answer in time, or died.
    async fn reconnect(&mut self, within: Duration) -> Result<(), MachineError>;

    /// Returns the proxy that controls its network access; `None` for a machine with a network of its own.
    fn egress(&self) -> Option<&EgressProxy> {
        None
    }

    /// Returns a watch for its death.
    fn death(&self) -> Death;

    /// Keeps the disk as it is now, to be read beside the final one. Does nothing where that is not possible.
    ///
    /// # Errors
    /// The connection was lost, or the machine's backend failed.
    async fn split_disk(&mut self) -> Result<(), MachineError> {
        Ok(())
    }

    /// Returns its address, login and keys.
    fn target(&self) -> &Target;

    /// Ends the machine and removes its resources. Warns of what cannot be removed.
    async fn destroy(self);
}

/// Watch for the death of a machine. A death is an end that karat did not ask for.
#[derive(Clone, Debug)]
pub struct Death(watch::Receiver<Option<String>>);

impl Death {
    /// Makes a watch that resolves once `receiver` holds a report, such as the end of the console.
    #[must_use]
    pub fn new(receiver: watch::Receiver<Option<String>>) -> Self {
        Self(receiver)
    }

    /// Waits for the death and returns its report. Never returns for a machine that ends only when told to.
    pub async fn wait(&mut self) -> String {
        match self.0.wait_for(Option::is_some).await {
            Ok(report) => report.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Does `work`, unless the machine dies first.
    pub(crate) async fn or<T, E: From<MachineError>>(
        mut self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            report = self.wait() => Err(MachineError::Died(report).into()),
            done = work => done,
        }
    }
}

/// Failure to get or keep a machine.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum MachineError {
    /// The SSH connection failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ssh(#[from] crate::ssh::SshError),
    /// The machine ended without being told to; the text is the report of its death.
    #[error("the machine died: {0}")]
    Died(String),
    /// The guest could not be prepared or cleaned up.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Guest(#[from] guest::GuestError),
    /// The machine's backend failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Backend(BackendError),
}

impl MachineError {
    /// Wraps a backend's own error.
    pub(crate) fn backend(error: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self::Backend(BackendError(Box::new(error)))
    }
}

/// Error of a backend, whose type this module does not know. It has the text, cause and help of the original.
#[derive(Debug)]
pub struct BackendError(Box<dyn Diagnostic + Send + Sync>);

impl BackendError {
    /// Returns the original error if it is of type `E`.
    #[must_use]
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        let error: &(dyn Error + 'static) = &*self.0;
        error.downcast_ref()
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

impl Diagnostic for BackendError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.help()
    }
}
