//! Replaces `{{ name }}` in string values. `{{{{` is a literal `{{`; a lone `}}` stands for itself.
//!
//! A secret is replaced not by its value but by its name between private marks, which [`text`] turns into [`TextPart::Secret`].
//! Secrets are allowed only where they cannot end up in a log or a manifest.

use std::ops::Range;

use toml::de::{DeString, DeTable, DeValue};

use super::packer;
use super::problem::{Problem, Span};
use super::tree::{Removed, Tree, remove};
use super::variables::Scope;
use crate::secret::{Text, TextPart};

// Unicode noncharacters: valid text does not contain them, and `expand_with` refuses them.
const OPEN: char = '\u{FDD0}';
const CLOSE: char = '\u{FDD1}';

/// Meaning of a referenced name.
pub(super) enum Meaning {
    Value(String),
    Secret,
    /// The name has an error that is reported elsewhere.
    Broken,
}

/// Part of a scanned string.
#[derive(Debug, PartialEq, Eq)]
enum Segment<'a> {
    Literal(&'a str),
    /// Text between the braces, and the range of both.
    Reference(&'a str, Range<usize>),
    Unclosed(Range<usize>),
}

/// Replaces every reference in the tree. Values with an invalid reference are reported and removed.
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

/// Converts marks back to secrets.
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
                let expanded = match packer::unevaluated(string, &span) {
                    Some(problem) if !is_code(&self.path) => Err(vec![problem]),
                    _ => expand(self.source, string, &span, self.scope, allowed),
                };
                match expanded {
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

/// Returns true for keys that run in the guest or are written into it, and are neither shown nor recorded.
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

/// Returns true for text in which `${var.x}` may have a meaning: commands, and files of the guest.
fn is_code(path: &[String]) -> bool {
    let is_command = matches!(path, [table, _, key] if table == "test" && key == "command");
    is_command || secrets_allowed(path)
}

/// Replaces the references in one string.
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

/// Like [`expand`], with another way to look up names.
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
    for segment in scan(string) {
        let inner = match segment {
            Segment::Literal(literal) => {
                expanded.push_str(literal);
                continue;
            }
            Segment::Unclosed(_) => None,
            Segment::Reference(inner, _) => Some(inner),
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
        Some(inner) => format!("invalid variable name `{inner}`"),
    };
    let help = inner.and_then(packer::expression).unwrap_or_else(|| {
        "names consist of a-z, 0-9 and _; for a literal `{{` write `{{{{`".to_owned()
    });
    Problem::at(place, what).help(help)
}

fn misplaced_secret(place: Span, name: &str) -> Problem {
    Problem::at(
        place,
        format!("the secret `{name}` cannot be used here, because this value is shown or recorded"),
    )
    .help("secrets are allowed in shell.inline, shell.environment and the content of a file")
}

/// Returns true for a valid name of a variable or secret.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn scan(text: &str) -> Vec<Segment<'_>> {
    let (mut segments, mut at) = (Vec::new(), 0);
    while let Some(offset) = text[at..].find("{{") {
        let open = at + offset;
        segments.push(Segment::Literal(&text[at..open]));
        let inside = open + 2;
        if text[inside..].starts_with("{{") {
            segments.push(Segment::Literal("{{"));
            at = inside + 2;
        } else if let Some(length) = text[inside..].find("}}") {
            at = inside + length + 2;
            segments.push(Segment::Reference(&text[inside..inside + length], open..at));
        } else {
            segments.push(Segment::Unclosed(open..inside));
            at = inside;
        }
    }
    segments.push(Segment::Literal(&text[at..]));
    segments
}

/// Locates a reference by its index in the source. It rescans the raw text of the string, because escapes shift offsets. For a
/// reference that itself contains escapes, returns the span of the whole string.
fn locate(source: &str, span: &Span, index: usize, wanted: Option<&str>) -> Span {
    let raw = source.get(span.clone()).unwrap_or_default();
    let place = scan(raw)
        .into_iter()
        .filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Reference(inner, place) => Some((Some(inner), place)),
            Segment::Unclosed(place) => Some((None, place)),
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
                Err("invalid variable name `.Names` at \"{{ .Names }}\""),
            ),
            ("{{ color", Err("`{{` is not closed by `}}` at \"{{\"")),
            ("{{}}", Err("invalid variable name `` at \"{{}}\"")),
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
