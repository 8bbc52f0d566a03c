//! The parsed text as a tree with spans, and typed deserialization that continues after an error.

use std::collections::HashSet;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Span, nearest};
use super::{language, packer, shape};

/// Root table of a template.
pub(super) type Tree<'a> = Spanned<DeTable<'a>>;

/// Marks an unknown key. No table has a key `""`.
const UNKNOWN: &str = "";

/// Invalid entries removed from the tree, by the span of their table. They were reported already.
#[derive(Debug, Default)]
pub(crate) struct Removed(HashSet<(Range<usize>, String)>);

impl Removed {
    /// Returns true if the table had this key.
    pub fn has(&self, table: &Span, key: &str) -> bool {
        self.0.contains(&(table.clone(), key.to_owned()))
    }

    /// Returns true if the table had an unknown key, which may be a typo of any missing one.
    pub fn has_unknown(&self, table: &Span) -> bool {
        self.has(table, UNKNOWN)
    }

    fn add(&mut self, table: Span, key: &str) {
        self.0.insert((table, key.to_owned()));
    }
}

/// Parses TOML; returns all syntax errors.
pub(super) fn parse(text: &str) -> Result<Tree<'_>, Vec<Problem>> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(tree);
    }
    if let Some(problem) = language::other_language(text) {
        return Err(vec![problem]);
    }
    let problem = |error: toml::de::Error| {
        let rest = error.span().and_then(|span| text.get(span.start..));
        let help = shape::syntax(error.message(), rest.unwrap_or_default());
        Problem {
            span: error.span(),
            help,
            ..Problem::nowhere(error.message())
        }
    };
    Err(errors.into_iter().map(problem).collect())
}

/// Deserializes a tree; removes and reports each entry that does not fit.
pub(super) fn read<T: DeserializeOwned>(
    text: &str,
    tree: &mut Tree<'_>,
    removed: &mut Removed,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    for (span, problem) in shape::wrong_tables(text, tree.get_ref()) {
        let root = tree.span();
        remove(tree.get_mut(), root, &span, removed);
        problems.push(problem);
    }
    loop {
        let error = match T::deserialize(toml::Deserializer::from(tree.clone())) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let table = error
            .span()
            .and_then(|span| outermost(tree.get_ref(), &span));
        let (problem, meant) = explain(text, &error, table.as_deref());
        let root = tree.span();
        let table = problem
            .span
            .as_ref()
            .and_then(|span| remove(tree.get_mut(), root, span, removed));
        problems.push(problem);
        if let Some(meant) = meant {
            removed.add(table.clone()?, &meant);
        }
        table?;
    }
}

/// Removes the innermost entry whose key, value or array item is at `span`; returns the span of its table.
pub(super) fn remove(
    table: &mut DeTable<'_>,
    table_span: Span,
    span: &Span,
    removed: &mut Removed,
) -> Option<Span> {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let value_span = value.span();
        let inside = remove_inside(value.get_mut(), value_span.clone(), span, removed);
        if inside.is_some() {
            return inside;
        }
        if key.span() == *span || value_span == *span || holds(value.get_ref(), span) {
            found = Some(key.clone());
        }
    }
    let key = found?;
    removed.add(table_span.clone(), key.get_ref());
    table.remove(&key);
    Some(table_span)
}

fn remove_inside(
    value: &mut DeValue<'_>,
    span: Span,
    wanted: &Span,
    removed: &mut Removed,
) -> Option<Span> {
    match value {
        DeValue::Table(table) => remove(table, span, wanted, removed),
        DeValue::Array(items) => items.iter_mut().find_map(|item| {
            let span = item.span();
            remove_inside(item.get_mut(), span, wanted, removed)
        }),
        _ => None,
    }
}

fn holds(value: &DeValue<'_>, span: &Span) -> bool {
    matches!(value, DeValue::Array(items) if items.iter().any(|item| item.span() == *span || holds(item.get_ref(), span)))
}

/// Returns the name of the outermost table that has the key at `span` in it.
fn outermost(tree: &DeTable<'_>, span: &Span) -> Option<String> {
    fn has(value: &DeValue<'_>, span: &Span) -> bool {
        match value {
            DeValue::Table(table) => table
                .iter()
                .any(|(key, value)| key.span() == *span || has(value.get_ref(), span)),
            DeValue::Array(items) => items.iter().any(|item| has(item.get_ref(), span)),
            _ => false,
        }
    }
    let mut entries = tree.iter();
    let (name, _) = entries.find(|(_, value)| has(value.get_ref(), span))?;
    Some(name.get_ref().to_string())
}

/// Rewords serde's error for users who know TOML but not Rust. `table` is the outermost table of its place. For an unknown key,
/// also returns the key that was probably meant, so that it is not reported as missing.
fn explain(text: &str, error: &toml::de::Error, table: Option<&str>) -> (Problem, Option<String>) {
    let message = error.message();
    let place = |what: String| Problem {
        span: error.span(),
        ..Problem::nowhere(what)
    };
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let key = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        let meant = nearest(key, known.iter().copied());
        let help = match (packer::counterpart(key, table), meant) {
            (Some(advice), _) => advice.to_owned(),
            (None, Some(meant)) => format!("did you mean `{meant}`?"),
            (None, None) => format!("known keys here: {}", known.join(", ")),
        };
        let problem = place(format!("unknown key `{key}`")).help(help);
        return (problem, Some(meant.unwrap_or(UNKNOWN).to_owned()));
    }
    let mut what = message.to_owned();
    for (from, to) in [
        ("invalid type: map", "invalid type: a table"),
        ("invalid type: sequence", "invalid type: an array"),
        ("expected a sequence", "expected an array"),
        ("expected a map", "expected a table"),
        ("expected a boolean", "expected true or false"),
        ("invalid length 1", "invalid type: an array"),
        ("invalid length 0", "invalid type: an array"),
    ] {
        what = what.replace(from, to);
    }
    if let Some((before, _)) = what.split_once("expected struct ") {
        what = format!("{before}expected a table");
    }
    let value = error.span().and_then(|span| text.get(span));
    let help = shape::mistyped(message, value.unwrap_or_default());
    (place(what).maybe_help(help), None)
}
