//! Control paragraphs: the syntax of `Packages`, `Release` and dpkg's status.

/// A paragraph: lines of `Field: value`, each with its continuation lines.
#[derive(Clone, Copy, Debug)]
pub struct Paragraph<'a>(&'a str);

/// Splits a file into its paragraphs, in order and without empty ones.
pub fn paragraphs(text: &str) -> impl Iterator<Item = Paragraph<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // Blank lines between paragraphs may hold spaces.
        loop {
            let line = first_line(rest);
            if line.is_empty() {
                return None;
            }
            if !line.trim_ascii().is_empty() {
                break;
            }
            rest = &rest[line.len()..];
        }
        let mut length = 0;
        loop {
            let line = first_line(&rest[length..]);
            if line.trim_ascii().is_empty() {
                break;
            }
            length += line.len();
        }
        let (paragraph, behind) = rest.split_at(length);
        rest = behind;
        Some(Paragraph(paragraph))
    })
}

/// Returns the first line with its line end; empty only at the end of the text.
fn first_line(text: &str) -> &str {
    match text.find('\n') {
        Some(end) => &text[..=end],
        None => text,
    }
}

impl<'a> Paragraph<'a> {
    /// Returns the first line of a field's value, trimmed. Names are compared without case, as dpkg does; of several
    /// fields of one name the first counts.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a str> {
        self.lines_of(name).next()
    }

    /// Returns every line of a field's value, trimmed. The first line, after the colon, is often empty.
    pub fn lines_of(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let mut lines = self.0.lines();
        let first = lines.find_map(|line| value(line, name));
        let more = lines
            .take_while(|line| line.starts_with([' ', '\t']))
            .map(str::trim_ascii);
        // Without the field, `lines` is exhausted.
        first.into_iter().chain(more)
    }

    /// Joins a field's value into one line, as package relations are parsed.
    #[must_use]
    pub fn folded(&self, name: &str) -> Option<std::borrow::Cow<'a, str>> {
        let mut lines = self.lines_of(name);
        let first = lines.next()?;
        let Some(second) = lines.next() else {
            return Some(first.into());
        };
        let mut text = [first, second].join(" ");
        for line in lines {
            text.push(' ');
            text.push_str(line);
        }
        Some(text.into())
    }
}

fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (field, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(':')?;
    field.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_told_apart_by_blank_lines() {
        for (text, expected) in [
            ("", &[][..]),
            ("\n \n\t\n", &[]),
            ("A: 1", &["1"]),
            ("A: 1\n", &["1"]),
            ("\nA: 1\n\n\nA: 2\n \nA:3\n", &["1", "2", "3"]),
            ("A: 1\r\n\r\nA: 2\r\n", &["1", "2"]),
        ] {
            let found: Vec<_> = paragraphs(text)
                .map(|paragraph| paragraph.field("A").unwrap())
                .collect();
            assert_eq!(found, expected, "reading {text:?}");
        }
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "Pre-Depends: x\nDepends: a,\n b (>= 1),\n\tc\nDescription: d\n .\n Version: 9\nversion:  1:2 \n";
        let paragraph = paragraphs(text).next().unwrap();
        for (name, expected) in [
            ("Version", Some("1:2")),
            ("DEPENDS", Some("a,")),
            ("Depend", None),
            ("Section", None),
        ] {
            assert_eq!(paragraph.field(name), expected, "looking for {name}");
        }
        assert_eq!(paragraph.folded("Depends").unwrap(), "a, b (>= 1), c");
        assert_eq!(paragraph.folded("Pre-Depends").unwrap(), "x");
        let lines: Vec<_> = paragraph.lines_of("Description").collect();
        assert_eq!(lines, ["d", ".", "Version: 9"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "([A-Z]: ?[a-z\u{e9}]{0,3}|[ \t]?|\u{fffd}:)(\n([A-Z]: ?[a-z]{0,3}|[ \t:]{0,2})){0,8}") {
            for paragraph in paragraphs(&text) {
                assert!(paragraph.field("A").is_none_or(|value| !value.contains('\n')));
                assert!(paragraph.folded("\u{fffd}").is_none_or(|value| !value.contains('\n')));
            }
        }
    }
}
