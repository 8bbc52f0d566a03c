//! Watch of a QEMU process: its monitor, its stderr, its console and its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::process::{End, describe};
use super::qmp::{self, Event, Message};
use crate::machine::console::{self, PanicWatch};
use crate::os::tail::{Tail, said};

/// Interval between two polls of the console. A death is reported within two seconds; this leaves time for the rest.
const CONSOLE_INTERVAL: Duration = Duration::from_millis(500);
/// Time in which a kernel prints the rest of a panic after its first line.
const PANIC_TEXT_DELAY: Duration = Duration::from_millis(300);
/// Timeout for reading the rest of the pipes of a process that has ended.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// Owner of the process while it runs.
pub(super) struct Watcher {
    pub child: Child,
    pub answers: mpsc::UnboundedSender<Result<Value, String>>,
    pub greeted: watch::Sender<bool>,
    pub expected: Arc<AtomicBool>,
    pub death: watch::Sender<Option<String>>,
    pub end: watch::Sender<Option<End>>,
    pub console: PathBuf,
}

/// Observations since the start.
#[derive(Default)]
struct Seen {
    panicked: bool,
    powered_off: bool,
    stderr: Tail,
}

impl Watcher {
    /// Runs until the process has ended and all its output is read.
    pub async fn run(mut self) {
        let stdout = self.child.stdout.take().expect("it was piped");
        let mut stderr = self.child.stderr.take().expect("it was piped");
        let mut monitor = BufReader::new(stdout).lines();
        let mut panic = PanicWatch::new(self.console.clone());
        let mut poll = interval(CONSOLE_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = Seen::default();
        let (mut monitor_open, mut stderr_open) = (true, true);
        let mut buffer = [0; 1024];
        let status = loop {
            tokio::select! {
                line = monitor.next_line(), if monitor_open => match line {
                    Ok(Some(line)) => self.handle(&line, &mut seen),
                    Ok(None) | Err(_) => monitor_open = false,
                },
                read = stderr.read(&mut buffer), if stderr_open => match read {
                    Ok(0) | Err(_) => stderr_open = false,
                    Ok(length) => seen.stderr.push(&buffer[..length]),
                },
                _ = poll.tick(), if !seen.panicked => if panic.poll() {
                    seen.panicked = true;
                    sleep(PANIC_TEXT_DELAY).await;
                    self.announce("the guest's kernel panicked", &seen);
                },
                status = self.child.wait() => break status,
            }
        };
        let rest = async {
            while let Ok(Some(line)) = monitor.next_line().await {
                self.handle(&line, &mut seen);
            }
        };
        // Processes that inherited the pipes may keep them open; do not wait for them.
        let _all = timeout(DRAIN_TIMEOUT, rest).await;
        let _all = timeout(DRAIN_TIMEOUT, drain(&mut stderr, &mut seen)).await;
        let Ok(status) = status else { return };
        let cause = match (seen.panicked, seen.powered_off) {
            (true, _) => "the guest's kernel panicked".to_owned(),
            (false, true) => "the guest powered off by itself".to_owned(),
            (false, false) => format!("QEMU {}", describe(status)),
        };
        self.announce(&cause, &seen);
        self.end.send_replace(Some(End {
            status,
            stderr: seen.stderr.text(),
            powered_off: seen.powered_off && !seen.panicked,
        }));
    }

    fn handle(&self, line: &str, seen: &mut Seen) {
        match qmp::parse(line) {
            Ok(Message::Greeting) => {
                self.greeted.send_replace(true);
            }
            // The receiver is gone when the machine is being dropped.
            Ok(Message::Answer(answer)) => drop(self.answers.send(answer)),
            Ok(Message::Event(Event::Shutdown { by_guest, reason })) => {
                seen.powered_off = by_guest && reason == "guest-shutdown";
            }
            Ok(Message::Event(Event::Panicked)) => seen.panicked = true,
            Ok(Message::Event(Event::DiskStuck { reason })) => {
                self.announce(
                    &format!("QEMU stopped the guest, because it cannot write its disk: {reason}"),
                    seen,
                );
            }
            Ok(Message::Event(Event::Other(_))) => {}
            // Other text on its stdout is as informative as stderr.
            Err(_) => seen.stderr.push(format!("{line}\n").as_bytes()),
        }
    }

    /// Announces a death, unless the end is wanted or a death was announced before.
    fn announce(&self, cause: &str, seen: &Seen) {
        if self.expected.load(Ordering::Relaxed) {
            return;
        }
        let report = format!(
            "{cause}{}; its console ends with:\n{}",
            said(&seen.stderr.text()),
            console::tail(&self.console)
        );
        self.death.send_if_modified(|death| {
            let first = death.is_none();
            death.get_or_insert(report);
            first
        });
    }
}

async fn drain(stderr: &mut (impl AsyncRead + Unpin), seen: &mut Seen) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        seen.stderr.push(&buffer[..length]);
    }
}
