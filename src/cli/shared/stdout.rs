//! Standard output: text for people, JSON for programs. A closed pipe ends the verb silently, with exit code 0.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use crate::cli::CommandError;
use crate::ui::text::terminal_safe;

/// Format of a verb's output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
    /// One JSON object per line
    Jsonl,
    /// One indented JSON document after another, which `plan --json` prints
    #[value(skip)]
    Documents,
}

/// The format of the output.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct FormatArgs {
    /// Format of the output on stdout
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: OutputFormat,

    #[arg(long, hide = true, conflicts_with = "format")]
    json: bool,
}

impl FormatArgs {
    /// Returns the format. `json` is the one that the older `--json` stands for.
    pub(crate) fn with_json_as(self, json: OutputFormat) -> OutputFormat {
        if self.json { json } else { self.format }
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

    fn json_text(&mut self, text: serde_json::Result<String>) -> Result<(), CommandError> {
        self.line(text.map_err(|error| CommandError::stdout(&error.into()))?)
    }

    /// Prints one result.
    pub(crate) fn document(
        &mut self,
        format: OutputFormat,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        match format {
            OutputFormat::Json | OutputFormat::Documents => self.json(value),
            OutputFormat::Jsonl => self.json_line(value),
            OutputFormat::Text => self.text(&text()),
        }
    }

    /// Prints a list of results that is complete.
    pub(crate) fn list<T: Serialize>(
        &mut self,
        format: OutputFormat,
        values: &[T],
        text: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        match format {
            OutputFormat::Jsonl => values.iter().try_for_each(|value| self.json_line(value)),
            _ => self.document(format, &values, text),
        }
    }

    /// Prints results one by one.
    pub(crate) fn records(&mut self, format: OutputFormat) -> Records<'_> {
        Records {
            out: self,
            format,
            document: Vec::new(),
        }
    }
}

/// Results that are printed one by one: at once as text or `jsonl`, at the end as one JSON array.
pub(crate) struct Records<'a> {
    out: &'a mut Stdout,
    format: OutputFormat,
    document: Vec<Value>,
}

impl Records<'_> {
    /// Adds a result; prints it as a line of text or JSON.
    pub(crate) fn add(
        &mut self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), CommandError> {
        match self.format {
            OutputFormat::Text => self.out.line(text()),
            OutputFormat::Jsonl => self.out.json_line(value),
            OutputFormat::Documents => self.out.json(value),
            OutputFormat::Json => {
                let value = serde_json::to_value(value);
                let value = value.map_err(|error| CommandError::stdout(&error.into()))?;
                self.document.push(value);
                Ok(())
            }
        }
    }

    /// Prints the array that was collected.
    pub(crate) fn finish(self) -> Result<(), CommandError> {
        match self.format {
            OutputFormat::Json => self.out.json(&self.document),
            _ => Ok(()),
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
