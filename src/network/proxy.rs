//! The guest's end of the proxy: a forwarded port on its loopback.

use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::log::ServedRequest;
use super::rules::UrlRules;
use super::server::Server;
use crate::ssh::{ForwardedPort, Session, SshError};
use crate::ui::Ui;

/// A proxy for programs on a machine. It lives as long as this value and the session.
pub struct Proxy {
    port: u16,
    server: Arc<Server>,
    serving: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Opens a port on the machine's loopback and serves the URLs that the rules allow.
    ///
    /// # Errors
    /// Fails if the machine's sshd forbids forwarding or the connection drops.
    pub async fn serve(session: &Session, rules: &UrlRules, ui: &Ui) -> Result<Self, SshError> {
        Self::open(session, Arc::new(Server::new(rules.clone(), None, ui))).await
    }

    /// Like [`Self::serve`], for a server that outlives the connection.
    pub(super) async fn open(session: &Session, server: Arc<Server>) -> Result<Self, SshError> {
        let forward = session.forward_remote().await?;
        let port = forward.port();
        let serving = tokio::spawn(accept(forward, Arc::clone(&server)));
        Ok(Self {
            port,
            server,
            serving: AbortOnDropHandle::new(serving),
        })
    }

    /// Closes the port, before the session ends.
    ///
    /// # Errors
    /// Fails if the connection drops.
    pub async fn end(self, session: &Session) -> Result<(), SshError> {
        drop(self.serving);
        session.end_forward(self.port).await
    }

    /// Returns the proxy URL for programs on the machine, as in `http://127.0.0.1:41234`.
    #[must_use]
    pub fn guest_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the served requests in order.
    #[must_use]
    pub fn served(&self) -> Vec<ServedRequest> {
        self.server.log().served()
    }

    /// Returns one sentence per refused request, in order.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.server.log().refused()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.guest_url())
    }
}

async fn accept(mut forward: ForwardedPort, server: Arc<Server>) {
    // Dropping this task closes every connection.
    let mut connections = JoinSet::new();
    while let Some(stream) = forward.next().await {
        let server = Arc::clone(&server);
        connections.spawn(async move { server.connection(stream).await });
        while connections.try_join_next().is_some() {}
    }
}
