//! Times in `allowed_signers`: `20260131`, `202601312359` or `20260131235959`, with `Z` for UTC.

use crate::time::Timestamp;

/// Parses a day or time. Without `Z` it is UTC too, so that a file means the same on every machine; ssh-keygen takes it for
/// local time.
pub fn parse(text: &str) -> Option<Timestamp> {
    let digits = text.strip_suffix('Z').unwrap_or(text);
    let full = match digits.len() {
        8 => format!("{digits}000000"),
        12 => format!("{digits}00"),
        14 => digits.to_owned(),
        _ => return None,
    };
    if !full.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| &full[from..to];
    let time = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14)
    );
    time.parse().ok()
}

/// Formats a time in UTC.
pub fn text(time: Timestamp) -> String {
    let mut text = time.to_string();
    text.retain(|letter| letter.is_ascii_digit());
    text + "Z"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_read_as_ssh_keygen_writes_them() {
        for (text, expected) in [
            ("20260131", Some("2026-01-31T00:00:00Z")),
            ("20260131Z", Some("2026-01-31T00:00:00Z")),
            ("202601312359Z", Some("2026-01-31T23:59:00Z")),
            ("20260131235958Z", Some("2026-01-31T23:59:58Z")),
            ("20261331", None),
            ("2026013", None),
            ("2026-01-31", None),
            ("éé0131", None),
            ("", None),
        ] {
            let read = parse(text).map(|time| time.to_string());
            assert_eq!(read.as_deref(), expected, "reading {text:?}");
        }
        let time = parse("20260131235958Z").unwrap();
        assert_eq!(parse(&super::text(time)), Some(time));
    }
}
