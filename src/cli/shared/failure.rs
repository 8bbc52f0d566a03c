//! A verb's failure as the user sees it, with its exit code. Only `main` prints it.

use std::fmt;
use std::io;

use miette::Diagnostic;

use crate::cli::Invalid;

/// What, why, how to mend it; and the exit code.
#[derive(Debug)]
pub struct Failed {
    code: u8,
    text: Text,
}

#[derive(Debug)]
enum Text {
    Plain(String),
    Templates(Invalid),
    /// Whoever read stdout has gone, and knows it.
    Nobody,
}

impl Failed {
    /// An error with exit code 1.
    #[must_use]
    pub fn new(error: impl Diagnostic) -> Self {
        Self::with(1, error)
    }

    /// An error with its exit code (DESIGN: 2 wrong input, 4 verification failed, 130 cancelled).
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "used with `map_err`, which hands errors over"
    )]
    pub fn with(code: u8, error: impl Diagnostic) -> Self {
        let mut text = chain(&error, "\n  because: ");
        if let Some(help) = error.help() {
            text = format!("{text}\n  help: {help}");
        }
        Self {
            code,
            text: Text::Plain(text),
        }
    }

    /// Something that could not be done with a file, exit code 1.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "used with `map_err`, which hands errors over"
    )]
    pub fn io(what: &str, error: io::Error) -> Self {
        let text = Text::Plain(format!("{what}\n  because: {error}"));
        Self { code: 1, text }
    }

    /// Stdout could not be written.
    #[must_use]
    pub fn stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                code: 0,
                text: Text::Nobody,
            };
        }
        Self::io("cannot write to stdout", error)
    }

    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }

    /// The text for a terminal; `None` when there is nothing to say.
    #[must_use]
    pub fn render(&self, color: bool) -> Option<String> {
        match &self.text {
            Text::Plain(text) => Some(format!("error: {text}")),
            Text::Templates(invalid) => Some(invalid.render(color)),
            Text::Nobody => None,
        }
    }
}

/// An error and its causes, with something between each two; a cause that the one before it has told already is left out.
pub(in crate::cli) fn chain(error: &dyn std::error::Error, between: &str) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let told = cause.to_string();
        if !text.ends_with(&told) {
            text = format!("{text}{between}{told}");
        }
        source = cause.source();
    }
    text
}

impl From<Invalid> for Failed {
    fn from(invalid: Invalid) -> Self {
        Self {
            code: 2,
            text: Text::Templates(invalid),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Text::Plain(text) => f.write_str(text),
            Text::Templates(invalid) => f.write_str(&invalid.render(false)),
            Text::Nobody => Ok(()),
        }
    }
}
