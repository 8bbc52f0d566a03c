//! What a sealed machine may have from the network, over all its connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use miette::Diagnostic;
use thiserror::Error;
use tokio::time::timeout;

use super::authority::Authority;
use super::log::Served;
use super::proxy::Proxy;
use super::rules::Rules;
use super::server::{Server, plain};
use super::{environment, rules::InvalidRule};
use crate::ssh::{Session, SshError};
use crate::ui::Ui;

/// One question and its answer; beyond this the line is dead.
const OPENING: Duration = Duration::from_mins(1);

/// Why a machine could not be sealed.
#[derive(Debug, Error, Diagnostic)]
pub enum SealError {
    /// A rule that makes no sense.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Rule(#[from] InvalidRule),
    /// No certificate authority.
    #[error("cannot make a certificate authority for this build: {0}")]
    Authority(String),
}

/// The proxy of a sealed machine. That there is no other way out is the builder's work.
pub struct Seal {
    server: Arc<Server>,
    proxy: Option<Proxy>,
    strict: bool,
    tolerant: bool,
    ui: Ui,
}

impl Seal {
    /// A seal that serves what the rules allow. `strict` steps fail when they asked for anything else.
    ///
    /// # Errors
    /// No key could be made.
    pub fn new(rules: Rules, strict: bool, ui: &Ui) -> Result<Self, SealError> {
        let authority =
            Authority::new().map_err(|error| SealError::Authority(error.to_string()))?;
        Ok(Self {
            server: Arc::new(Server::new(rules, Some(authority), ui)),
            proxy: None,
            strict,
            tolerant: false,
            ui: ui.clone(),
        })
    }

    /// For a machine whose sshd may forward no port, as that of a hardened image: it goes on without a proxy.
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
    /// The connection dropped, or the machine's sshd forwards no port and there is something to serve.
    pub async fn attach(&mut self, session: &Session) -> Result<(), SshError> {
        let needed = !self.tolerant && !self.server.rules().is_empty();
        self.open(session, needed).await
    }

    /// As [`Self::attach`], over a connection that takes the place of one before.
    ///
    /// # Errors
    /// The connection dropped.
    pub async fn attach_again(&mut self, session: &Session) -> Result<(), SshError> {
        self.open(session, false).await
    }

    async fn open(&mut self, session: &Session, needed: bool) -> Result<(), SshError> {
        match self.set_up(session).await {
            Err(error @ SshError::NoForward { .. }) if !needed => {
                let text = format!("{error}: what [network] allows cannot be served from here on");
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
        self.proxy = match timeout(OPENING, opening).await {
            Ok(proxy) => Some(proxy?),
            Err(_) => return Err(session.disconnected()),
        };
        Ok(())
    }

    /// The user's screen.
    pub(crate) fn ui(&self) -> &Ui {
        &self.ui
    }

    /// Shell lines that tell the programs of a step where the proxy is.
    #[must_use]
    pub fn prelude(&self) -> String {
        match (&self.proxy, self.server.authority()) {
            (Some(proxy), Some(authority)) => {
                environment::prelude(&proxy.guest_url(), authority.certificate())
            }
            _ => String::new(),
        }
    }

    /// What was served so far, in order.
    #[must_use]
    pub fn served(&self) -> Vec<Served> {
        self.server.log().served()
    }

    /// How many requests were refused so far.
    #[must_use]
    pub fn refusals(&self) -> usize {
        self.server.log().refused().len()
    }

    /// What was refused after so many refusals, each once.
    #[must_use]
    pub fn refused_since(&self, refusals: usize) -> Vec<String> {
        let mut sentences: Vec<String> = Vec::new();
        for sentence in self.server.log().refused().into_iter().skip(refusals) {
            // It goes into an error, and what was asked for may hold a secret.
            let sentence = self.ui.redact(plain(&sentence));
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
        sentences
    }

    /// Whether a step fails that asked for what is not allowed.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.strict
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal({:?})", self.proxy)
    }
}
