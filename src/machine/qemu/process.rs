//! QEMU process: started so that it cannot outlive karat, watched, and ended step by step.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::qmp::{self, Commands};
use super::watch::Watcher;
use super::{QemuError, arguments, leftover};
use crate::machine::Death;
use crate::os::child;

/// Time in which QEMU opens its disks and its monitor answers, also on a loaded host.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeouts of the steps before KILL: `quit` and TERM let QEMU close its files.
const QUIT_TIMEOUT: Duration = Duration::from_secs(3);
const TERM_TIMEOUT: Duration = Duration::from_secs(2);

/// Running QEMU. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    commands: Commands,
    /// Set before karat ends the guest: its end is not a death then.
    expected: Arc<AtomicBool>,
    death: watch::Receiver<Option<String>>,
    end: watch::Receiver<Option<End>>,
    _watcher: AbortOnDropHandle<()>,
}

/// End of the process.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub status: ExitStatus,
    /// Last bytes of its stderr.
    pub stderr: String,
    /// The guest itself switched the power off.
    pub powered_off: bool,
}

impl Process {
    /// Starts `program` in the run directory and waits until its monitor answers.
    pub async fn start(program: &str, arguments: &[String], run: &Path) -> Result<Self, QemuError> {
        let spawn = |source| QemuError::Spawn {
            program: program.to_owned(),
            source,
        };
        let mut child = child::command(program)
            .args(arguments)
            .current_dir(run)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(spawn)?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .expect("a child that was not reaped has an id");
        leftover::record(run, pid).map_err(|source| QemuError::Prepare {
            path: run.to_owned(),
            source,
        })?;
        let input = child.stdin.take().expect("it was piped");
        let (answers, answered) = mpsc::unbounded_channel();
        let (greeted, mut greeting) = watch::channel(false);
        let expected = Arc::new(AtomicBool::new(false));
        let (death_sender, death) = watch::channel(None);
        let (end_sender, end) = watch::channel(None);
        let watcher = Watcher {
            child,
            answers,
            greeted,
            expected: Arc::clone(&expected),
            death: death_sender,
            end: end_sender,
            console: run.join(arguments::CONSOLE),
        };
        let mut process = Self {
            pid,
            commands: Commands::new(input, answered),
            expected,
            death,
            end,
            _watcher: AbortOnDropHandle::new(tokio::spawn(watcher.run())),
        };
        let ended = process.end.clone();
        let greet = async {
            tokio::select! {
                _ = greeting.wait_for(|greeted| *greeted) => Ok(()),
                end = wait_for_end(ended) => Err(end),
            }
        };
        match timeout(START_TIMEOUT, greet).await {
            Ok(Ok(())) => {}
            Ok(Err(end)) => return Err(ended_early(program, &end)),
            Err(_) => return Err(QemuError::Monitor("QEMU does not answer".into())),
        }
        match process.commands.run("qmp_capabilities", json!({})).await {
            Ok(_) => Ok(process),
            // QEMU greets before it has set everything up: a later failure is on its stderr.
            Err(error) => match timeout(TERM_TIMEOUT, wait_for_end(process.end.clone())).await {
                Ok(end) => Err(ended_early(program, &end)),
                Err(_) => Err(error),
            },
        }
    }

    pub fn death(&self) -> Death {
        Death::new(self.death.clone())
    }

    /// Returns the host port forwarded to the guest.
    pub async fn forwarded_port(&mut self) -> Result<u16, QemuError> {
        let answer = self
            .commands
            .run(
                "human-monitor-command",
                json!({"command-line": "info usernet"}),
            )
            .await?;
        answer
            .as_str()
            .and_then(qmp::forwarded_port)
            .ok_or_else(|| QemuError::Monitor(format!("no forwarded port in {answer}")))
    }

    /// Marks the end of the guest as wanted.
    pub fn expect_end(&self) {
        self.expected.store(true, Ordering::Relaxed);
    }

    /// Presses the virtual power button.
    pub async fn power_down(&mut self) -> Result<(), QemuError> {
        self.commands
            .run("system_powerdown", json!({}))
            .await
            .map(drop)
    }

    /// Puts an overlay on the guest's disk while the guest stands still. The disk below is not written to from then on.
    pub async fn put_overlay(&mut self, file: &str) -> Result<(), QemuError> {
        const NODE: &str = "split";
        let overlay = arguments::overlay(NODE, file, &Value::Null);
        self.commands.run("blockdev-add", overlay).await?;
        self.commands.run("stop", json!({})).await?;
        let put = json!({"node": arguments::DISK_NODE, "overlay": NODE});
        let done = self.commands.run("blockdev-snapshot", put).await;
        let resumed = self.commands.run("cont", json!({})).await;
        done.and(resumed).map(drop)
    }

    /// Waits until the process has ended; `None` after `within`.
    pub async fn ended(&self, within: Duration) -> Option<End> {
        timeout(within, wait_for_end(self.end.clone())).await.ok()
    }

    /// Ends QEMU without asking the guest: `quit`, then TERM, then KILL.
    pub async fn end_by_force(mut self) {
        self.expect_end();
        let end = self.end.clone();
        let quit = async {
            // The answer does not matter; the end does.
            let _asked = self.commands.run("quit", json!({})).await;
            wait_for_end(end).await
        };
        if timeout(QUIT_TIMEOUT, quit).await.is_ok() {
            return;
        }
        self.signal(Signal::TERM);
        if self.ended(TERM_TIMEOUT).await.is_some() {
            return;
        }
        self.signal(Signal::KILL);
        self.ended(TERM_TIMEOUT).await;
    }

    /// Signals QEMU's process group, unless the process was reaped and its id may be reused.
    fn signal(&self, signal: Signal) {
        if self.end.borrow().is_none() && self.end.has_changed().is_ok() {
            // It may have ended a moment ago, which serves as well.
            let _gone = kill_process_group(self.pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.expect_end();
        self.signal(Signal::KILL);
    }
}

async fn wait_for_end(mut end: watch::Receiver<Option<End>>) -> End {
    let ended = end
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|end| end.clone());
    match ended {
        Some(end) => end,
        // The watcher ends early only when the runtime shuts down.
        None => std::future::pending().await,
    }
}

fn ended_early(program: &str, end: &End) -> QemuError {
    QemuError::EndedEarly {
        program: program.to_owned(),
        status: describe(end.status),
        stderr: end.stderr.clone(),
    }
}

/// Describes an exit status in words that follow the name of the process.
pub(super) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".into(),
    }
}
