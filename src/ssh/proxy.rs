//! Connection through a command's stdin and stdout, like OpenSSH's `ProxyCommand`.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use crate::os::child;
use crate::os::tail::Tail;

/// The running command. Dropping it kills the command and its child processes.
pub(super) struct Proxy {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

/// End of the command's stderr.
pub(super) type Stderr = Arc<Mutex<Tail>>;

impl Proxy {
    pub(super) fn start(command: &[String]) -> io::Result<(Self, Stderr)> {
        let (program, arguments) = command.split_first().ok_or(ErrorKind::InvalidInput)?;
        let mut child = child::command(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(error)) = pipes else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        let stderr = Stderr::default();
        tokio::spawn(collect_stderr(error, Arc::clone(&stderr)));
        let proxy = Self {
            child,
            input,
            output,
        };
        Ok((proxy, stderr))
    }
}

/// Reads stderr to its end: the command would block on a full pipe.
async fn collect_stderr(mut error: ChildStderr, kept: Stderr) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = error.read(&mut buffer).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(&buffer[..count]);
    }
}

/// Joins the collected stderr into one line.
pub(super) fn one_line(stderr: &Stderr) -> String {
    let text = stderr.lock().unwrap_or_else(PoisonError::into_inner).text();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The whole group: the AWS CLI runs the plugin that holds the session as its own child.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

impl AsyncRead for Proxy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl AsyncWrite for Proxy {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.input).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_end_of_stderr_is_kept() {
        let (mut proxy, stderr) = Proxy::start(&shell("echo no >&2; exec cat")).unwrap();
        proxy.write_all(b"SSH-2.0-x").await.unwrap();
        let mut answer = [0; 9];
        proxy.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"SSH-2.0-x");
        for _ in 0..100 {
            if one_line(&stderr) == "no" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("unexpected stderr {:?}", one_line(&stderr));
    }

    #[tokio::test]
    async fn a_dropped_command_takes_its_children_with_it() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("pid");
        let script = format!("sleep 60 & echo $! >{}; echo; wait", file.display());
        let (mut proxy, _) = Proxy::start(&shell(&script)).unwrap();
        proxy.read_exact(&mut [0]).await.unwrap();
        let pid = std::fs::read_to_string(&file).unwrap();
        drop(proxy);
        for _ in 0..100 {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            if stat.map_or(true, |stat| stat.contains(") Z ")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("process {pid} is left over");
    }
}
