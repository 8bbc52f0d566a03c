//! `{{ name }}` in string values. `{{{{` is a literal `{{`; `}}` alone means itself.
//!
//! A secret is not replaced by its value but by a private mark around its name, which [`text`] turns into
//! [`TextPart::Secret`]. Marks are allowed only where a secret cannot end up in a log or a manifest.

use std::ops::Range;

use toml::de::{DeString, DeTable, DeValue};

use super::problem::{Problem, Span};
use super::tree::{Removed, Tree, remove};
use super::variables::Scope;
use crate::secret::{Text, TextPart};

// Noncharacters: no text that means anything holds them, and those that do are refused below.
const OPEN: char = '\u{FDD0}';
const CLOSE: char = '\u{FDD1}';

/// What a reference stands for.
pub(super) enum Meaning {
    Value(String),
    Secret,
    /// Something that was reported elsewhere.
    Broken,
}

/// A piece of a string.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Literal(&'a str),
    /// What is between the braces, and where they are.
    Reference(&'a str, Range<usize>),
    Unclosed(Range<usize>),
}

/// Replaces every reference in the tree, in place. What cannot be replaced is reported and taken out.
pub(super) fn interpolate(
    source: &str,
    tree: &mut Tree<'_>,
    scope: &Scope,
    removed: &mut Removed,
    problems: &mut Vec<Problem>,
) {
    let mut walk = Walk {
        source,
        scope,
        problems,
        failed: Vec::new(),
        path: Vec::new(),
    };
    walk.table(tree.get_mut());
    let failed = walk.failed;
    let span = tree.span();
    for place in failed {
        remove(tree.get_mut(), span.clone(), &place, removed);
    }
}

/// Text in which marks are secrets again.
pub(crate) fn text(marked: &str) -> Text {
    let mut parts = Vec::new();
    for (index, piece) in marked.split([OPEN, CLOSE]).enumerate() {
        match (index % 2, piece) {
            (0, "") => {}
            (0, literal) => parts.push(TextPart::Literal(literal.to_owned())),
            (_, name) => parts.push(TextPart::Secret(name.to_owned())),
        }
    }
    Text::new(parts)
}

struct Walk<'a, 'p> {
    source: &'a str,
    scope: &'a Scope,
    problems: &'p mut Vec<Problem>,
    failed: Vec<Span>,
    path: Vec<String>,
}

impl Walk<'_, '_> {
    fn table(&mut self, table: &mut DeTable<'_>) {
        for (key, value) in table.iter_mut() {
            self.path.push(key.get_ref().to_string());
            let span = value.span();
            self.value(value.get_mut(), span);
            self.path.pop();
        }
    }

    fn value(&mut self, value: &mut DeValue<'_>, span: Span) {
        match value {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(items) => {
                self.path.push("*".to_owned());
                for item in items.iter_mut() {
                    let span = item.span();
                    self.value(item.get_mut(), span);
                }
                self.path.pop();
            }
            DeValue::String(string) => {
                let allowed = secrets_allowed(&self.path);
                match expand(self.source, string, &span, self.scope, allowed) {
                    Ok(expanded) => *string = DeString::Owned(expanded),
                    Err(problems) => {
                        self.problems.extend(problems);
                        self.failed.push(span);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Where a secret may be used: what runs in the guest or is written into it, and nothing that is shown or recorded.
fn secrets_allowed(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        path[..],
        ["provision" | "on_error", "*", "shell", "inline", "*"]
            | ["provision" | "on_error", "*", "shell", "environment", _]
            | ["provision" | "on_error", "*", "file", "content"]
            | ["files", "*", "content"]
    )
}

/// One string with its references replaced.
pub(super) fn expand(
    source: &str,
    string: &str,
    span: &Span,
    scope: &Scope,
    secrets_allowed: bool,
) -> Result<String, Vec<Problem>> {
    expand_with(source, string, span, secrets_allowed, |name, place| {
        scope.look_up(name, place)
    })
}

/// As [`expand`], with another place to look names up.
pub(super) fn expand_with(
    source: &str,
    string: &str,
    span: &Span,
    secrets_allowed: bool,
    mut look_up: impl FnMut(&str, Span) -> Result<Meaning, Vec<Problem>>,
) -> Result<String, Vec<Problem>> {
    if string.contains([OPEN, CLOSE]) {
        let what = "the characters U+FDD0 and U+FDD1 are not allowed in a template";
        return Err(vec![Problem::at(span.clone(), what)]);
    }
    let (mut expanded, mut problems, mut broken, mut index) = (String::new(), Vec::new(), false, 0);
    for piece in scan(string) {
        let inner = match piece {
            Piece::Literal(literal) => {
                expanded.push_str(literal);
                continue;
            }
            Piece::Unclosed(_) => None,
            Piece::Reference(inner, _) => Some(inner),
        };
        let place = locate(source, span, index, inner);
        let inner = inner.map(str::trim);
        index += 1;
        let Some(name) = inner.filter(|name| is_name(name)) else {
            problems.push(malformed(place, inner));
            continue;
        };
        match look_up(name, place.clone()) {
            Ok(Meaning::Value(value)) => expanded.push_str(&value),
            Ok(Meaning::Broken) => broken = true,
            Ok(Meaning::Secret) if secrets_allowed => {
                expanded.extend([OPEN]);
                expanded.push_str(name);
                expanded.push(CLOSE);
            }
            Ok(Meaning::Secret) => problems.push(misplaced_secret(place, name)),
            Err(found) => problems.extend(found),
        }
    }
    if broken || !problems.is_empty() {
        return Err(problems);
    }
    Ok(expanded)
}

fn malformed(place: Span, inner: Option<&str>) -> Problem {
    let what = match inner {
        None => "`{{` is not closed by `}}`".to_owned(),
        Some(inner) => format!("`{inner}` is not the name of a variable"),
    };
    Problem::at(place, what)
        .help("names are made of a-z, 0-9 and _; for a literal `{{` write `{{{{`")
}

fn misplaced_secret(place: Span, name: &str) -> Problem {
    Problem::at(
        place,
        format!("the secret `{name}` cannot be used here, where it would be shown or recorded"),
    )
    .help("secrets may be used in shell.inline, shell.environment and the content of a file")
}

/// Whether this can name a variable or a secret.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn scan(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut at) = (Vec::new(), 0);
    while let Some(offset) = text[at..].find("{{") {
        let open = at + offset;
        pieces.push(Piece::Literal(&text[at..open]));
        let inside = open + 2;
        if text[inside..].starts_with("{{") {
            pieces.push(Piece::Literal("{{"));
            at = inside + 2;
        } else if let Some(length) = text[inside..].find("}}") {
            at = inside + length + 2;
            pieces.push(Piece::Reference(&text[inside..inside + length], open..at));
        } else {
            pieces.push(Piece::Unclosed(open..inside));
            at = inside;
        }
    }
    pieces.push(Piece::Literal(&text[at..]));
    pieces
}

/// Where the reference with this index is in the source: found again in the raw text of the string, because escapes
/// make places in the value differ from those in the text. A reference that is itself written with escapes is not
/// found; then the whole string is the place.
fn locate(source: &str, span: &Span, index: usize, wanted: Option<&str>) -> Span {
    let raw = source.get(span.clone()).unwrap_or_default();
    let place = scan(raw)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Reference(inner, place) => Some((Some(inner), place)),
            Piece::Unclosed(place) => Some((None, place)),
        })
        .nth(index)
        .filter(|(inner, _)| *inner == wanted);
    place.map_or_else(
        || span.clone(),
        |(_, place)| span.start + place.start..span.start + place.end,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expanded(text: &str) -> Result<String, Vec<String>> {
        let source = format!("\"{text}\"");
        let look_up = |name: &str, place: Span| match name {
            "color" => Ok(Meaning::Value("blue {{ color }}".to_owned())),
            "token" => Ok(Meaning::Secret),
            "broken" => Ok(Meaning::Broken),
            _ => Err(vec![Problem::at(place, "undefined")]),
        };
        expand_with(&source, text, &(0..source.len()), true, look_up).map_err(|problems| {
            let show = |p: Problem| format!("{} at {:?}", p.what, &source[p.span.unwrap()]);
            problems.into_iter().map(show).collect()
        })
    }

    #[test]
    fn references_are_replaced_once() {
        for (text, expected) in [
            ("plain }} text", Ok("plain }} text")),
            ("{{color}}", Ok("blue {{ color }}")),
            ("a {{ color }}b", Ok("a blue {{ color }}b")),
            ("{{{{ .Names }}", Ok("{{ .Names }}")),
            ("{{{{{{ color }}", Ok("{{blue {{ color }}")),
            ("x {{ colour }}", Err("undefined at \"{{ colour }}\"")),
            (
                "{{ .Names }}",
                Err("`.Names` is not the name of a variable at \"{{ .Names }}\""),
            ),
            ("{{ color", Err("`{{` is not closed by `}}` at \"{{\"")),
            ("{{}}", Err("`` is not the name of a variable at \"{{}}\"")),
        ] {
            let expected = expected.map(str::to_owned).map_err(|e| vec![e.to_owned()]);
            assert_eq!(expanded(text), expected, "expanding {text:?}");
        }
        assert_eq!(expanded("{{ broken }}"), Err(vec![]));
    }

    #[test]
    fn a_reference_written_with_escapes_is_placed_at_its_string() {
        let source = r#""a\u007b{ q }} {{ z }}""#;
        let look_up = |_: &str, place: Span| Err(vec![Problem::at(place, "undefined")]);
        let problems = expand_with(
            source,
            "a{{ q }} {{ z }}",
            &(0..source.len()),
            true,
            look_up,
        );
        for problem in problems.unwrap_err() {
            assert_eq!(problem.span, Some(0..source.len()));
        }
    }

    #[test]
    fn a_secret_becomes_a_part_and_is_shown_by_name() {
        let marked = expanded("user:{{ token }}@").unwrap();
        assert_eq!(
            text(&marked),
            Text::new(vec![
                TextPart::Literal("user:".into()),
                TextPart::Secret("token".into()),
                TextPart::Literal("@".into())
            ])
        );
        assert_eq!(text(&marked).to_string(), "user:<secret token>@");
        assert_eq!(text("").to_string(), "");
    }

    proptest! {
        #[test]
        fn escaped_text_survives(text in "[a-z{} ]*") {
            // `{{{{` stands for `{{`; what is left of an odd run of braces follows as it is.
            let escaped = text.replace("{{", "{{{{");
            if !escaped.contains("{{{{{") {
                prop_assert_eq!(expanded(&escaped), Ok(text));
            }
        }

        #[test]
        fn any_text_is_scanned_without_panic(text in ".*\\{\\{.*") {
            let _ = expanded(&text);
        }
    }
}
