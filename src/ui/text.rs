//! Text for people: errors with their causes, terminal-safe text, sizes, durations and counts.

use std::error::Error;
use std::time::Duration;

/// Joins an error and its causes with `separator`. Leaves out a cause that the message before it ends with.
pub(crate) fn join_causes(error: &dyn Error, separator: &str) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}{separator}{message}");
        }
        source = cause.source();
    }
    text
}

/// Joins an error and its causes on one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    join_causes(error, ": ")
}

/// Replaces control characters, so that text from an image or a manifest cannot move the cursor or change colours.
pub(crate) fn terminal_safe(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Removes escape sequences and control characters except newlines and tabs: a guest must not control the user's terminal.
pub(crate) fn strip_controls(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                if chars.next_if_eq(&'[').is_some() {
                    // A control sequence ends with the first character from `@` to `~`.
                    while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
                } else {
                    chars.next();
                }
            }
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

/// Formats a number of bytes with a binary unit: `1.50 MiB`.
pub(crate) fn human_size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Formats a duration: `4.2 s`, `3 min 05 s`.
pub(crate) fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

/// Formats the time of a running clock: `4 s`, `3 min 05 s`.
pub(crate) fn clock(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ ..60 => format!("{seconds} s"),
        _ => human_duration(duration),
    }
}

/// Formats a count with a noun: `1 file`, `2 files`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read web.toml")]
    struct Outer(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("template: {0}")]
    struct Repeating(#[source] Outer);

    #[test]
    fn causes_are_joined_once() {
        let error = Repeating(Outer(io::Error::other("disk full")));
        assert_eq!(
            with_causes(&error),
            "template: cannot read web.toml: disk full"
        );
    }

    #[test]
    fn text_cannot_move_the_cursor() {
        assert_eq!(terminal_safe("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn escape_sequences_are_removed_as_a_whole() {
        assert_eq!(
            strip_controls("\u{1b}[0;32m  OK\u{1b}[0m one\r\n\u{1b}ctwo\u{7}\t"),
            "  OK one\ntwo\t"
        );
        assert_eq!(strip_controls("\u{1b}"), "");
    }

    #[test]
    fn durations_read_well() {
        for (millis, text) in [
            (0, "0.0 s"),
            (4_240, "4.2 s"),
            (59_900, "59.9 s"),
            (185_000, "3 min 05 s"),
        ] {
            assert_eq!(human_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(clock(Duration::from_millis(59_900)), "59 s");
        assert_eq!(clock(Duration::from_secs(185)), "3 min 05 s");
    }

    #[test]
    fn nouns_have_a_plural() {
        assert_eq!(
            [0, 1, 2].map(|count| counted(count, "file")),
            ["0 files", "1 file", "2 files"]
        );
    }
}
