//! Lines of output without secrets. Long lines arrive in pieces, and no secret is cut in two before it is hidden.

use crate::secret::Redactor;
use crate::ssh::MAX_LINE_BYTES;

/// Hides secrets in lines, and holds the end of a piece back until the next one comes.
pub(super) struct LinePieces {
    redactor: Redactor,
    held: String,
}

impl LinePieces {
    pub(super) fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            held: String::new(),
        }
    }

    /// Passes on a line, or what can be shown of a piece of one.
    pub(super) fn push(&mut self, piece: &str, show: &mut dyn FnMut(&str)) {
        let text = std::mem::take(&mut self.held) + piece;
        let text = self.redactor.redact(&text);
        // A piece is cut a few bytes early if a character would be divided.
        if piece.len() < MAX_LINE_BYTES - 3 {
            return show(&text);
        }
        // A secret that begins in these bytes may end in the next piece.
        let overlap = self.redactor.longest().saturating_sub(1);
        let end = text.floor_char_boundary(text.len().saturating_sub(overlap));
        if end > 0 {
            show(&text[..end]);
        }
        self.held = text[end..].to_owned();
    }

    /// Passes on what is held back.
    pub(super) fn finish(self, show: &mut dyn FnMut(&str)) {
        if !self.held.is_empty() {
            show(&self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secrets;

    #[test]
    fn a_secret_is_hidden_wherever_a_long_line_is_cut() {
        let mut secrets = Secrets::default();
        secrets.insert("token".to_owned(), "correct-horse".to_owned().into());
        for before in MAX_LINE_BYTES - 40..MAX_LINE_BYTES + 3 {
            let line = format!("{}correct-horse, then more", "é".repeat(before / 2));
            let mut pieces = LinePieces::new(Redactor::new(&secrets));
            let mut shown = String::new();
            let mut show = |text: &str| shown.push_str(text);
            let cut = line.floor_char_boundary(MAX_LINE_BYTES);
            pieces.push(&line[..cut], &mut show);
            if cut < line.len() {
                pieces.push(&line[cut..], &mut show);
            }
            pieces.finish(&mut show);
            assert!(shown.ends_with("é<secret token>, then more"), "{before}");
        }
    }

    #[test]
    fn other_lines_are_passed_on_at_once() {
        let mut pieces = LinePieces::new(Redactor::default());
        let mut shown = Vec::new();
        for line in ["a", "", "b"] {
            pieces.push(line, &mut |text: &str| shown.push(text.to_owned()));
        }
        assert_eq!(shown, ["a", "", "b"]);
    }
}
