//! The error that ends a verb, with its exit code. Only `main` prints it.

use std::fmt;
use std::io;

use super::exit_status::ExitStatus;
use crate::cli::Invalid;
use crate::plan::LoadError;
use crate::ui::text::join_causes;

/// Message, causes, help and exit code of a failed verb.
#[derive(Debug)]
pub(crate) struct CommandError {
    exit_code: u8,
    report: Report,
}

#[derive(Debug)]
enum Report {
    Message {
        /// The error and its causes.
        text: String,
        help: Option<String>,
    },
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
    pub(crate) fn failure(error: impl ExitStatus) -> Self {
        Self::message(1, join_causes(&error, CAUSE), help(&error))
    }

    /// Reports `error` with its own exit code, and `cause` below it without the help of the cause.
    pub(crate) fn caused(error: &impl ExitStatus, cause: &Self) -> Self {
        let cause = match &cause.report {
            Report::Message { text, .. } => text.clone(),
            _ => cause.to_string(),
        };
        Self::message(
            error.exit_code(),
            format!("{error}{CAUSE}{cause}"),
            help(error),
        )
    }

    /// Reports an I/O error with exit code 1. `what` names the operation that failed.
    pub(crate) fn io(what: &str, error: &io::Error) -> Self {
        Self::message(1, format!("{what}{CAUSE}{error}"), None)
    }

    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                exit_code: 0,
                report: Report::ClosedPipe,
            };
        }
        Self::io("cannot write to stdout", error)
    }

    fn message(exit_code: u8, text: String, help: Option<String>) -> Self {
        let report = Report::Message { text, help };
        Self { exit_code, report }
    }

    pub(crate) fn with_exit_code(self, exit_code: u8) -> Self {
        Self { exit_code, ..self }
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// Returns the text for stderr; `None` when there is nothing to report.
    pub(crate) fn render(&self, color: bool) -> Option<String> {
        match &self.report {
            Report::Message { .. } => Some(format!("error: {self}")),
            Report::Templates(invalid) => Some(invalid.render(color)),
            Report::ClosedPipe => None,
        }
    }
}

/// Stands before a cause on a line of its own.
const CAUSE: &str = "\n  because: ";

fn help(error: &impl ExitStatus) -> Option<String> {
    error.help().map(|help| help.to_string())
}

impl<E: ExitStatus> From<E> for CommandError {
    fn from(error: E) -> Self {
        let exit_code = error.exit_code();
        Self::failure(error).with_exit_code(exit_code)
    }
}

impl From<Invalid> for CommandError {
    fn from(invalid: Invalid) -> Self {
        Self {
            exit_code: 2,
            report: Report::Templates(invalid),
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
        match &self.report {
            Report::Message { text, help: None } => f.write_str(text),
            Report::Message {
                text,
                help: Some(help),
            } => write!(f, "{text}\n  help: {help}"),
            Report::Templates(invalid) => f.write_str(&invalid.render(false)),
            Report::ClosedPipe => Ok(()),
        }
    }
}
