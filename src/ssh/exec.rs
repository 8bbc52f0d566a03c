//! Runs remote commands, each in its own channel.

use std::fmt;
use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::time::timeout;

use super::lines::Lines;
use super::{Exit, Session, SshError, quote};
use crate::os::tail::Tail;

/// Size of the chunks in which stdin is sent.
const STDIN_CHUNK_BYTES: usize = 256 << 10;
/// A daemon that a command started may keep its output open. The command counts as done after this much silence since its exit.
const SILENCE_AFTER_EXIT: Duration = Duration::from_secs(2);
/// SSH's data type code for stderr (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// Output stream of a remote command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OutputStream {
    Stdout,
    Stderr,
}

impl Session {
    /// Runs a command as root (through `sudo -n` unless the login is root), sends it `stdin`, and passes each line of stdout and
    /// stderr to `line` as it arrives.
    ///
    /// # Errors
    /// Fails if the connection drops. A command that ran and failed returns its [`Exit`].
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
                        OutputStream::Stdout => stdout.push(bytes, line),
                        OutputStream::Stderr => stderr.push(bytes, line),
                    }
                    Ok(())
                },
            )
            .await;
        stdout.finish(line);
        stderr.finish(line);
        exit
    }

    /// Runs a command as root and returns its stdout.
    ///
    /// # Errors
    /// Fails on a nonzero exit code, with the end of stderr, and if the connection drops.
    pub async fn output(&self, command: &str) -> Result<String, SshError> {
        let mut stdout = Vec::new();
        let mut stderr = Tail::default();
        let exit = self
            .converse(
                command,
                |input| send_all(input, &[]),
                async |source, bytes: &[u8]| {
                    match source {
                        OutputStream::Stdout => stdout.extend_from_slice(bytes),
                        OutputStream::Stderr => stderr.push(bytes),
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

    /// Runs a command while `feed` writes its stdin and `output` takes its output.
    ///
    /// An error of `feed` or `output` ends the command. A command that exits early cancels `feed`.
    pub(super) async fn converse<'a, Feed, Feeding>(
        &self,
        command: &str,
        feed: Feed,
        mut output: impl AsyncFnMut(OutputStream, &[u8]) -> Result<(), SshError>,
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
                        // The messages still to come tell why the channel was closed.
                        Ok(()) | Err(FeedError::Closed) => continue,
                        Err(FeedError::Local(error)) => return Err(error),
                    }
                }
            };
            let Ok(Some(message)) = message else {
                break;
            };
            match message {
                ChannelMsg::Data { data } => output(OutputStream::Stdout, &data).await?,
                ChannelMsg::ExtendedData { data, ext: STDERR } => {
                    output(OutputStream::Stderr, &data).await?;
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

    /// Opens a channel and starts the command in it.
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

    /// Returns the error for a lost connection, with the reason if it is known.
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

/// Returns a command line that works in any login shell.
fn as_root(command: &str, is_root: bool) -> String {
    let sudo = if is_root { "" } else { "sudo -n -- " };
    format!("exec {sudo}/bin/sh -c {}", quote(command))
}

/// Stdin of a remote command. Dropping it closes the channel, which tells an abandoned command to end.
pub(super) struct Input(Option<ChannelWriteHalf<Msg>>);

/// Reason for an early end of stdin.
pub(super) enum FeedError {
    /// The command has exited or the connection was lost.
    Closed,
    /// The local data could not be read.
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

    /// Sends end-of-file and keeps the channel open until the command exits.
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
    for piece in bytes.chunks(STDIN_CHUNK_BYTES) {
        input.send(piece.to_vec()).await?;
    }
    input.end().await
}

/// Waits for a blocking task and propagates its panic.
pub(super) async fn joined<T>(task: tokio::task::JoinHandle<T>) -> T {
    task.await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
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

    /// Returns true for exit code 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, &self.signal) {
            (Some(code), _) => write!(f, "exited with code {code}"),
            (None, Some(signal)) => write!(f, "was killed by signal {signal}"),
            (None, None) => f.write_str("ended without an exit status"),
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
