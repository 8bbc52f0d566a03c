//! Splits a command's output into lines of text.

/// Longer lines are passed on in pieces, so that output without newlines uses bounded memory.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 10;

/// Splits a stream at newlines, and at the carriage returns with which progress meters overwrite themselves.
#[derive(Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
    after_return: bool,
}

impl Lines {
    /// Adds bytes and passes on each completed line.
    pub(super) fn push(&mut self, bytes: &[u8], line: &mut dyn FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, end) = match piece.split_last() {
                Some((end @ (b'\n' | b'\r'), text)) => (text, Some(*end)),
                _ => (piece, None),
            };
            self.pending.extend_from_slice(text);
            self.shorten(line);
            let is_crlf = end == Some(b'\n') && self.after_return && text.is_empty();
            if end == Some(b'\n') && !is_crlf || end == Some(b'\r') && !self.pending.is_empty() {
                self.emit(self.pending.len(), line);
            }
            self.after_return = end == Some(b'\r');
        }
    }

    /// Passes on the last line, if it has no newline.
    pub(super) fn finish(mut self, line: &mut dyn FnMut(&str)) {
        if !self.pending.is_empty() {
            self.emit(self.pending.len(), line);
        }
    }

    fn shorten(&mut self, line: &mut dyn FnMut(&str)) {
        while self.pending.len() > MAX_LINE_BYTES {
            // Not in the middle of a character: UTF-8 continues with bytes 10xxxxxx, at most three of them.
            let start = |&at: &usize| self.pending[at] & 0xc0 != 0x80;
            let cut = (MAX_LINE_BYTES - 3..=MAX_LINE_BYTES)
                .rev()
                .find(start)
                .unwrap_or(MAX_LINE_BYTES);
            self.emit(cut, line);
        }
    }

    fn emit(&mut self, length: usize, line: &mut dyn FnMut(&str)) {
        line(&String::from_utf8_lossy(&self.pending[..length]));
        self.pending.drain(..length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.push(piece, &mut |line| found.push(line.to_owned()));
        }
        lines.finish(&mut |line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn no_line_is_lost_or_made_up() {
        let cases: [(&[&[u8]], &[&str]); 9] = [
            (&[], &[]),
            (&[b"one\ntwo\n"], &["one", "two"]),
            (&[b"par", b"tial"], &["partial"]),
            (&[b"\n\nx"], &["", "", "x"]),
            (&[b"10%\r20%\r", b"done\n"], &["10%", "20%", "done"]),
            (&[b"dos\r\nline\r", b"\n"], &["dos", "line"]),
            (&[b"caf\xc3", b"\xa9\n"], &["café"]),
            (&[b"bad \xff byte\n"], &["bad \u{fffd} byte"]),
            (&[b"a\r\n\r\nb"], &["a", "b"]),
        ];
        for (pieces, expected) in cases {
            assert_eq!(lines(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn an_endless_line_comes_in_pieces_at_character_borders() {
        let text = "é".repeat(100_000);
        let found = lines(&[b"x", text.as_bytes()]);
        assert!(found.len() > 2 && found.iter().all(|line| line.len() <= MAX_LINE_BYTES));
        assert_eq!(found.concat(), format!("x{text}"));
    }
}
