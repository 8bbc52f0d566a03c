//! QEMU's monitor protocol (QMP): one JSON object per line.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::QemuError;
use super::arguments::SSH_PORT;

/// Timeout of a command: a busy emulator on a busy host answers well within this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Message that QEMU sends.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Message {
    Greeting,
    Event(Event),
    /// Answer to a command: its result, or the reason of its failure.
    Answer(Result<Value, String>),
}

/// Event of the guest. Events that karat does not use are [`Self::Other`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// The guest or karat ended the machine.
    Shutdown {
        by_guest: bool,
        reason: String,
    },
    Panicked,
    /// QEMU has paused the guest because the host's disk does not accept its data.
    DiskStuck {
        reason: String,
    },
    Other(String),
}

/// Parses a line of the monitor.
pub(super) fn parse(line: &str) -> Result<Message, QemuError> {
    let value: Value = serde_json::from_str(line)
        .map_err(|error| QemuError::Monitor(format!("{line:?} is not JSON: {error}")))?;
    if value.get("QMP").is_some() {
        return Ok(Message::Greeting);
    }
    if let Some(name) = value["event"].as_str() {
        return Ok(Message::Event(event(name, &value["data"])));
    }
    if let Some(error) = value.get("error") {
        return Ok(Message::Answer(Err(text(&error["desc"]))));
    }
    match value.get("return") {
        Some(value) => Ok(Message::Answer(Ok(value.clone()))),
        None => Err(QemuError::Monitor(format!("unexpected message {line:?}"))),
    }
}

fn event(name: &str, data: &Value) -> Event {
    match name {
        "SHUTDOWN" => Event::Shutdown {
            by_guest: data["guest"].as_bool().unwrap_or(false),
            reason: text(&data["reason"]),
        },
        "GUEST_PANICKED" => Event::Panicked,
        "BLOCK_IO_ERROR" if data["action"] == "stop" => Event::DiskStuck {
            reason: if data["nospace"] == true {
                "the host's disk is full".into()
            } else {
                text(&data["reason"])
            },
        },
        other => Event::Other(other.to_owned()),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("no reason given").to_owned()
}

/// Sender of commands, one at a time. The answers come from the task that reads the monitor.
#[derive(Debug)]
pub(super) struct Commands {
    input: ChildStdin,
    answers: mpsc::UnboundedReceiver<Result<Value, String>>,
}

impl Commands {
    pub fn new(input: ChildStdin, answers: mpsc::UnboundedReceiver<Result<Value, String>>) -> Self {
        Self { input, answers }
    }

    /// Runs a command and returns its result.
    pub async fn run(&mut self, command: &str, arguments: Value) -> Result<Value, QemuError> {
        let failed = |reason: String| QemuError::Monitor(format!("`{command}` failed: {reason}"));
        // The late answer to a command that timed out must not be taken for this command's.
        while self.answers.try_recv().is_ok() {}
        let mut line = json!({"execute": command, "arguments": arguments}).to_string();
        line.push('\n');
        let exchange = async {
            self.input
                .write_all(line.as_bytes())
                .await
                .map_err(|error| failed(error.to_string()))?;
            match self.answers.recv().await {
                Some(answer) => answer.map_err(failed),
                None => Err(failed("QEMU has ended".into())),
            }
        };
        timeout(ANSWER_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err(failed("no answer".into())))
    }
}

/// Finds a host port that leads to the guest's SSH in the answer to `info usernet`.
pub(super) fn forwarded_port(usernet: &str) -> Option<u16> {
    // TCP[HOST_FORWARD]  12       127.0.0.1 45123       10.0.2.15    22       0     0
    usernet
        .lines()
        .filter(|line| line.contains("[HOST_FORWARD]"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| {
            words
                .get(5)
                .is_some_and(|port| *port == SSH_PORT.to_string())
        })
        .find_map(|words| words.get(3)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_monitor_are_understood() {
        let shutdown = |by_guest, reason: &str| {
            Some(Message::Event(Event::Shutdown {
                by_guest,
                reason: reason.into(),
            }))
        };
        for (line, expected) in [
            (
                r#"{"QMP":{"version":{"qemu":{"micro":2}},"capabilities":["oob"]}}"#,
                Some(Message::Greeting),
            ),
            (r#"{"return": {}}"#, Some(Message::Answer(Ok(json!({}))))),
            (
                r#"{"error":{"class":"GenericError","desc":"nope"}}"#,
                Some(Message::Answer(Err("nope".into()))),
            ),
            (
                r#"{"timestamp":{"seconds":1},"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-shutdown"}}"#,
                shutdown(true, "guest-shutdown"),
            ),
            (
                r#"{"event":"SHUTDOWN","data":{"guest":false,"reason":"host-qmp-quit"}}"#,
                shutdown(false, "host-qmp-quit"),
            ),
            (
                r#"{"event":"GUEST_PANICKED","data":{"action":"poweroff"}}"#,
                Some(Message::Event(Event::Panicked)),
            ),
            (
                r#"{"event":"BLOCK_IO_ERROR","data":{"action":"stop","nospace":true,"reason":"x"}}"#,
                Some(Message::Event(Event::DiskStuck {
                    reason: "the host's disk is full".into(),
                })),
            ),
            (
                r#"{"event":"BLOCK_IO_ERROR","data":{"action":"report","nospace":true}}"#,
                Some(Message::Event(Event::Other("BLOCK_IO_ERROR".into()))),
            ),
            (
                r#"{"event":"RESET"}"#,
                Some(Message::Event(Event::Other("RESET".into()))),
            ),
            ("{}", None),
            ("qemu: warning", None),
        ] {
            assert_eq!(parse(line).ok(), expected, "{line}");
        }
    }

    #[test]
    fn the_port_that_qemu_chose_is_found() {
        let usernet = "Hub -1 (net):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
                       TCP[HOST_FORWARD]  12       127.0.0.1  8080       10.0.2.15    80     0     0\r\n  \
                       TCP[HOST_FORWARD]  13       127.0.0.1 37711       10.0.2.15    22     0     0\r\n";
        assert_eq!(forwarded_port(usernet), Some(37711));
        assert_eq!(
            forwarded_port("  UDP[236 sec]  13  10.0.2.15 68 10.0.2.2 67\r\n"),
            None
        );
    }
}
