//! Output without a cursor: plain lines for logs, JSON lines for programs.

use std::io::Write as _;

use super::Printer;
use super::event::Event;
use super::text::{human_duration, human_size};

/// Prints one line of text an event.
pub(super) struct Plain;

/// Prints one JSON object an event.
pub(super) struct Json;

impl Printer for Plain {
    fn print(&self, event: &Event<'_>) {
        let text = event.labelled();
        let took = human_duration(event.took.unwrap_or_default());
        let line = match event.kind {
            "started" => format!("==> {text}"),
            "done" => format!("    {text}: done in {took}"),
            "failed" => format!("    {text}: failed after {took}"),
            "output" => format!("    | {text}"),
            "warning" | "error" => format!("{}: {text}", event.kind),
            "bar" => return write_line(&bar_line(event, &text)),
            "advance" | "bar_end" => return,
            _ => text,
        };
        write_line(&line);
    }
}

fn bar_line(event: &Event<'_>, text: &str) -> String {
    match event.total {
        Some(bytes) => format!("    {text} ({})", human_size(bytes)),
        None => format!("    {text}"),
    }
}

impl Printer for Json {
    fn print(&self, event: &Event<'_>) {
        if matches!(event.kind, "advance" | "bar_end") {
            return;
        }
        if let Ok(line) = serde_json::to_string(event) {
            write_line(&line);
        }
    }
}

/// Writes to stderr. A closed stderr must not end a build, so errors are ignored.
fn write_line(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
