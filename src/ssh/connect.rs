//! Logging in: probe until the machine answers, and keep the reason of the last failure.

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

use super::auth::{Credentials, log_in};
use super::host_key::Expected;
use super::proxy::{self, Proxy};
use super::stream::Wire;
use super::tunnel::Forwards;
use super::{Session, SshError, Target};

/// Waits between tries: short at first, since most machines come up while being watched.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// A refused key is tried again this often: servers punish clients that fail quickly.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// How long a refused key may still become valid: cloud-init puts keys in place while sshd already runs.
const KEY_ARRIVES_WITHIN: Duration = Duration::from_secs(20);
/// QEMU's user network accepts connections before the guest listens, so a silent port is given up and tried anew;
/// each time later, because a slow guest needs a while to start its sshd.
const FIRST_GREETING: Duration = Duration::from_secs(2);
const LONGEST_GREETING: Duration = Duration::from_secs(15);
/// A command such as the AWS CLI starts Python, asks for a session and opens it: 3 to 10 s.
const COMMAND_GREETING: Duration = Duration::from_secs(30);
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Connections that wait for a greeting at once, begun evenly within the time of one: more would trouble a slow guest.
const PROBES: u32 = 3;
const TCP_LIMIT: Duration = Duration::from_secs(5);
/// Once the server has spoken: key exchange took 10 s on a loaded machine without KVM.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(45);
/// A connection is dead after four keepalives without an answer.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES_LOST: usize = 4;
/// Room for a whole round trip at gigabit speed.
const WINDOW: u32 = 8 << 20;
/// The most that SSH implementations must take is 32 KiB; OpenSSH sends up to this.
const PACKET: u32 = 32 << 10;

/// What a server that refuses the key means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// A new machine, whose key may not be in place yet.
    MayPass,
    /// A host that has been there before.
    IsFinal,
}

/// As [`super::connect`], with a choice of what a refused key means.
pub(crate) async fn connect_with(
    target: &Target,
    within: Duration,
    refusal: Refusal,
) -> Result<Session, SshError> {
    let deadline = Instant::now() + within;
    let dial = Dial::read(target)?;
    let mut jump = None;
    let mut pause = FIRST_PAUSE;
    let mut greeting = FIRST_GREETING;
    let mut first_refusal = None;
    loop {
        let error = match dial.once(&mut jump, greeting, deadline).await {
            Ok(session) => return Ok(session),
            Err(error) if error.is_final() => return Err(error),
            Err(error) => error,
        };
        if matches!(error, SshError::Silent { .. }) {
            greeting = (greeting * 3 / 2).min(LONGEST_GREETING);
        }
        pause = if error.is_refusal() {
            let first = *first_refusal.get_or_insert_with(Instant::now);
            if refusal == Refusal::IsFinal || first.elapsed() > KEY_ARRIVES_WITHIN {
                return Err(error);
            }
            REFUSED_PAUSE
        } else {
            (pause * 3 / 2).min(LONGEST_PAUSE)
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

/// A connection on which the server has spoken; dropping it cuts it.
struct Greeted<S> {
    wire: Wire<S>,
    guard: DropGuard,
}

/// A target with its files read, so that tries cost nothing but the network.
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

    /// One try. The session on the jump host is kept for the next one.
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
        if !via.as_ref().is_some_and(|session| session.is_open()) {
            *via = None;
            // A jump host may itself be reached through another; that one is dialled anew each time.
            let session = Box::pin(jump.once(&mut None, greeting, deadline))
                .await
                .map_err(through(jump.target))?;
            *via = Some(Box::new(session));
        }
        let Some(outer) = via.as_ref() else {
            unreachable!("it was just opened");
        };
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
        let channel = bounded(TCP_LIMIT * 2, deadline, open)
            .await
            .map_err(|_| SshError::Stalled {
                address: jump.target.place(),
                doing: "opening a way further",
            })?
            .map_err(beyond)?;
        let greeted = self
            .greet(channel.into_stream(), greeting, deadline)
            .await?;
        let mut session = self.handshake(greeted, deadline).await?;
        session.jump = via.take();
        Ok(session)
    }

    /// By way of a command, which has a session to set up before the server can be heard.
    async fn by_command(&self, command: &[String], deadline: Instant) -> Result<Session, SshError> {
        let failed = |problem: String| SshError::Proxy {
            command: command.join(" "),
            problem,
        };
        let (stream, said) = Proxy::start(command).map_err(|error| failed(error.to_string()))?;
        match self.greet(stream, COMMAND_GREETING, deadline).await {
            Ok(greeted) => self.handshake(greeted, deadline).await,
            Err(error) => {
                // Its last words may still be on their way.
                sleep(LAST_WORDS).await;
                Err(match proxy::shown(&said) {
                    said if said.is_empty() => error,
                    said => failed(said),
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
        let stream = bounded(TCP_LIMIT, deadline, connecting)
            .await
            .map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))?
            .map_err(unreachable)?;
        // Without this, each small packet of a command waits for the acknowledgement of the one before.
        stream.set_nodelay(true).map_err(unreachable)?;
        Ok(stream)
    }

    /// The first of a few connections, begun one after another, on which the server speaks.
    ///
    /// QEMU's user network accepts for a guest that has no network yet, and offers the connection to it again after seconds
    /// only: whichever is begun when the guest listens is served at once, and those before it need not be waited for.
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
        let mut more = interval(greeting / PROBES);
        more.tick().await;
        loop {
            tokio::select! {
                biased;
                Some(outcome) = probes.next() => return outcome,
                _ = more.tick(), if probes.len() < PROBES as usize => probes.push(probe()),
            }
        }
    }

    /// Waits for the server to speak.
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
        let address = self.target.place();
        let waiting = Instant::now();
        match bounded(greeting, deadline, wire.greeting()).await {
            Err(_) => {
                let within = waiting.elapsed();
                Err(SshError::Silent { address, within })
            }
            Ok(Err(error)) => Err(SshError::Handshake {
                address,
                source: Box::new(error.into()),
            }),
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
        let address = self.target.place();
        let failed = |source| SshError::Handshake {
            address: address.clone(),
            source: Box::new(source),
        };
        let stalled = |doing| {
            let address = address.clone();
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
            HANDSHAKE_LIMIT,
            deadline,
            client::connect_stream(self.config(), wire, client),
        )
        .await
        .map_err(stalled("exchanging keys"))?
        .map_err(|error| match error {
            ClientError::HostKey(error) => *error,
            ClientError::Protocol(error) => failed(error),
        })?;
        bounded(
            HANDSHAKE_LIMIT,
            deadline,
            log_in(&mut handle, self.target, &self.credentials),
        )
        .await
        .map_err(stalled("checking our key"))??;
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
            window_size: WINDOW,
            maximum_packet_size: PACKET,
            keepalive_interval: Some(KEEPALIVE),
            keepalive_max: KEEPALIVES_LOST,
            preferred: Preferred {
                key: Cow::Owned(self.expected.algorithms(&Preferred::DEFAULT.key)),
                cipher: Cow::Borrowed(&[
                    // The processor computes AES-GCM several times as fast as the others.
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

/// Waits for `future`, at most `limit` and not past `deadline`.
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

/// Answers russh's questions during a session.
pub(super) struct Client {
    expected: Expected,
    farewell: Farewell,
    forwards: Forwards,
}

/// The reason for which the connection ended, once it has.
pub(super) type Farewell = Arc<Mutex<Option<String>>>;

/// What ends a connection while it is set up.
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
