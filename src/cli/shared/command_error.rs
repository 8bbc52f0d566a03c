//! The error that ends a verb, with its exit code. Only `main` prints it.

use std::fmt;
use std::io;

use super::exit_status::ExitStatus;
use crate::cli::Invalid;
use crate::plan::LoadError;
use crate::ui::report::{Report, split_output};

/// Message, causes, help and exit code of a failed verb.
#[derive(Debug)]
pub(crate) struct CommandError {
    exit_code: u8,
    failure: Failure,
}

#[derive(Debug)]
enum Failure {
    Error(Box<Report>),
    Templates(Invalid),
    /// The reader of stdout has closed the pipe, which needs no message.
    ClosedPipe,
}

impl CommandError {
    /// Reports `error` with exit code 1, whatever its own is.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "used with `map_err`, which hands errors over"
    )]
    pub(crate) fn failure(error: impl ExitStatus + 'static) -> Self {
        let (text, output) = split_output(&error, CAUSE);
        Self::report(
            1,
            Report {
                text,
                help: help(&error),
                position: error.position().cloned(),
                output,
                rendered: None,
            },
        )
    }

    /// Reports `error` with its own exit code, and `cause` below it without the help of the cause.
    pub(crate) fn caused(error: &impl ExitStatus, cause: &Self) -> Self {
        let cause = match &cause.failure {
            Failure::Error(report) => report.text.clone(),
            _ => cause.to_string(),
        };
        let report = Report {
            text: format!("{error}{CAUSE}{cause}"),
            help: help(error),
            ..Report::default()
        };
        Self::report(error.exit_code(), report)
    }

    /// Reports an I/O error with exit code 1. `what` names the operation that failed.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        let report = Report {
            text: format!("{what}{CAUSE}{error}"),
            ..Report::default()
        };
        Self::report(1, report)
    }

    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                exit_code: 0,
                failure: Failure::ClosedPipe,
            };
        }
        Self::io("cannot write to stdout", error)
    }

    fn report(exit_code: u8, report: Report) -> Self {
        Self {
            exit_code,
            failure: Failure::Error(Box::new(report)),
        }
    }

    pub(crate) fn with_exit_code(self, exit_code: u8) -> Self {
        Self { exit_code, ..self }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// Returns what to show on stderr; nothing for a closed pipe.
    pub(crate) fn reports(&self, color: bool) -> Vec<Report> {
        match &self.failure {
            Failure::Error(report) => vec![(**report).clone()],
            Failure::Templates(invalid) => invalid.reports(color),
            Failure::ClosedPipe => Vec::new(),
        }
    }
}

/// Stands before a cause on a line of its own.
const CAUSE: &str = "\n  because: ";

fn help(error: &impl ExitStatus) -> Option<String> {
    error.help().map(|help| help.to_string())
}

impl<E: ExitStatus + 'static> From<E> for CommandError {
    fn from(error: E) -> Self {
        let exit_code = error.exit_code();
        Self::failure(error).with_exit_code(exit_code)
    }
}

impl From<Invalid> for CommandError {
    fn from(invalid: Invalid) -> Self {
        Self {
            exit_code: 2,
            failure: Failure::Templates(invalid),
        }
    }
}

impl From<LoadError> for CommandError {
    fn from(error: LoadError) -> Self {
        Invalid(vec![error]).into()
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reports = self.reports(false);
        let texts = reports.iter().map(Report::shown);
        let text = texts.collect::<Vec<_>>().join("\n");
        f.write_str(text.strip_prefix("error: ").unwrap_or(&text))
    }
}
