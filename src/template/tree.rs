//! The parsed text as a tree with spans, and typed deserialization that continues after an error.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Span, nearest};
use super::{key_place, language, packer, shape, syntax};

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
    let mut problems: BTreeMap<usize, Problem> = BTreeMap::new();
    for error in errors {
        let (line, column, number) = syntax::line_of(text, error.span());
        let problem = Problem {
            span: error.span(),
            help: syntax::advice(error.message(), line, column),
            ..Problem::nowhere(syntax::plain(error.message()))
        };
        let start = |problem: &Problem| problem.span.as_ref().map(|span| span.start);
        // The parser goes on in the middle of a wrong line: what it says of the rest misleads.
        match problems.get(&number) {
            Some(first) if start(first) <= start(&problem) => {}
            _ => drop(problems.insert(number, problem)),
        }
    }
    Err(problems.into_values().collect())
}

/// Deserializes a tree; removes and reports each entry that does not fit.
pub(super) fn read<T: DeserializeOwned>(
    text: &str,
    tree: &mut Tree<'_>,
    removed: &mut Removed,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    for (span, problem) in shape::mismatches(text, tree.get_ref()) {
        let root = tree.span();
        remove(tree.get_mut(), root, &span, removed);
        problems.push(problem);
    }
    loop {
        let error = match T::deserialize(toml::Deserializer::from(tree.clone())) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let (problem, meant) = explain(tree.get_ref(), &error);
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

/// Rewords serde's error for users who know TOML but not Rust. For an unknown key, also returns the key that was probably
/// meant, so that it is not reported as missing.
fn explain(tree: &DeTable<'_>, error: &toml::de::Error) -> (Problem, Option<String>) {
    let message = error.message();
    let place = |what: &str| Problem {
        span: error.span(),
        ..Problem::nowhere(what)
    };
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let key = quoted.next().unwrap_or_default();
        let known: Vec<&str> = quoted.collect();
        let meant = nearest(key, known.iter().copied());
        let path = error.span().and_then(|span| path_of(tree, &span));
        let path = path.unwrap_or_default();
        let table = path.first().map(String::as_str);
        let advice = key_place::counterpart(&path, key).or_else(|| packer::counterpart(key, table));
        let help = match (advice, meant) {
            (Some(advice), _) => advice.to_owned(),
            (None, Some(meant)) => format!("did you mean `{meant}`?"),
            (None, None) => key_place::elsewhere(&path, key)
                .unwrap_or_else(|| format!("known keys here: {}", known.join(", "))),
        };
        let problem = place(&format!("unknown key `{key}`")).help(help);
        return (problem, Some(meant.unwrap_or(UNKNOWN).to_owned()));
    }
    (place(message).maybe_help(shape::misspelt(message)), None)
}

/// Returns the path of the table whose key is at `span`.
fn path_of(table: &DeTable<'_>, span: &Span) -> Option<Vec<String>> {
    table.iter().find_map(|(key, value)| {
        if key.span() == *span {
            return Some(Vec::new());
        }
        let mut path = match value.get_ref() {
            DeValue::Table(table) => path_of(table, span),
            DeValue::Array(items) => {
                let mut tables = items.iter().filter_map(|item| item.get_ref().as_table());
                tables.find_map(|table| path_of(table, span))
            }
            _ => None,
        }?;
        path.insert(0, key.get_ref().to_string());
        Some(path)
    })
}
