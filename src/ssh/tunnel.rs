//! Remote port forwarding: connections to a port on the machine's loopback arrive here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use russh::client::Msg;
use russh::{Channel, ChannelStream};
use tokio::sync::mpsc;

use super::{Session, SshError};

/// Only programs on the machine itself may connect.
const LOOPBACK: &str = "127.0.0.1";

/// A connection made by a program on the machine.
pub type ForwardedStream = ChannelStream<Msg>;

/// A forwarded port on the machine's loopback. The machine's sshd closes it when the session ends.
#[derive(Debug)]
pub struct ForwardedPort {
    port: u16,
    streams: mpsc::UnboundedReceiver<ForwardedStream>,
}

impl ForwardedPort {
    /// Returns the port that the machine's sshd chose.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the next connection; `None` once the session has ended.
    pub async fn next(&mut self) -> Option<ForwardedStream> {
        self.streams.recv().await
    }
}

/// Receivers of forwarded connections, by port.
type Takers = Mutex<HashMap<u32, mpsc::UnboundedSender<ForwardedStream>>>;

/// Dispatches incoming connections. The SSH connection owns it, so all forwards end with the connection.
#[derive(Default)]
pub(super) struct Forwards(Arc<Takers>);

/// Registers forwards, for [`Session`].
pub(super) struct Asking(Weak<Takers>);

impl Forwards {
    pub(super) fn asking(&self) -> Asking {
        Asking(Arc::downgrade(&self.0))
    }

    /// Returns the receiver for a port, unless it was dropped.
    pub(super) fn taker(&self, port: u32) -> Option<Taker> {
        let takers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taker = takers.get(&port)?.clone();
        (!taker.is_closed()).then_some(Taker(taker))
    }
}

/// Receiver of the connections to one port.
pub(super) struct Taker(mpsc::UnboundedSender<ForwardedStream>);

impl Taker {
    pub(super) fn take(&self, channel: Channel<Msg>) {
        // If the receiver was dropped just now, the connection closes.
        let _gone = self.0.send(channel.into_stream());
    }
}

impl Session {
    /// Opens a port on the machine's loopback and forwards its connections.
    ///
    /// # Errors
    /// Fails if the machine's sshd forbids forwarding or the connection drops.
    pub async fn forward_remote(&self) -> Result<ForwardedPort, SshError> {
        let port = match self.handle.tcpip_forward(LOOPBACK, 0).await {
            Ok(port) => port,
            Err(russh::Error::RequestDenied) => {
                return Err(SshError::NoForward {
                    login: self.login.clone(),
                });
            }
            Err(_) => return Err(self.disconnected()),
        };
        let (sender, streams) = mpsc::unbounded_channel();
        if let Some(takers) = self.forwards.0.upgrade() {
            let mut takers = takers.lock().unwrap_or_else(PoisonError::into_inner);
            takers.insert(port, sender);
        }
        // Ports have 16 bits; the protocol uses 32.
        let port = u16::try_from(port).map_err(|_| self.disconnected())?;
        Ok(ForwardedPort { port, streams })
    }

    /// Closes the port of a forward before the session ends.
    ///
    /// # Errors
    /// Fails if the connection drops.
    pub async fn end_forward(&self, port: u16) -> Result<(), SshError> {
        let port = u32::from(port);
        if let Some(takers) = self.forwards.0.upgrade() {
            let mut takers = takers.lock().unwrap_or_else(PoisonError::into_inner);
            takers.remove(&port);
        }
        match self.handle.cancel_tcpip_forward(LOOPBACK, port).await {
            Ok(()) | Err(russh::Error::RequestDenied) => Ok(()),
            Err(_) => Err(self.disconnected()),
        }
    }
}
