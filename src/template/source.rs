//! Source text of TOML values.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problem::Span;

/// Puts a value that is not a string in quotes.
pub(super) fn string(source: &str) -> String {
    if source.starts_with(['"', '\'']) {
        source.to_owned()
    } else {
        quote(source)
    }
}

/// Puts numbers with a point and dates in quotes.
pub(super) fn scalar(source: &str) -> String {
    let is_number = source.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if is_number && source.parse::<i64>().is_err() {
        quote(source)
    } else {
        source.to_owned()
    }
}

/// Returns the entries of a table, each on one line.
pub(super) fn entries(text: &str, table: &DeTable<'_>) -> Vec<String> {
    let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let value = inline_table(text, value.get_ref(), value.span());
        format!("{} = {value}", bare(key.get_ref()))
    };
    table.iter().map(entry).collect()
}

/// Returns the source of a value, with tables below headers as inline tables.
pub(super) fn inline_table(text: &str, value: &DeValue<'_>, span: Span) -> String {
    match value {
        DeValue::Table(table) if table.is_empty() => "{}".to_owned(),
        DeValue::Table(table) => format!("{{ {} }}", entries(text, table).join(", ")),
        _ => one_line(text.get(span).unwrap_or_default()),
    }
}

/// Returns the source of a value on one line, without comments.
pub(super) fn one_line(source: &str) -> String {
    if !source.contains('\n') {
        return source.to_owned();
    }
    match toml::from_str::<toml::Table>(&format!("value = {source}")) {
        Ok(mut table) => match table.remove("value") {
            Some(toml::Value::String(text)) => quote(&text),
            Some(value) => value.to_string(),
            None => source.to_owned(),
        },
        Err(_) => source.to_owned(),
    }
}

/// Returns the strings of an array.
pub(super) fn strings(source: &str) -> Option<Vec<String>> {
    let table = toml::from_str::<toml::Table>(&format!("value = {source}")).ok()?;
    let items = table.get("value")?.as_array()?.iter();
    let words = items.map(|item| item.as_str().map(str::to_owned));
    words
        .collect::<Option<Vec<String>>>()
        .filter(|words| !words.is_empty())
}

/// Returns the text between the quotes of a string, with its escapes.
pub(super) fn unquoted(source: &str) -> &str {
    source.trim_matches(['"', '\''])
}

/// Returns a string of TOML; JSON escapes the same characters.
pub(super) fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// Returns a key of TOML.
pub(super) fn bare(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !key.is_empty() && key.bytes().all(is_bare) {
        key.to_owned()
    } else {
        quote(key)
    }
}
