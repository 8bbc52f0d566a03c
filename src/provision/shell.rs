//! The `shell` step runs a script of the template in the machine.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::remote::{self, Ended, Interpreter, Outcome, RemoteScript};
use super::{Context, FailedLine, ProvisionError, failed_line, reboot};
use crate::machine::Machine;
use crate::network::EgressProxy;
use crate::plan::{Script, Shell, Step};
use crate::secret::Redactor;

/// Exit codes of a shell that a reboot terminated (HUP, TERM).
const TERMINATED: [u32; 2] = [129, 143];
/// After a `reboot` command, a machine drops the connection or reports its shutdown within this time.
const REBOOT_GRACE: Duration = Duration::from_millis(300);

/// Runs the step's script with `more` added to its environment.
pub(super) async fn run<M: Machine>(
    machine: &mut M,
    step: &Step,
    shell: &Shell,
    more: &[(&str, &str)],
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    let begun = Instant::now();
    let script = read(&shell.script, cx).await?;
    let interpreter = interpreter(&script, &describe(&shell.script))?;
    let text = std::str::from_utf8(&script)
        .ok()
        .filter(|_| interpreter == default_interpreter());
    let marked = text.map(failed_line::marked);
    let run = RemoteScript {
        interpreter,
        script: marked.as_ref().map_or(&script[..], String::as_bytes),
        prelude: machine
            .egress()
            .map(EgressProxy::prelude)
            .unwrap_or_default(),
        environment: environment(step, shell, more, cx),
        user: &shell.user,
        directory: shell.working_directory.as_deref(),
        limit: step.timeout,
        survives: shell.expect_disconnect,
    };
    let outcome = remote::run(machine, &run, cx, |_| ()).await?;
    let left = || step.timeout.saturating_sub(begun.elapsed());
    let accept = |ended: Ended| match ended.code {
        Some(code) if shell.exit_codes.contains(&code) => Ok(()),
        code => {
            let number = text.and_then(|text| failed_line::number(text, &ended));
            let line = number.and_then(|number| failed(&shell.script, text?, number, cx));
            Err(ProvisionError::Exit {
                code,
                line,
                output: ended.output,
            })
        }
    };
    match outcome {
        Outcome::Dropped(source, _) if !shell.expect_disconnect => Err(ProvisionError::Dropped {
            source: Box::new(source),
        }),
        Outcome::Dropped(_, token) => {
            reboot::wait_until_back(machine, left(), |_| true).await?;
            let exit = remote::wait_for_exit(machine.session(), &token);
            let late = |_| ProvisionError::Timeout {
                after: step.timeout,
                output: None,
            };
            match timeout(left(), exit).await.map_err(late)?? {
                Some(code) if !TERMINATED.contains(&code) => accept(Ended {
                    code: Some(code),
                    line: None,
                    output: None,
                }),
                _ => Ok(()),
            }
        }
        Outcome::Ended(ended) if shell.expect_disconnect => {
            // `reboot` returns at once, and the connection drops a moment later.
            sleep(REBOOT_GRACE).await;
            reboot::wait_until_back(machine, left(), |_| true).await?;
            match ended.code {
                Some(code) if TERMINATED.contains(&code) => Ok(()),
                None => Ok(()),
                Some(_) => accept(ended),
            }
        }
        Outcome::Ended(ended) => accept(ended),
    }
}

async fn read(script: &Script, cx: &Context<'_>) -> Result<Vec<u8>, ProvisionError> {
    match script {
        Script::Path(path) => {
            tokio::fs::read(path)
                .await
                .map_err(|source| ProvisionError::Script {
                    path: path.clone(),
                    source,
                })
        }
        Script::Inline(lines) => {
            let lines: Vec<_> = lines.iter().map(|line| line.reveal(cx.secrets)).collect();
            Ok((lines.join("\n") + "\n").into_bytes())
        }
    }
}

fn describe(script: &Script) -> String {
    match script {
        Script::Path(path) => format!("the script {}", path.display()),
        Script::Inline(_) => "the inline script".to_owned(),
    }
}

/// Returns the interpreter that the kernel would use; `/bin/sh -eu` for a script without `#!`.
///
/// Refuses a first line that ends with CR: such a script was saved on Windows, and running it fails with a misleading "not
/// found". A CR further down may be intended.
fn interpreter(script: &[u8], name: &str) -> Result<Interpreter, ProvisionError> {
    let interpreter = |program: &str, argument: &str| Interpreter {
        program: program.to_owned(),
        argument: argument.to_owned(),
    };
    if script.starts_with(b"\x7fELF") {
        return Ok(interpreter("", ""));
    }
    let first = script
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    if first.ends_with(b"\r") {
        return Err(ProvisionError::LineEndings(name.to_owned()));
    }
    let Some(line) = first.strip_prefix(b"#!") else {
        return Ok(default_interpreter());
    };
    let line = String::from_utf8_lossy(line);
    let (program, argument) = line
        .trim()
        .split_once([' ', '\t'])
        .unwrap_or((line.trim(), ""));
    if program.is_empty() {
        Ok(default_interpreter())
    } else {
        Ok(interpreter(program, argument.trim()))
    }
}

fn default_interpreter() -> Interpreter {
    Interpreter {
        program: "/bin/sh".to_owned(),
        argument: "-eu".to_owned(),
    }
}

/// Returns a line of a script by its number, for an error.
fn failed(script: &Script, text: &str, number: usize, cx: &Context<'_>) -> Option<FailedLine> {
    let line = text.lines().nth(number - 1)?;
    let mut left = number - 1;
    let inline = match script {
        Script::Path(_) => None,
        Script::Inline(strings) => strings.iter().enumerate().find_map(|(index, string)| {
            let lines = string.reveal(cx.secrets).split('\n').count();
            if left < lines {
                return Some((index, left));
            }
            left -= lines;
            None
        }),
    };
    Some(FailedLine {
        number,
        text: Redactor::new(cx.secrets).redact(line.trim()).into_owned(),
        inline,
    })
}

fn environment(
    step: &Step,
    shell: &Shell,
    more: &[(&str, &str)],
    cx: &Context<'_>,
) -> Vec<(String, String)> {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let set = [
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("KARAT_STEP", &step.name),
    ];
    let variables = cx
        .variables
        .iter()
        .map(|(name, value)| (named("KARAT_VAR_", name), value.clone()));
    let secrets = cx
        .secrets
        .iter()
        .map(|(name, value)| (named("KARAT_SECRET_", name), value.to_owned()));
    let chosen = shell
        .environment
        .iter()
        .map(|(name, value)| (name.clone(), value.reveal(cx.secrets)));
    let more = more.iter().copied().map(own);
    let reproducible = cx
        .reproducible_environment()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    set.into_iter()
        .map(own)
        .chain(reproducible)
        .chain(variables)
        .chain(secrets)
        .chain(chosen)
        .chain(more)
        .collect()
}

fn named(prefix: &str, name: &str) -> String {
    prefix.to_owned() + &name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_what_runs_it() {
        for (script, program, argument) in [
            ("echo a\n", "/bin/sh", "-eu"),
            ("", "/bin/sh", "-eu"),
            ("#!/bin/bash\n", "/bin/bash", ""),
            ("#!/bin/bash", "/bin/bash", ""),
            (
                "#! /usr/bin/env  python3 \nprint()\n",
                "/usr/bin/env",
                "python3",
            ),
            ("#!/usr/bin/perl -w -T\n", "/usr/bin/perl", "-w -T"),
            ("#!\n", "/bin/sh", "-eu"),
            ("\x7fELF\x02", "", ""),
            ("#!/bin/sh\nprintf 'a\r\n'\n", "/bin/sh", ""),
        ] {
            let Interpreter {
                program: got,
                argument: rest,
            } = interpreter(script.as_bytes(), "x").unwrap();
            assert_eq!(
                (got.as_str(), rest.as_str()),
                (program, argument),
                "{script:?}"
            );
        }
    }

    #[test]
    fn windows_line_endings_are_refused_with_the_name_of_the_file() {
        for script in ["#!/bin/sh\r\necho a\r\n", "echo a\r\n"] {
            let error = interpreter(script.as_bytes(), "the script a.sh").unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("the script a.sh has Windows line endings")
            );
        }
    }
}
