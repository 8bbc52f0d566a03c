//! Remote forwards: a port on the machine's loopback whose connections end here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use russh::client::Msg;
use russh::{Channel, ChannelStream};
use tokio::sync::mpsc;

use super::{Session, SshError};

/// Only programs in the machine itself may come this way.
const LOOPBACK: &str = "127.0.0.1";

/// One connection that a program in the machine has made.
pub type Stream = ChannelStream<Msg>;

/// A port on the machine's loopback. The machine's sshd closes it when the session ends.
#[derive(Debug)]
pub struct Forward {
    port: u16,
    streams: mpsc::UnboundedReceiver<Stream>,
}

impl Forward {
    /// The port, which the machine's sshd chose.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next connection; `None` once the session has ended.
    pub async fn next(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }
}

/// Who takes the connections of which port.
type Takers = Mutex<HashMap<u32, mpsc::UnboundedSender<Stream>>>;

/// The side that hands connections on. It belongs to the connection, so that all forwards end with it.
#[derive(Default)]
pub(super) struct Forwards(Arc<Takers>);

/// The side that asks for forwards.
pub(super) struct Asking(Weak<Takers>);

impl Forwards {
    pub(super) fn asking(&self) -> Asking {
        Asking(Arc::downgrade(&self.0))
    }

    /// Who takes connections of this port, unless it has gone.
    pub(super) fn taker(&self, port: u32) -> Option<Taker> {
        let takers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taker = takers.get(&port)?.clone();
        (!taker.is_closed()).then_some(Taker(taker))
    }
}

/// Takes connections of one port.
pub(super) struct Taker(mpsc::UnboundedSender<Stream>);

impl Taker {
    pub(super) fn take(&self, channel: Channel<Msg>) {
        // It may have gone in this moment; then the connection closes.
        let _gone = self.0.send(channel.into_stream());
    }
}

impl Session {
    /// Opens a port on the machine's loopback and hands on the connections that are made to it.
    ///
    /// # Errors
    /// The machine's sshd does not allow it, or the connection dropped.
    pub async fn forward_remote(&self) -> Result<Forward, SshError> {
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
        // A port has 16 bits; the protocol has 32 for it.
        let port = u16::try_from(port).map_err(|_| self.disconnected())?;
        Ok(Forward { port, streams })
    }

    /// Closes the port of a forward before the session ends.
    ///
    /// # Errors
    /// The connection dropped.
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
