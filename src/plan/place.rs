//! Place of a step or test in the text of its template, for errors while it runs.

use super::TemplateSource;
use crate::template::problem::Span;
use crate::ui::report::Position;

/// Place of a step or test in its template.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    /// Byte range of its table.
    pub table: Span,
    /// Byte ranges of its `inline` strings.
    pub inline: Vec<Span>,
}

impl Place {
    /// Returns the position of the table, or of a line in one of its `inline` strings: index of the string, and of the line in it.
    #[must_use]
    pub fn position(&self, template: &TemplateSource, line: Option<(usize, usize)>) -> Position {
        let byte = line.and_then(|(string, line)| self.line(&template.text, string, line));
        Position::of(
            &template.path,
            &template.text,
            byte.unwrap_or(self.table.start),
        )
    }

    fn line(&self, text: &str, string: usize, line: usize) -> Option<usize> {
        let span = self.inline.get(string)?;
        let written = text.get(span.clone())?;
        // TOML drops a newline right after the quotes that open a string of several lines.
        let opening = ["'''", "\"\"\""]
            .iter()
            .find_map(|quotes| written.strip_prefix(quotes));
        let is_dropped =
            opening.is_some_and(|text| text.starts_with('\n') || text.starts_with("\r\n"));
        let start = match line + usize::from(is_dropped) {
            0 => 0,
            before => written.match_indices('\n').nth(before - 1)?.0 + 1,
        };
        let line = &written[start..];
        Some(span.start + start + line.len() - line.trim_start_matches([' ', '\t']).len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_line_of_a_script_is_found_in_the_template() {
        let text = "[[provision]]\nshell = { inline = [\n  \"one\",\n  '''\n  two\nthree''', '''four\nfive'''] }\n";
        let span = |part: &str| {
            let start = text.find(part).unwrap();
            start..start + part.len()
        };
        let place = Place {
            table: 0..13,
            inline: vec![
                span("\"one\""),
                span("'''\n  two\nthree'''"),
                span("'''four\nfive'''"),
            ],
        };
        let template = TemplateSource {
            path: "web.toml".into(),
            digest: Digest::of(text.as_bytes()),
            text: text.to_owned(),
        };
        for (line, expected) in [
            (None, (1, 1)),
            (Some((0, 0)), (3, 3)),
            (Some((1, 0)), (5, 3)),
            (Some((1, 1)), (6, 1)),
            (Some((2, 0)), (6, 11)),
            (Some((2, 1)), (7, 1)),
            (Some((2, 9)), (1, 1)),
            (Some((9, 0)), (1, 1)),
        ] {
            let position = place.position(&template, line);
            assert_eq!((position.line, position.column), expected, "{line:?}");
        }
    }
}
