//! Serial console of a guest on the user's terminal.

use std::io;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::cli::CommandError;
use crate::cli::shared::stdout::Stdout;

/// Key that leaves the console: Ctrl-], as in telnet and `virsh console`.
const LEAVE: u8 = 0x1d;
const BUFFER_BYTES: usize = 4096;

/// Reason why an attached console was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// The user pressed [`LEAVE`].
    ByKey,
    /// The guest ended.
    ByGuest,
    Cancelled,
}

/// Terminal at stdin that passes every key to the guest. Dropping it restores the terminal.
struct RawTerminal(Termios);

impl RawTerminal {
    /// Returns `None` if stdin is not a terminal.
    fn enter() -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !isatty(&stdin) {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Fails only if the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Copies between stdin, stdout and the console, until the user leaves, the guest ends or the run is cancelled.
pub(super) async fn attach(
    console: UnixStream,
    cancel: &CancellationToken,
    out: &mut Stdout,
) -> Result<Left, CommandError> {
    let failed = |error| CommandError::io("cannot use the terminal", &error);
    let _raw = RawTerminal::enter().map_err(failed)?;
    let (mut from_guest, to_guest) = console.into_split();
    let output = async {
        let mut buffer = [0; BUFFER_BYTES];
        // A reset connection is an end, too.
        while let Ok(length @ 1..) = from_guest.read(&mut buffer).await {
            out.bytes(&buffer[..length])?;
        }
        Ok::<_, CommandError>(Left::ByGuest)
    };
    tokio::select! {
        () = cancel.cancelled() => Ok(Left::Cancelled),
        left = output => left,
        left = send_keys(tokio::io::stdin(), to_guest) => left.map_err(failed),
    }
}

/// Sends stdin to the guest until [`LEAVE`]. At the end of stdin, the console stays attached.
async fn send_keys(
    mut keys: impl tokio::io::AsyncRead + Unpin,
    mut guest: impl AsyncWrite + Unpin,
) -> io::Result<Left> {
    let mut buffer = [0; BUFFER_BYTES];
    loop {
        let length = keys.read(&mut buffer).await?;
        let typed = &buffer[..length];
        let leave = typed.iter().position(|key| *key == LEAVE);
        // A guest that has ended is noticed by the reader of its output.
        let _sent = guest.write_all(&typed[..leave.unwrap_or(length)]).await;
        match (leave, length) {
            (Some(_), _) => return Ok(Left::ByKey),
            (None, 0) => std::future::pending().await,
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn keys_are_sent_up_to_the_one_that_leaves() {
        let mut guest = Vec::new();
        let left = send_keys(&b"uname\r\x1dlogout"[..], &mut guest).await;
        assert_eq!(left.unwrap(), Left::ByKey);
        assert_eq!(guest, b"uname\r");
    }

    #[tokio::test]
    async fn the_end_of_stdin_does_not_leave() {
        let mut guest = Vec::new();
        let keys = send_keys(&b"uname\r"[..], &mut guest);
        let left = timeout(Duration::from_millis(50), keys).await;
        assert!(left.is_err());
        assert_eq!(guest, b"uname\r");
    }
}
