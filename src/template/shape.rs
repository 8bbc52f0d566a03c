//! Advice for values of the wrong TOML type.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Span};

/// Tables of a template that are written once.
const TABLES: [&str; 12] = [
    "image",
    "base",
    "builder",
    "ssh",
    "network",
    "packages",
    "finish",
    "policy",
    "output",
    "publish",
    "variables",
    "secrets",
];

/// Reports tables of the template that have another value, which serde would describe by their first field. Returns
/// their places.
pub(super) fn wrong_tables(text: &str, tree: &DeTable<'_>) -> Vec<(Span, Problem)> {
    let mut found = wrong_scripts(text, tree);
    let wrong = tree.iter().filter(|(key, value)| {
        TABLES.contains(&key.get_ref().as_ref()) && !matches!(value.get_ref(), DeValue::Table(_))
    });
    found.extend(wrong.map(|(key, value)| {
        let name = key.get_ref();
        let help = match (name.as_ref(), value.get_ref()) {
            ("packages", DeValue::Array(_)) => {
                "write `[packages.apt]`, and `install = [...]` below it".to_owned()
            }
            (_, DeValue::Array(_)) => format!("write `[{name}]` with one pair of brackets"),
            _ => format!("write `[{name}]` on a line of its own, and its keys below it"),
        };
        let problem = Problem::at(key.span(), format!("`{name}` is a table")).help(help);
        (value.span(), problem)
    }));
    found
}

/// Reports steps whose `shell` is the list of commands.
fn wrong_scripts(text: &str, tree: &DeTable<'_>) -> Vec<(Span, Problem)> {
    let lists = ["provision", "on_error"]
        .into_iter()
        .filter_map(|name| tree.get(name)?.get_ref().as_array());
    let steps = lists
        .flatten()
        .filter_map(|step| step.get_ref().as_table()?.get("shell"));
    let arrays = steps.filter(|shell| matches!(shell.get_ref(), DeValue::Array(_)));
    arrays
        .map(|shell| {
            let commands = text.get(shell.span()).unwrap_or("[...]");
            let problem = Problem::at(shell.span(), "`shell` is a table");
            let help = format!("write {{ inline = {commands} }}");
            (shell.span(), problem.help(help))
        })
        .collect()
}

/// Returns advice for a syntax error. `rest` is the text from the error on.
pub(super) fn syntax(message: &str, rest: &str) -> Option<String> {
    if message.contains("leading zero") {
        let digits = rest.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
        return (!digits.is_empty()).then(|| format!("write \"{digits}\""));
    }
    None
}

/// Returns advice for a value that serde refuses with `message`. `value` is its text.
pub(super) fn mistyped(message: &str, value: &str) -> Option<String> {
    let (found, expected) = message.split_once(", expected ")?;
    let is = |kind: &str| found.starts_with(&format!("invalid type: {kind}"));
    let is_text = is("string");
    let is_list = is("sequence") || found.starts_with("invalid length");
    // An array of commands does not come this far: `wrong_scripts` reports it.
    if expected.contains("`inline`") {
        return is_text.then(|| format!("write {{ inline = [{value}] }}"));
    }
    if expected.starts_with("a sequence") {
        if is_text {
            return Some(format!("write [{value}]"));
        }
        if is("map") {
            return Some(match value.strip_prefix('[') {
                Some(name) => format!("write [[{}]]", name.trim_end_matches(']')),
                None => format!("write [{value}]"),
            });
        }
    }
    if expected.starts_with("a string") && is_list {
        return Some(format!("write {}", joined(value)?));
    }
    if is("floating point") && expected.starts_with("an integer") {
        let whole = value.split('.').next()?;
        return whole
            .parse::<u32>()
            .is_ok()
            .then(|| format!("write {whole}"));
    }
    None
}

/// Joins the strings of an array to one string in TOML's form.
fn joined(array: &str) -> Option<String> {
    let text = format!("x = {array}");
    let tree: Spanned<DeTable<'_>> = DeTable::parse(&text).ok()?;
    let value = tree.get_ref().get("x")?;
    let words = value.get_ref().as_array()?.iter();
    let words: Option<Vec<&str>> = words.map(|word| word.get_ref().as_str()).collect();
    Some(toml::Value::String(words?.join(" ")).to_string())
}
