//! Errors and warnings with their advice and their place in a template.

use std::error::Error;
use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

/// An error or warning: what happened, why, where, and how to fix it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Message with its causes, one a line.
    #[serde(skip)]
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(flatten)]
    pub position: Option<Position>,
    /// Last lines of the failed program's output. Shown only if the output itself is not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// Form of the report for people, with an excerpt of the template.
    #[serde(skip)]
    pub rendered: Option<String>,
}

/// Place in a file, counted from 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Position {
    /// Path of the file, as the user gave it.
    pub file: PathBuf,
    /// Line in the file.
    pub line: usize,
    /// Character in the line.
    pub column: usize,
}

/// Last lines of a failed program's output, as the cause of an error.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("its output ended with:\n{}", .0.join("\n"))]
pub struct Tail(pub Vec<String>);

/// Joins an error and its causes with `separator`, without the output of a failed program. Returns that on its own.
pub(crate) fn split_output(
    error: &(dyn Error + 'static),
    separator: &str,
) -> (String, Vec<String>) {
    let mut text = error.to_string();
    let mut output = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if let Some(Tail(lines)) = cause.downcast_ref() {
            output.clone_from(lines);
        } else if !text.ends_with(&message) {
            text = format!("{text}{separator}{message}");
        }
        source = cause.source();
    }
    (text, output)
}

impl Position {
    /// Returns the position of a byte in a text.
    #[must_use]
    pub fn of(file: impl Into<PathBuf>, text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            file: file.into(),
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }
}

impl Report {
    /// Returns a report of a message with advice.
    pub(crate) fn new(text: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            help: Some(help.into()),
            ..Self::default()
        }
    }

    /// Returns the report as the fields that its event has.
    pub(crate) fn document(&self) -> serde_json::Value {
        let mut document = serde_json::to_value(self).unwrap_or_default();
        document["text"] = self.text.clone().into();
        document
    }

    /// Returns an error as people see it: as it was rendered, else as plain text.
    pub(crate) fn shown(&self) -> String {
        match &self.rendered {
            Some(text) => text.clone(),
            None => format!("error: {}", self.text_below(&self.text)),
        }
    }

    /// Returns the report with `text` in place of its own: position after the first line, output and help at the end.
    pub(super) fn text_below(&self, text: &str) -> String {
        let (what, causes) = text.split_once('\n').unwrap_or((text, ""));
        let mut lines = vec![what.to_owned()];
        if let Some(Position { file, line, column }) = &self.position {
            lines.push(format!("  --> {}:{line}:{column}", file.display()));
        }
        if !causes.is_empty() {
            lines.push(causes.to_owned());
        }
        if !self.output.is_empty() {
            lines.push("  its output ended with:".to_owned());
            lines.extend(self.output.iter().map(|line| format!("    | {line}")));
        }
        lines.extend(self.help.iter().map(|help| format!("  help: {help}")));
        lines.join("\n")
    }

    /// Returns the report with every text changed by `change`.
    pub(super) fn map(&self, change: impl Fn(&str) -> String) -> Self {
        Self {
            text: change(&self.text),
            help: self.help.as_deref().map(&change),
            position: self.position.clone(),
            output: self.output.iter().map(|line| change(line)).collect(),
            rendered: self.rendered.as_deref().map(&change),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        let text = "a\näb\n";
        for (byte, line, column) in [(0, 1, 1), (2, 2, 1), (4, 2, 2), (99, 3, 1)] {
            let position = Position::of("t.toml", text, byte);
            assert_eq!((position.line, position.column), (line, column), "{byte}");
        }
    }

    #[test]
    fn a_report_has_its_place_below_the_first_line_and_its_help_at_the_end() {
        let report = Report {
            position: Some(Position::of("t.toml", "a\nb", 2)),
            output: vec!["no space left".to_owned()],
            ..Report::new("", "free some")
        };
        assert_eq!(
            report.text_below("it failed\n  because: disk full"),
            "it failed\n  --> t.toml:2:1\n  because: disk full\n  its output ended with:\n    | no space left\n  \
             help: free some"
        );
    }
}
