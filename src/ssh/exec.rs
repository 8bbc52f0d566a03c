//! Commands on the far side: one session each.

use std::fmt;
use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::timeout;

use super::lines::Lines;
use super::{Exit, Session, SshError, quote};

/// stdin goes out in pieces of this size.
const PIECE: usize = 256 << 10;
/// A daemon started by a command keeps its output open; the command is over this long after it has exited and all is silent.
const SILENCE_AFTER_EXIT: Duration = Duration::from_secs(2);
/// The end of stderr that an error carries.
const STDERR_KEPT: usize = 4 << 10;
/// SSH's number for stderr.
const STDERR: u32 = 1;

/// Where output came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Stdout,
    Stderr,
}

impl Session {
    /// Runs a command as root (through `sudo -n` when the login is not root), feeds it `stdin`, and hands each line of stdout and
    /// stderr to `line` as it comes.
    ///
    /// # Errors
    /// The connection dropped. A command that ran and failed is an [`Exit`].
    pub async fn exec(
        &self,
        command: &str,
        stdin: &[u8],
        line: &mut dyn FnMut(&str),
    ) -> Result<Exit, SshError> {
        let mut stdout = Lines::default();
        let mut stderr = Lines::default();
        let exit = self
            .converse(
                command,
                |input| send_all(input, stdin),
                async |source, bytes: &[u8]| {
                    match source {
                        Source::Stdout => stdout.push(bytes, line),
                        Source::Stderr => stderr.push(bytes, line),
                    }
                    Ok(())
                },
            )
            .await;
        stdout.finish(line);
        stderr.finish(line);
        exit
    }

    /// Runs a command as root and returns its stdout; any exit code but 0 is an error with the end of stderr.
    ///
    /// # Errors
    /// As said, and when the connection drops.
    pub async fn output(&self, command: &str) -> Result<String, SshError> {
        let mut stdout = Vec::new();
        let mut stderr = Tail::default();
        let exit = self
            .converse(
                command,
                |input| send_all(input, &[]),
                async |source, bytes: &[u8]| {
                    match source {
                        Source::Stdout => stdout.extend_from_slice(bytes),
                        Source::Stderr => stderr.push(bytes),
                    }
                    Ok(())
                },
            )
            .await?;
        if !exit.is_success() {
            return Err(SshError::Failed {
                command: command.to_owned(),
                exit,
                stderr: stderr.text(),
            });
        }
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    /// Runs a command, lets `feed` write its stdin, and hands on its output as it comes.
    ///
    /// An error of `feed` or `output` ends the command; a command that ends early ends `feed`.
    pub(super) async fn converse<'a, Feed, Feeding>(
        &self,
        command: &str,
        feed: Feed,
        mut output: impl AsyncFnMut(Source, &[u8]) -> Result<(), SshError>,
    ) -> Result<Exit, SshError>
    where
        Feed: FnOnce(Input) -> Feeding,
        Feeding: Future<Output = Result<(), FeedError>> + 'a,
    {
        let (mut messages, input) = self.start(command).await?;
        let feeding = feed(input);
        tokio::pin!(feeding);
        let mut all_sent = false;
        let mut exit = None;
        loop {
            let limit = if exit.is_some() {
                SILENCE_AFTER_EXIT
            } else {
                Duration::MAX
            };
            let message = tokio::select! {
                message = timeout(limit, messages.wait()) => message,
                result = &mut feeding, if !all_sent => {
                    all_sent = true;
                    match result {
                        // A closed channel says why in the messages that are still to come.
                        Ok(()) | Err(FeedError::Closed) => continue,
                        Err(FeedError::Local(error)) => return Err(error),
                    }
                }
            };
            let Ok(Some(message)) = message else {
                break;
            };
            match message {
                ChannelMsg::Data { data } => output(Source::Stdout, &data).await?,
                ChannelMsg::ExtendedData { data, ext: STDERR } => {
                    output(Source::Stderr, &data).await?;
                }
                ChannelMsg::ExitStatus { exit_status } => exit = Some(Exit::code(exit_status)),
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    exit = Some(Exit::signal(&signal_name));
                }
                ChannelMsg::Failure => {
                    return Err(self.not_started("it does not allow commands"));
                }
                _ => {}
            }
        }
        exit.ok_or_else(|| self.disconnected())
    }

    /// Opens a channel and asks for the command to be run in it.
    async fn start(&self, command: &str) -> Result<(ChannelReadHalf, Input), SshError> {
        let channel = self.handle.channel_open_session().await;
        let (messages, writer) = channel
            .map_err(|error| match error {
                russh::Error::ChannelOpenFailure(reason) => self.not_started(reason.description()),
                _ => self.disconnected(),
            })?
            .split();
        let input = Input(Some(writer));
        let asked = input.writer().exec(true, as_root(command, self.is_root));
        asked.await.map_err(|_| self.disconnected())?;
        Ok((messages, input))
    }

    fn not_started(&self, reason: &str) -> SshError {
        SshError::NotStarted {
            login: self.login.clone(),
            reason: reason.to_owned(),
        }
    }

    /// The connection is gone; tells why as far as that is known.
    pub(crate) fn disconnected(&self) -> SshError {
        let reason = self
            .farewell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        SshError::Disconnected {
            login: self.login.clone(),
            reason: reason.unwrap_or_else(|| "the server closed it".to_owned()),
        }
    }
}

/// The command line for the far side, whatever login shell it has.
fn as_root(command: &str, is_root: bool) -> String {
    let sudo = if is_root { "" } else { "sudo -n -- " };
    format!("exec {sudo}/bin/sh -c {}", quote(command))
}

/// stdin of a remote command. Dropping it closes the channel, so that a command given up is told.
pub(super) struct Input(Option<ChannelWriteHalf<Msg>>);

/// Why feeding a command ended early.
pub(super) enum FeedError {
    /// The command or the connection is gone.
    Closed,
    /// What was to be sent cannot be had.
    Local(SshError),
}

impl Input {
    fn writer(&self) -> &ChannelWriteHalf<Msg> {
        self.0.as_ref().expect("taken only by drop")
    }

    pub(super) async fn send(&self, bytes: Vec<u8>) -> Result<(), FeedError> {
        self.writer()
            .data_bytes(bytes)
            .await
            .map_err(|_| FeedError::Closed)
    }

    /// Ends stdin and keeps the channel until the command has ended.
    pub(super) async fn end(self) -> Result<(), FeedError> {
        self.writer().eof().await.map_err(|_| FeedError::Closed)?;
        std::future::pending().await
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let (Some(writer), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { writer.close().await });
        }
    }
}

async fn send_all(input: Input, bytes: &[u8]) -> Result<(), FeedError> {
    for piece in bytes.chunks(PIECE) {
        input.send(piece.to_vec()).await?;
    }
    input.end().await
}

/// What a blocking task returned. A panic in it goes on here.
pub(super) async fn joined<T>(task: tokio::task::JoinHandle<T>) -> T {
    task.await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The end of a stream.
#[derive(Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let excess = self.0.len().saturating_sub(STDERR_KEPT);
        self.0.drain(..excess);
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().to_owned()
    }
}

impl Exit {
    fn code(code: u32) -> Self {
        Self {
            code: Some(code),
            signal: None,
        }
    }

    fn signal(signal: &russh::Sig) -> Self {
        let name = match signal {
            russh::Sig::Custom(name) => name.clone(),
            known => format!("{known:?}"),
        };
        Self {
            code: None,
            signal: Some(name),
        }
    }

    /// Whether the command ended with exit code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, &self.signal) {
            (Some(code), _) => write!(f, "ended with exit code {code}"),
            (None, Some(signal)) => write!(f, "was ended by signal {signal}"),
            (None, None) => f.write_str("ended without saying how"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_is_not_root_becomes_root_without_being_asked() {
        assert_eq!(
            as_root("id -u; exit 3", true),
            "exec /bin/sh -c 'id -u; exit 3'"
        );
        assert_eq!(
            as_root("id -u", false),
            "exec sudo -n -- /bin/sh -c 'id -u'"
        );
    }
}
