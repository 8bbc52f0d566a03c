//! Standard output: text for people, JSON for programs. A closed pipe ends the verb silently, with exit code 0.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};

use serde::Serialize;

use crate::cli::CommandError;
use crate::ui::text::terminal_safe;

/// Format of a verb's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OutputFormat {
    Text,
    Json,
}

impl OutputFormat {
    /// Reads the flag `--json`.
    pub(crate) fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Standard output, flushed after each write.
pub(crate) struct Stdout(io::StdoutLock<'static>);

impl Stdout {
    pub(crate) fn lock() -> Self {
        Self(io::stdout().lock())
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        let written = self.0.write_all(bytes).and_then(|()| self.0.flush());
        written.map_err(|error| CommandError::stdout(&error))
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<(), CommandError> {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn line(&mut self, line: impl Display) -> Result<(), CommandError> {
        self.text(&format!("{line}\n"))
    }

    /// Prints `value` as one indented JSON document.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), CommandError> {
        self.json_text(serde_json::to_string_pretty(value))
    }

    /// Prints `value` as one line of JSON.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), CommandError> {
        self.json_text(serde_json::to_string(value))
    }

    pub(crate) fn json_text(
        &mut self,
        text: serde_json::Result<String>,
    ) -> Result<(), CommandError> {
        self.line(text.map_err(|error| CommandError::stdout(&error.into()))?)
    }

    /// Prints `value` as one indented JSON document, or as text.
    pub(crate) fn document(
        &mut self,
        format: OutputFormat,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        match format {
            OutputFormat::Json => self.json(value),
            OutputFormat::Text => self.text(&text()),
        }
    }

    /// Prints `value` as one line of JSON, or as a line of text.
    pub(crate) fn record(
        &mut self,
        format: OutputFormat,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        match format {
            OutputFormat::Json => self.json_line(value),
            OutputFormat::Text => self.line(text()),
        }
    }
}

/// Aligned lines of a label and a value, which may hold anything.
#[derive(Default)]
pub(crate) struct Rows(String);

impl Rows {
    pub(crate) fn add(&mut self, label: &str, value: impl AsRef<str>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{label:12} {}", terminal_safe(value.as_ref()));
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}
