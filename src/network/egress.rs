//! Proxy of a sealed machine across all its SSH connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;
use tokio::time::timeout;

use super::authority::Authority;
use super::log::ServedRequest;
use super::proxy::Proxy;
use super::rules::UrlRules;
use super::server::{Server, without_prefix};
use super::{environment, rules::InvalidRule};
use crate::ssh::{Session, SshError};
use crate::ui::Ui;

/// Limit for opening the forwarded port, which takes one round trip.
const OPEN_TIMEOUT: Duration = Duration::from_mins(1);

/// An error while setting up the proxy of a sealed machine.
#[derive(Debug, Error, Diagnostic)]
pub enum EgressError {
    /// The template allows an invalid URL.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Rule(#[from] InvalidRule),
    /// The key or certificate could not be generated.
    #[error("cannot create a certificate authority for this build: {0}")]
    Authority(String),
}

/// Proxy of a sealed machine. The builder blocks all other network access.
pub struct EgressProxy {
    server: Arc<Server>,
    proxy: Option<Proxy>,
    strict: bool,
    tolerant: bool,
    ui: Ui,
}

impl EgressProxy {
    /// Creates a proxy for the rules. With `strict`, a step fails if any of its requests was refused.
    ///
    /// # Errors
    /// Fails if no certificate authority can be created.
    pub fn new(rules: UrlRules, strict: bool, ui: &Ui) -> Result<Self, EgressError> {
        let authority =
            Authority::new().map_err(|error| EgressError::Authority(error.to_string()))?;
        Ok(Self {
            server: Arc::new(Server::new(rules, Some(authority), ui)),
            proxy: None,
            strict,
            tolerant: false,
            ui: ui.clone(),
        })
    }

    /// Lets a machine whose sshd forbids forwarding, as in a hardened image, go on without a proxy.
    #[must_use]
    pub fn tolerant(self) -> Self {
        Self {
            tolerant: true,
            ..self
        }
    }

    /// Opens the proxy over a machine's first connection.
    ///
    /// # Errors
    /// Fails if the connection drops, or if there are rules and the machine's sshd forbids forwarding.
    pub async fn attach(&mut self, session: &Session) -> Result<(), SshError> {
        let needed = !self.tolerant && !self.server.rules().is_empty();
        self.open(session, needed).await
    }

    /// Like [`Self::attach`], over a connection that replaces an earlier one.
    ///
    /// # Errors
    /// Fails if the connection drops.
    pub async fn attach_again(&mut self, session: &Session) -> Result<(), SshError> {
        self.open(session, false).await
    }

    async fn open(&mut self, session: &Session, needed: bool) -> Result<(), SshError> {
        match self.set_up(session).await {
            Err(error @ SshError::NoForward { .. }) if !needed => {
                let text =
                    format!("{error}: the URLs allowed in [network] cannot be served from now on");
                if self.server.rules().is_empty() {
                    self.ui.detail(&text);
                } else {
                    self.ui.warn(&text);
                }
                Ok(())
            }
            result => result,
        }
    }

    async fn set_up(&mut self, session: &Session) -> Result<(), SshError> {
        self.proxy = None;
        let opening = Proxy::open(session, Arc::clone(&self.server));
        self.proxy = match timeout(OPEN_TIMEOUT, opening).await {
            Ok(proxy) => Some(proxy?),
            Err(_) => return Err(session.disconnected()),
        };
        Ok(())
    }

    pub(crate) fn ui(&self) -> &Ui {
        &self.ui
    }

    /// Returns shell lines that point a step's programs at the proxy.
    #[must_use]
    pub fn prelude(&self) -> String {
        match (&self.proxy, self.server.authority()) {
            (Some(proxy), Some(authority)) => {
                environment::prelude(&proxy.guest_url(), authority.certificate())
            }
            _ => String::new(),
        }
    }

    /// Returns the requests served so far, in order.
    #[must_use]
    pub fn served(&self) -> Vec<ServedRequest> {
        self.server.log().served()
    }

    /// Returns the number of requests refused so far.
    #[must_use]
    pub fn refusals(&self) -> usize {
        self.server.log().refused().len()
    }

    /// Returns the distinct refusals after the first `refusals`.
    #[must_use]
    pub fn refused_since(&self, refusals: usize) -> Vec<String> {
        let mut sentences: Vec<String> = Vec::new();
        for sentence in self.server.log().refused().into_iter().skip(refusals) {
            // It ends up in an error, and the URL may contain a secret.
            let sentence = self.ui.redact(without_prefix(&sentence));
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
        sentences
    }

    /// Returns true if a refused request fails the step.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.strict
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EgressProxy({:?})", self.proxy)
    }
}
