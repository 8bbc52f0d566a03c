//! Connecting: probes until the machine answers and keeps the last error.

use std::borrow::Cow;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use russh::client::{self, ChannelOpenHandle, DisconnectReason, Handle, Msg};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelOpenFailure, Preferred, cipher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::auth::{Credentials, log_in, lost};
use super::host_key::Expected;
use super::proxy::{self, Proxy};
use super::stream::Wire;
use super::tunnel::Forwards;
use super::{Session, SshError, Target};
use crate::backoff::Backoff;

/// Pauses between tries. Short at first: most machines answer soon after the first try.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_millis(250);
/// Pause after a rejected key: servers penalize clients that fail in quick succession.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// Time in which a rejected key may still become valid: cloud-init installs keys while sshd already runs.
const KEY_INSTALL_TIMEOUT: Duration = Duration::from_secs(20);
/// QEMU's user network accepts connections before the guest listens, so a silent port is dropped and dialled again. The
/// timeout grows with each try, because a slow guest needs a while to start its sshd.
const MIN_GREETING_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_GREETING_TIMEOUT: Duration = Duration::from_secs(15);
/// Both grow by this factor.
const GROWTH: f64 = 1.5;
/// A proxy command such as the AWS CLI starts Python, requests a session and opens it: 3 to 10 s.
const COMMAND_GREETING_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for the last stderr output of a proxy command to arrive.
const STDERR_GRACE: Duration = Duration::from_millis(100);
/// Connections that wait for a greeting in parallel, started evenly within one timeout. More would overload a slow guest.
const MAX_PROBES: u32 = 3;
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit for key exchange and for authentication: key exchange took 10 s on a loaded machine without KVM.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(45);
/// A connection counts as dead after four unanswered keepalives.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const MAX_LOST_KEEPALIVES: usize = 4;
/// Covers a round trip at gigabit speed.
const WINDOW_BYTES: u32 = 8 << 20;
/// SSH implementations must accept 32 KiB; OpenSSH sends up to this.
const MAX_PACKET_BYTES: u32 = 32 << 10;

/// Meaning of a rejected key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RejectedKey {
    /// The machine is new, and our key may not be installed yet.
    MayBecomeValid,
    /// The host existed before the build.
    IsFinal,
}

/// Like [`super::connect`]; `rejected` decides whether a rejected key is retried.
pub(crate) async fn connect_with(
    target: &Target,
    within: Duration,
    rejected: RejectedKey,
) -> Result<Session, SshError> {
    let deadline = Instant::now() + within;
    let dial = Dial::read(target)?;
    let mut jump = None;
    let mut pauses = Backoff::new(MIN_PAUSE, GROWTH, MAX_PAUSE);
    let mut greetings = Backoff::new(MIN_GREETING_TIMEOUT, GROWTH, MAX_GREETING_TIMEOUT);
    let mut greeting = greetings.next_delay();
    let mut first_rejection = None;
    loop {
        let error = match dial.once(&mut jump, greeting, deadline).await {
            Ok(session) => return Ok(session),
            Err(error) if error.is_final() => return Err(error),
            Err(error) => error,
        };
        if matches!(error, SshError::Silent { .. }) {
            greeting = greetings.next_delay();
        }
        let pause = if error.is_rejection() {
            let first = *first_rejection.get_or_insert_with(Instant::now);
            if rejected == RejectedKey::IsFinal || first.elapsed() > KEY_INSTALL_TIMEOUT {
                return Err(error);
            }
            REFUSED_PAUSE
        } else {
            pauses.next_delay()
        };
        if Instant::now() + pause >= deadline {
            return Err(SshError::NoLogin {
                login: target.login(),
                within,
                source: Box::new(error),
            });
        }
        sleep(pause).await;
    }
}

/// A connection whose server has sent its greeting. Dropping it closes the connection.
struct Greeted<S> {
    wire: Wire<S>,
    guard: DropGuard,
}

/// A target with its key files read, so that a retry costs only network traffic.
struct Dial<'a> {
    target: &'a Target,
    expected: Expected,
    credentials: Credentials,
    jump: Option<Box<Dial<'a>>>,
}

impl<'a> Dial<'a> {
    fn read(target: &'a Target) -> Result<Self, SshError> {
        Ok(Self {
            target,
            expected: Expected::read(&target.address, target.port, &target.host_key)?,
            credentials: Credentials::read(&target.auth)?,
            jump: match target.jump.as_deref() {
                None => None,
                Some(jump) => Some(Box::new(Self::read(jump).map_err(through(jump))?)),
            },
        })
    }

    /// Tries once. The session on the jump host stays open for the next try.
    async fn once(
        &self,
        via: &mut Option<Box<Session>>,
        greeting: Duration,
        deadline: Instant,
    ) -> Result<Session, SshError> {
        if let Some(command) = &self.target.proxy {
            return self.by_command(command, deadline).await;
        }
        let Some(jump) = &self.jump else {
            let greeted = self.first_greeted(greeting, deadline).await?;
            return self.handshake(greeted, deadline).await;
        };
        let outer = match via.take_if(|session| session.is_open()) {
            Some(session) => session,
            // A jump host may itself have a jump host; that one is dialled again each time.
            None => Box::new(
                Box::pin(jump.once(&mut None, greeting, deadline))
                    .await
                    .map_err(through(jump.target))?,
            ),
        };
        let outer = via.insert(outer);
        let beyond = |source| SshError::Beyond {
            jump: jump.target.login(),
            address: self.target.place(),
            source: Box::new(source),
        };
        let open = outer.handle.channel_open_direct_tcpip(
            &self.target.address,
            self.target.port.into(),
            "127.0.0.1",
            0,
        );
        let channel = bounded(TCP_TIMEOUT * 2, deadline, open)
            .await
            .map_err(|_| SshError::Stalled {
                address: jump.target.place(),
                doing: "opening a connection to the target",
            })?
            .map_err(beyond)?;
        let greeted = self
            .greet(channel.into_stream(), greeting, deadline)
            .await?;
        let mut session = self.handshake(greeted, deadline).await?;
        session.jump = via.take();
        Ok(session)
    }

    /// Connects through a proxy command, which may need time before the server's greeting gets through.
    async fn by_command(&self, command: &[String], deadline: Instant) -> Result<Session, SshError> {
        let failed = |problem: String| SshError::Proxy {
            command: command.join(" "),
            problem,
        };
        let (stream, stderr) = Proxy::start(command).map_err(|error| failed(error.to_string()))?;
        match self.greet(stream, COMMAND_GREETING_TIMEOUT, deadline).await {
            Ok(greeted) => self.handshake(greeted, deadline).await,
            Err(error) => {
                // The reason on its stderr may still be on its way.
                sleep(STDERR_GRACE).await;
                Err(match proxy::one_line(&stderr) {
                    text if text.is_empty() => error,
                    text => failed(text),
                })
            }
        }
    }

    async fn tcp(&self, deadline: Instant) -> Result<TcpStream, SshError> {
        let connecting = TcpStream::connect((self.target.address.as_str(), self.target.port));
        let unreachable = |source| SshError::Unreachable {
            address: self.target.place(),
            source,
        };
        let stream = bounded(TCP_TIMEOUT, deadline, connecting)
            .await
            .map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))?
            .map_err(unreachable)?;
        // Without this, each small packet of a command waits for the acknowledgement of the one before.
        stream.set_nodelay(true).map_err(unreachable)?;
        Ok(stream)
    }

    /// Starts several connections one after another and returns the first with a greeting.
    ///
    /// QEMU's user network accepts connections for a guest whose network is down, and retries each only after seconds. A
    /// connection that starts once the guest listens is served at once, without waiting for the earlier ones.
    async fn first_greeted(
        &self,
        greeting: Duration,
        deadline: Instant,
    ) -> Result<Greeted<TcpStream>, SshError> {
        let probe = async || {
            let stream = self.tcp(deadline).await?;
            self.greet(stream, greeting, deadline).await
        };
        let mut probes = FuturesUnordered::new();
        probes.push(probe());
        let mut more = interval(greeting / MAX_PROBES);
        more.tick().await;
        loop {
            tokio::select! {
                biased;
                Some(outcome) = probes.next() => return outcome,
                _ = more.tick(), if probes.len() < MAX_PROBES as usize => probes.push(probe()),
            }
        }
    }

    /// Waits for the server's greeting.
    async fn greet<S>(
        &self,
        stream: S,
        greeting: Duration,
        deadline: Instant,
    ) -> Result<Greeted<S>, SshError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let cut = CancellationToken::new();
        let mut wire = Wire::new(stream, cut.clone());
        let guard = cut.drop_guard();
        let waiting = Instant::now();
        match bounded(greeting, deadline, wire.greeting()).await {
            Err(_) => {
                let (address, within) = (self.target.place(), waiting.elapsed());
                Err(SshError::Silent { address, within })
            }
            Ok(Err(error)) => Err(lost(self.target)(error.into())),
            Ok(Ok(())) => Ok(Greeted { wire, guard }),
        }
    }

    async fn handshake<S>(
        &self,
        greeted: Greeted<S>,
        deadline: Instant,
    ) -> Result<Session, SshError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Greeted { wire, guard } = greeted;
        let stalled = |doing| {
            let address = self.target.place();
            move |_| SshError::Stalled { address, doing }
        };
        let farewell = Arc::default();
        let forwards = Forwards::default();
        let asking = forwards.asking();
        let client = Client {
            expected: self.expected.clone(),
            farewell: Arc::clone(&farewell),
            forwards,
        };
        let mut handle = bounded(
            HANDSHAKE_TIMEOUT,
            deadline,
            client::connect_stream(self.config(), wire, client),
        )
        .await
        .map_err(stalled("exchanging keys"))?
        .map_err(|error| match error {
            ClientError::HostKey(error) => *error,
            ClientError::Protocol(error) => lost(self.target)(error),
        })?;
        bounded(
            HANDSHAKE_TIMEOUT,
            deadline,
            log_in(&mut handle, self.target, &self.credentials),
        )
        .await
        .map_err(stalled("authenticating"))??;
        Ok(Session {
            handle,
            login: self.target.login(),
            is_root: self.target.user == "root",
            farewell,
            forwards: asking,
            jump: None,
            _cut: guard,
        })
    }

    fn config(&self) -> Arc<client::Config> {
        Arc::new(client::Config {
            window_size: WINDOW_BYTES,
            maximum_packet_size: MAX_PACKET_BYTES,
            keepalive_interval: Some(KEEPALIVE_INTERVAL),
            keepalive_max: MAX_LOST_KEEPALIVES,
            preferred: Preferred {
                key: Cow::Owned(self.expected.algorithms(&Preferred::DEFAULT.key)),
                cipher: Cow::Borrowed(&[
                    // Processors run AES-GCM several times as fast as the others.
                    cipher::AES_256_GCM,
                    cipher::AES_128_GCM,
                    cipher::CHACHA20_POLY1305,
                    cipher::AES_256_CTR,
                    cipher::AES_128_CTR,
                ]),
                ..Preferred::DEFAULT
            },
            ..client::Config::default()
        })
    }
}

/// Runs `future` for at most `limit`, and never past `deadline`.
async fn bounded<F: Future>(
    limit: Duration,
    deadline: Instant,
    future: F,
) -> Result<F::Output, tokio::time::error::Elapsed> {
    let left = deadline.saturating_duration_since(Instant::now());
    timeout(limit.min(left), future).await
}

fn through(jump: &Target) -> impl Fn(SshError) -> SshError {
    let jump = jump.login();
    move |source| SshError::Jump {
        jump: jump.clone(),
        source: Box::new(source),
    }
}

/// Handler of russh's callbacks during a session.
pub(super) struct Client {
    expected: Expected,
    farewell: Farewell,
    forwards: Forwards,
}

/// Reason for the end of the connection, once it has ended.
pub(super) type Farewell = Arc<Mutex<Option<String>>>;

/// An error that ends the connection setup.
#[derive(Debug)]
pub(super) enum ClientError {
    HostKey(Box<SshError>),
    Protocol(russh::Error),
}

impl From<russh::Error> for ClientError {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error)
    }
}

impl client::Handler for Client {
    type Error = ClientError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, ClientError> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                let result = self.expected.check(key);
                result.map_err(|error| ClientError::HostKey(Box::new(error)))?;
                Ok(true)
            }
            // karat asks for plain keys only.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _connected_address: &str,
        connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), ClientError> {
        if let Some(taker) = self.forwards.taker(connected_port) {
            reply.accept().await;
            taker.take(channel);
        } else {
            let reason = ChannelOpenFailure::AdministrativelyProhibited;
            reply.reject(reason).await;
        }
        Ok(())
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<ClientError>,
    ) -> Result<(), ClientError> {
        let text = match &reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                format!("the server said: {}", info.message)
            }
            DisconnectReason::Error(ClientError::HostKey(error)) => error.to_string(),
            DisconnectReason::Error(ClientError::Protocol(
                russh::Error::Disconnect | russh::Error::HUP,
            )) => "the server closed it".to_owned(),
            DisconnectReason::Error(ClientError::Protocol(error)) => error.to_string(),
        };
        *self.farewell.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        match reason {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(error) => Err(error),
        }
    }
}

/// Fields of [`Session`] that only this module fills.
pub(super) type Cut = DropGuard;
pub(super) type Connection = Handle<Client>;
