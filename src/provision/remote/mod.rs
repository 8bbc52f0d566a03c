//! Runs one script in the machine: one SSH session, the script and its environment on stdin, never on a command line.
//!
//! `step.sh` receives them into a directory in memory, runs the script as its own session (so that nothing of it escapes a
//! timeout), and removes everything again, whatever happens. It ends the script when the connection is gone.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use tokio::time::timeout;

use super::{Context, ProvisionError, Tail};
use crate::machine::Machine;
use crate::secret::Secrets;
use crate::ssh::{Session, SshError, quote};

const SESSION: &str = include_str!("session.sh");
const STEP: &str = include_str!("step.sh");
const START: &str = include_str!("start.sh");
const END: &str = include_str!("end.sh");
const ENDED: &str = include_str!("ended.sh");

/// How a line begins that is for karat to read: a record separator. It is not shown, and no part of an error.
pub(super) const DATA: char = '\u{1e}';
/// How many of the last lines an error carries.
const TAIL: usize = 20;
/// Ending a step takes 5 s until KILL and 3 s for its own cleaning up; beyond that the line is dead.
const ENDING: Duration = Duration::from_secs(15);

/// One script to run.
pub(super) struct Run<'a> {
    /// The text, or a program.
    pub script: &'a [u8],
    /// What runs it, from `#!`; an empty name runs the file itself.
    pub interpreter: Interpreter,
    /// Shell lines before its environment.
    pub prelude: String,
    /// Its environment, besides the login's.
    pub environment: Vec<(String, String)>,
    /// Who runs it.
    pub user: &'a str,
    /// Where; `None` is the user's home.
    pub directory: Option<&'a str>,
    /// Longest time it may take; it is ended then.
    pub limit: Duration,
    /// It may go on when the connection drops.
    pub survives: bool,
}

/// What runs a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Interpreter {
    /// Path of the program.
    pub program: String,
    /// Its one argument, as the kernel would pass it.
    pub argument: String,
}

/// How a script ended.
pub(super) struct Ended {
    /// Its exit code.
    pub code: Option<u32>,
    /// The end of what it wrote.
    pub output: Option<Tail>,
}

/// How the run of a script came out.
pub(super) enum Outcome {
    /// It ran to its end.
    Ended(Ended),
    /// The connection dropped; the token finds the script again.
    Dropped(SshError, Token),
}

/// The name of one run: of its directory in the machine and of the lines that `step.sh` itself writes.
pub(super) struct Token(String);

impl Token {
    fn new() -> Self {
        // Unique, not secret: the standard library's hash keys are random.
        let random = || RandomState::new().build_hasher().finish();
        Self(format!("{:016x}", random()))
    }
}

/// Runs a script to its end, its time limit, or the end of the connection.
pub(super) async fn run<M: Machine>(
    machine: &M,
    run: &Run<'_>,
    cx: &Context<'_>,
    mut line: impl FnMut(&str),
) -> Result<Outcome, ProvisionError> {
    let start = format!("{}{}{START}", run.prelude, exports(&run.environment)?);
    let stdin = [run.script, start.as_bytes()].concat();
    let token = Token::new();
    let command = command(run, &token, start.len());
    let mut tail = VecDeque::with_capacity(TAIL);
    let mut refusal = None;
    let result = {
        let mut receive = |text: &str| {
            if let Some(said) = text.strip_prefix(&token.0) {
                refusal = Some(said.trim().to_owned());
                return;
            }
            line(text);
            if text.starts_with(DATA) {
                return;
            }
            cx.ui.output(text);
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(text.to_owned());
        };
        timeout(
            run.limit,
            machine.session().exec(&command, &stdin, &mut receive),
        )
        .await
    };
    let output = closing(tail, cx.secrets);
    match result {
        Err(_) => {
            end(machine.session(), &token).await;
            Err(ProvisionError::Timeout {
                after: run.limit,
                output,
            })
        }
        Ok(Err(error @ SshError::Disconnected { .. })) => Ok(Outcome::Dropped(error, token)),
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(exit)) => {
            if exit.code.is_none() {
                // A signal ended step.sh itself (memory ran out, perhaps), so nothing has been cleaned up.
                end(machine.session(), &token).await;
            }
            refusal.map_or(
                Ok(Outcome::Ended(Ended {
                    code: exit.code,
                    output,
                })),
                |said| Err(refused(&said)),
            )
        }
    }
}

/// Waits, on a new connection, for the end of a script whose connection dropped. `None` when a reboot ended it.
pub(super) async fn ended(session: &Session, token: &Token) -> Result<Option<u32>, SshError> {
    let said = session.output(&sh(ENDED, &[&token.0])).await?;
    Ok(said.trim().parse().ok())
}

/// A remote command that runs `script` with arguments, all quoted.
pub(super) fn sh(script: &str, arguments: &[&str]) -> String {
    let words = ["sh", "-c", script, "karat"]
        .into_iter()
        .chain(arguments.iter().copied());
    format!("exec {}", words.map(quote).collect::<Vec<_>>().join(" "))
}

fn command(run: &Run<'_>, token: &Token, start: usize) -> String {
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

/// Ends what is left of a run. Best effort: when the line is dead too, `step.sh` notices that by itself.
async fn end(session: &Session, token: &Token) {
    let command = sh(&format!("{SESSION}{END}"), &[&token.0]);
    let _ = timeout(ENDING, session.exec(&command, &[], &mut |_| ())).await;
}

/// `export` lines for a shell, each value byte for byte.
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

/// What `step.sh` or `start.sh` said instead of running the script.
fn refused(said: &str) -> ProvisionError {
    let (what, name) = said.split_once(' ').unwrap_or((said, ""));
    match what {
        "interpreter" => ProvisionError::Interpreter(name.to_owned()),
        "user" => ProvisionError::User(name.to_owned()),
        "directory" => ProvisionError::WorkingDirectory(name.to_owned()),
        _ => ProvisionError::Place(format!("no directory could be made in {name}")),
    }
}

/// The last lines, with the names of secrets in place of their values.
fn closing(lines: VecDeque<String>, secrets: &Secrets) -> Option<Tail> {
    let hide = |line: String| {
        let values = secrets
            .iter()
            .flat_map(|(name, value)| value.lines().map(move |part| (name, part)));
        // Shorter values would hide half of the text and no secret.
        values
            .filter(|(_, part)| part.len() >= 4)
            .fold(line, |line, (name, part)| {
                line.replace(part, &format!("<secret {name}>"))
            })
    };
    (!lines.is_empty()).then(|| Tail(lines.into_iter().map(hide).collect()))
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

    #[test]
    fn the_end_of_the_output_holds_no_secret() {
        let mut secrets = Secrets::default();
        secrets.insert("token".to_owned(), "hunter2\nsecond line".to_owned().into());
        let lines = VecDeque::from(["is hunter2".to_owned(), "the second line".to_owned()]);
        let hidden = Tail(vec![
            "is <secret token>".to_owned(),
            "the <secret token>".to_owned(),
        ]);
        assert_eq!(closing(lines, &secrets), Some(hidden));
        assert_eq!(closing(VecDeque::new(), &secrets), None);
    }
}
