//! Runs one script in the machine. The script and its environment arrive on stdin, never on a command line.
//!
//! `step.sh` stores both in an in-memory directory, runs the script in its own session, so that none of its processes escapes a
//! timeout, and always removes the directory. It terminates the script if the connection drops.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use tokio::time::timeout;

use super::{Context, ProvisionError, Tail};
use crate::machine::Machine;
use crate::secret::Redactor;
use crate::ssh::{Session, SshError, quote};

mod line_pieces;

use line_pieces::LinePieces;

const SESSION: &str = include_str!("session.sh");
const STEP: &str = include_str!("step.sh");
const START: &str = include_str!("start.sh");
const END: &str = include_str!("end.sh");
const ENDED: &str = include_str!("ended.sh");

/// Prefix of output lines that are data for karat (a record separator). They are neither shown nor part of errors.
pub(super) const DATA: char = '\u{1e}';
/// Errors carry this many of the last output lines.
const TAIL_LINES: usize = 20;
/// Terminating a step takes up to 5 s until KILL and 3 s of cleanup; beyond that the connection is dead.
const TERMINATION_TIMEOUT: Duration = Duration::from_secs(15);

/// A script and its settings.
pub(super) struct RemoteScript<'a> {
    /// Text of the script, or an executable.
    pub script: &'a [u8],
    pub interpreter: Interpreter,
    /// Shell lines that run before the environment is set.
    pub prelude: String,
    /// Variables added to those of the login.
    pub environment: Vec<(String, String)>,
    pub user: &'a str,
    /// Working directory; `None` is the user's home.
    pub directory: Option<&'a str>,
    /// The script is terminated after this time.
    pub limit: Duration,
    /// Lets the script continue if the connection drops.
    pub survives: bool,
}

/// Interpreter of a script, from its `#!` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Interpreter {
    /// Path of the program; an empty path runs the script itself.
    pub program: String,
    /// The single argument that the kernel would pass.
    pub argument: String,
}

/// Exit code of a script and the end of its output.
pub(super) struct Ended {
    pub code: Option<u32>,
    /// Number of the line that the script ran last, if it is marked (see `failed_line`).
    pub line: Option<usize>,
    pub output: Option<Tail>,
}

/// Result of running a script.
pub(super) enum Outcome {
    /// The script ran to its end.
    Ended(Ended),
    /// The connection dropped. The token identifies the script on a new connection.
    Dropped(SshError, Token),
}

/// Identifies one run: names its directory in the machine and marks the lines that `step.sh` itself prints.
pub(super) struct Token(String);

impl Token {
    fn new() -> Self {
        // Unique, not secret: the standard library's hash keys are random.
        let random = || RandomState::new().build_hasher().finish();
        Self(format!("{:016x}", random()))
    }
}

/// Runs a script until it exits, times out, or the connection drops.
pub(super) async fn run<M: Machine>(
    machine: &M,
    run: &RemoteScript<'_>,
    cx: &Context<'_>,
    mut line: impl FnMut(&str),
) -> Result<Outcome, ProvisionError> {
    let start = format!("{}{}{START}", run.prelude, exports(&run.environment)?);
    let stdin = [run.script, start.as_bytes()].concat();
    let token = Token::new();
    let command = command(run, &token, start.len());
    let mut tail = VecDeque::with_capacity(TAIL_LINES);
    let mut show = |text: &str| {
        cx.ui.output(text);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(text.to_owned());
    };
    let mut pieces = LinePieces::new(Redactor::new(cx.secrets));
    let (mut refusal, mut last_line) = (None, None);
    let result = {
        let mut receive = |text: &str| {
            if let Some(said) = text.strip_prefix(&token.0) {
                match said.trim().strip_prefix("line ") {
                    Some(number) => last_line = number.parse().ok(),
                    None => refusal = Some(said.trim().to_owned()),
                }
                return;
            }
            line(text);
            if !text.starts_with(DATA) {
                pieces.push(text, &mut show);
            }
        };
        timeout(
            run.limit,
            machine.session().exec(&command, &stdin, &mut receive),
        )
        .await
    };
    pieces.finish(&mut show);
    let output = (!tail.is_empty()).then(|| Tail(tail.into()));
    match result {
        Err(_) => {
            terminate(machine.session(), &token).await;
            Err(ProvisionError::Timeout {
                after: run.limit,
                output,
            })
        }
        Ok(Err(error @ SshError::Disconnected { .. })) => Ok(Outcome::Dropped(error, token)),
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(exit)) => {
            if exit.code.is_none() {
                // A signal killed step.sh itself, perhaps for lack of memory, so nothing has been cleaned up.
                terminate(machine.session(), &token).await;
            }
            refusal.map_or(
                Ok(Outcome::Ended(Ended {
                    code: exit.code,
                    line: last_line,
                    output,
                })),
                |said| Err(refused(&said)),
            )
        }
    }
}

/// Waits on a new connection for a script whose connection dropped. Returns `None` if a reboot ended it.
pub(super) async fn wait_for_exit(
    session: &Session,
    token: &Token,
) -> Result<Option<u32>, SshError> {
    let said = session.output(&sh(ENDED, &[&token.0])).await?;
    Ok(said.trim().parse().ok())
}

/// Returns a remote command that runs `script` with arguments, all quoted.
pub(super) fn sh(script: &str, arguments: &[&str]) -> String {
    let words = ["sh", "-c", script, "karat"]
        .into_iter()
        .chain(arguments.iter().copied());
    format!("exec {}", words.map(quote).collect::<Vec<_>>().join(" "))
}

fn command(run: &RemoteScript<'_>, token: &Token, start: usize) -> String {
    let (script, start) = (run.script.len().to_string(), start.to_string());
    let Interpreter { program, argument } = &run.interpreter;
    let on_drop = if run.survives { "keep" } else { "end" };
    let arguments = [
        &token.0,
        &script,
        &start,
        run.user,
        run.directory.unwrap_or_default(),
        on_drop,
        program,
        argument,
    ];
    sh(&format!("{SESSION}{STEP}"), &arguments)
}

/// Terminates what is left of a run. Best effort: `step.sh` itself notices a dead connection.
async fn terminate(session: &Session, token: &Token) {
    let command = sh(&format!("{SESSION}{END}"), &[&token.0]);
    let _ = timeout(
        TERMINATION_TIMEOUT,
        session.exec(&command, &[], &mut |_| ()),
    )
    .await;
}

/// Formats `export` lines, with each value quoted.
fn exports(environment: &[(String, String)]) -> Result<String, ProvisionError> {
    let line = |(name, value): &(String, String)| {
        let bad = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || name.contains(bad) || name.starts_with(|c: char| c.is_ascii_digit()) {
            Err(ProvisionError::VariableName(name.clone()))
        } else if value.contains('\0') {
            Err(ProvisionError::VariableValue(name.clone()))
        } else {
            Ok(format!("export {name}={}\n", quote(value)))
        }
    };
    environment.iter().map(line).collect()
}

/// Maps a refusal of `step.sh` or `start.sh` to an error.
fn refused(said: &str) -> ProvisionError {
    let (what, name) = said.split_once(' ').unwrap_or((said, ""));
    match what {
        "interpreter" => ProvisionError::Interpreter(name.to_owned()),
        "user" => ProvisionError::User(name.to_owned()),
        "directory" => ProvisionError::WorkingDirectory(name.to_owned()),
        _ => ProvisionError::Place(format!("cannot create a directory in {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_environment_variables_are_checked() {
        for (name, good) in [
            ("a", true),
            ("_A9", true),
            ("", false),
            ("=bad", false),
            ("a b", false),
            ("9a", false),
            ("a-b", false),
        ] {
            assert_eq!(
                exports(&[(name.to_owned(), "x".to_owned())]).is_ok(),
                good,
                "name {name:?}"
            );
        }
        assert!(matches!(
            exports(&[("a".to_owned(), "x\0y".to_owned())]),
            Err(ProvisionError::VariableValue(_))
        ));
    }
}
