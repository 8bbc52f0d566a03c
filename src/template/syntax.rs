//! Advice for syntax errors: the line that was probably meant.

use super::problem::Span;
use super::source::quote;

/// Words that other languages have for the lack of a value.
const NULLS: [&str; 4] = ["null", "none", "nil", "undefined"];

/// Returns the line at the start of a span, the column of the span in it, and its number.
pub(super) fn line_of(text: &str, span: Option<Span>) -> (&str, usize, usize) {
    let start = span.map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let number = before.matches('\n').count();
    (line, before.len() - line_start, number)
}

/// Rewords a message of the parser that names its guess of the type.
pub(super) fn plain(message: &str) -> &str {
    if message.starts_with("invalid float") || message.starts_with("invalid boolean") {
        return "this is not a value of TOML";
    }
    message
}

/// Returns advice for an error of the parser at a column of a line.
pub(super) fn advice(message: &str, line: &str, column: usize) -> Option<String> {
    let (before, rest) = line.split_at_checked(column)?;
    if message.contains("leading zero") {
        let digits = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
        return (!digits.is_empty()).then(|| format!("write \"{digits}\""));
    }
    if message.contains("escaped value") {
        return Some(format!("write `{}`", with_backslashes(line).trim()));
    }
    let (key, value) = entry(line);
    if ["//", "/*", "--", ";"]
        .iter()
        .any(|mark| line.trim().starts_with(mark))
    {
        let comment = line.trim().trim_start_matches(['/', '*', '-', ';', ' ']);
        return Some(format!(
            "write `# {}`",
            comment.trim_end_matches(['/', '*', ' '])
        ));
    }
    let end = rest.trim();
    if message.starts_with("unexpected key or value") && (end == "," || end == ";") {
        return Some(format!("write `{}`", before.trim()));
    }
    if NULLS.contains(&value.to_ascii_lowercase().as_str()) {
        return Some("remove the line: a key that is left out has its default".to_owned());
    }
    let is_entry = ["invalid unquoted key", "key with no value", "extra `=`"];
    let is_value = [
        "string values must be quoted",
        "invalid boolean",
        "invalid float",
    ];
    let begins = |beginnings: &[&str]| beginnings.iter().any(|text| message.starts_with(text));
    let is_known = begins(&is_entry) || begins(&is_value);
    if is_known && is_key(key) && !value.is_empty() {
        return Some(format!("write `{key} = {}`", toml_value(value)));
    }
    None
}

/// Splits a line into a key and its value, whatever is between them.
fn entry(line: &str) -> (&str, &str) {
    let line = line.trim();
    let key_end = line.find([':', '=', ' ', '\t']).unwrap_or(line.len());
    let (key, value) = line.split_at(key_end);
    let value = value.trim_start_matches([':', '=', ' ', '\t']);
    (key, value.trim_end_matches([',', ';', ' ']))
}

fn is_key(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !key.is_empty() && key.bytes().all(is_plain)
}

/// Returns the TOML of a value in another notation.
fn toml_value(value: &str) -> String {
    let (value, comment) = match value.split_once(" //").or_else(|| value.split_once(" #")) {
        Some((value, comment)) => (value.trim_end(), format!(" #{comment}")),
        None => (value, String::new()),
    };
    let is_toml = |text: &str| toml::from_str::<toml::Table>(&format!("value = {text}")).is_ok();
    let lower = value.to_ascii_lowercase();
    let written = match lower.as_str() {
        "true" | "yes" => "true".to_owned(),
        "false" | "no" => "false".to_owned(),
        _ if is_toml(value) => value.to_owned(),
        _ => quote(value.trim_matches(['"', '\'', '“', '”', '„', '‘', '’'])),
    };
    written + &comment
}

/// Doubles the backslashes of a line that begin no escape.
fn with_backslashes(line: &str) -> String {
    let mut fixed = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        fixed.push(character);
        if character == '\\' {
            let next = characters.next();
            if !next.is_some_and(|next| "befnrtxuU\\\"".contains(next)) {
                fixed.push('\\');
            }
            fixed.extend(next);
        }
    }
    fixed
}
