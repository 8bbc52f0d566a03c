//! Words and expressions of Packer's templates, each with karat's counterpart.

use std::ops::Range;
use std::sync::LazyLock;

use serde::Deserialize;

use super::interpolate::is_name;
use super::problem::{Problem, Span};

static COUNTERPARTS: LazyLock<Counterparts> =
    LazyLock::new(|| toml::from_str(include_str!("packer.toml")).expect("the tests read it"));

/// The tables of `packer.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Counterparts {
    word: Vec<Row>,
    expression: Vec<Row>,
    function: Vec<Row>,
}

/// Words with one counterpart.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    names: Vec<String>,
    /// Outermost tables in which the row applies; empty for all.
    #[serde(default)]
    below: Vec<String>,
    advice: String,
}

impl Row {
    fn has(&self, word: &str) -> bool {
        self.names.iter().any(|name| match name.strip_suffix('*') {
            Some(start) => word.starts_with(start),
            None => name == word,
        })
    }

    fn applies(&self, table: Option<&str>) -> bool {
        self.below.is_empty() || self.below.iter().any(|below| Some(below.as_str()) == table)
    }
}

/// Returns advice for a key that is Packer's, or that people from Packer expect. `table` is the outermost table that has it.
pub(super) fn counterpart(key: &str, table: Option<&str>) -> Option<&'static str> {
    let mut rows = COUNTERPARTS.word.iter();
    let row = rows.find(|row| row.has(key) && row.applies(table))?;
    Some(&row.advice)
}

/// Returns advice for a name between braces that is a function of Packer.
pub(super) fn function(name: &str) -> Option<&'static str> {
    let row = COUNTERPARTS.function.iter().find(|row| row.has(name))?;
    Some(&row.advice)
}

/// Returns advice for an expression of Packer: the text between the braces of `${var.region}` or ``{{user `region`}}``.
pub(super) fn expression(text: &str) -> Option<String> {
    let text = text.trim();
    let is_dot = |index: usize, letter: char| index == 0 && letter == '.';
    let end = text
        .char_indices()
        .find(|(index, letter)| !is_word(*letter) && !is_dot(*index, *letter));
    let (word, rest) = text.split_at(end.map_or(text.len(), |(index, _)| index));
    let rows = || COUNTERPARTS.expression.iter().chain(&COUNTERPARTS.function);
    let row = rows().find(|row| row.has(word))?;
    let name = rest
        .split(|letter| !is_word(letter) && letter != '-')
        .find(|word| !word.is_empty() && !rows().any(|row| row.has(word)));
    let name = name.map(|name| name.to_lowercase().replace('-', "_"));
    let name = name.filter(|name| is_name(name));
    Some(
        row.advice
            .replace("NAME", name.as_deref().unwrap_or("name")),
    )
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Returns the places of HCL's expressions in a text, such as `${var.region}`. A shell has no variable with such a name.
pub(crate) fn hcl_expressions(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("${").filter_map(|(start, open)| {
        let inside = &text[start + open.len()..];
        let length = inside.find('}')?;
        let after = inside[..length].trim_start().trim_start_matches(is_word);
        let starts_with_word = !inside.trim_start().starts_with(['.', '(']);
        (starts_with_word && after.starts_with(['.', '(']))
            .then(|| start..start + open.len() + length + 1)
    })
}

/// Returns advice for an expression of HCL with its braces.
pub(crate) fn hcl_advice(expression_with_braces: &str) -> String {
    let inside = expression_with_braces.trim_matches(['$', '{', '}']);
    expression(inside)
        .unwrap_or_else(|| "write `{{ name }}`, which `[variables.name]` declares".to_owned())
}

/// Returns an error for a string with an expression of HCL, which karat does not evaluate.
pub(super) fn unevaluated(string: &str, span: &Span) -> Option<Problem> {
    let found = &string[hcl_expressions(string).next()?];
    let what = format!("`{found}` is an expression of HCL, which karat does not evaluate");
    Some(Problem::at(span.clone(), what).help(hcl_advice(found)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use regex::Regex;
    use serde_json::Value;

    use super::*;
    use crate::template::schema::json_schema;

    /// Returns the schema of a key, by its path from the template.
    fn schema_of<'a>(schema: &'a Value, path: &[String]) -> Option<&'a Value> {
        let Some((name, rest)) = path.split_first() else {
            return Some(schema);
        };
        let schema = schema.get("items").unwrap_or(schema);
        let named = schema["properties"].get(name.as_str());
        let other = || {
            schema
                .get("additionalProperties")
                .filter(|found| found.is_object())
        };
        schema_of(named.or_else(other)?, rest)
    }

    /// Asserts that a table accepts the keys of a snippet such as `user` or `shell = { inline = ["..."] }`.
    fn assert_keys(schema: &Value, table: &[String], snippet: &str, advice: &str) {
        let text = if snippet.contains('=') {
            snippet.to_owned()
        } else {
            format!("{snippet} = true")
        };
        let keys: toml::Table = toml::from_str(&text).unwrap_or_else(|_| panic!("{advice}"));
        let mut open: Vec<(Vec<String>, toml::Table)> = vec![(table.to_vec(), keys)];
        while let Some((path, table)) = open.pop() {
            for (name, value) in table {
                let path = [&path[..], &[name]].concat();
                assert!(schema_of(schema, &path).is_some(), "{path:?} in {advice}");
                if let toml::Value::Table(table) = value {
                    open.push((path, table));
                }
            }
        }
    }

    #[test]
    fn advice_names_existing_keys() {
        let schema = json_schema().to_value();
        let span = Regex::new(r"`([^`]+)`").unwrap();
        let mut count = 0;
        let counterparts = &COUNTERPARTS;
        let rows = counterparts.word.iter().chain(&counterparts.expression);
        for Row { advice, .. } in rows.chain(&counterparts.function) {
            let mut keys: Vec<&str> = Vec::new();
            let mut end = 0;
            for found in span.captures_iter(advice) {
                let (whole, text) = (found.get(0).unwrap(), found.get(1).unwrap().as_str());
                let before = &advice[end..whole.start()];
                end = whole.end();
                count += 1;
                if text.starts_with('[') {
                    let table = text.trim_matches(['[', ']']).split('.');
                    let table: Vec<String> = table.map(str::to_owned).collect();
                    assert!(schema_of(&schema, &table).is_some(), "{text} in {advice}");
                    if [" in ", " below "].contains(&before) {
                        for key in keys.drain(..) {
                            assert_keys(&schema, &table, key, advice);
                        }
                    }
                } else if !["karat ", "/", "--", "{{"]
                    .iter()
                    .any(|start| text.starts_with(start))
                {
                    keys.push(text);
                }
            }
            for key in keys {
                assert_keys(&schema, &["provision".to_owned()], key, advice);
            }
        }
        assert!(count > 150, "{count} names");
    }

    #[test]
    fn every_word_stands_in_one_row_of_each_table() {
        let mut seen = BTreeSet::new();
        let mut is_general = false;
        for row in &COUNTERPARTS.word {
            for name in &row.names {
                let tables = row.below.iter().map(String::as_str).map(Some);
                let tables: Vec<Option<&str>> = if row.below.is_empty() {
                    vec![None]
                } else {
                    tables.collect()
                };
                for table in tables {
                    assert!(seen.insert((name, table)), "{name} in {table:?}");
                    let found = counterpart(name, table);
                    assert_eq!(found, Some(row.advice.as_str()), "{name} in {table:?}");
                }
            }
            is_general |= row.below.is_empty();
        }
        assert!(is_general);
    }

    #[test]
    fn the_place_of_a_word_decides() {
        for (word, table, expected) in [
            ("source", Some("provision"), "write `file = {"),
            ("source", Some("base"), "write `path` in `[base.file]`"),
            ("source", None, "write `[builder.qemu]`"),
            ("type", Some("variables"), "every value is text"),
            ("type", Some("on_error"), "the kind of a step is its key"),
            ("type", Some("builder"), "write `[builder.qemu]`"),
            ("type", Some("image"), ""),
            ("inline", Some("provision"), "write `shell = { inline"),
            ("winrm_username", Some("builder"), "karat always uses SSH"),
            ("ssh_bastion_host", Some("ssh"), "in `[ssh.jump]`"),
        ] {
            let advice = counterpart(word, table).unwrap_or_default();
            assert!(advice.contains(expected), "{word} in {table:?}: {advice}");
            assert_eq!(advice.is_empty(), expected.is_empty(), "{word}: {advice}");
        }
    }

    #[test]
    fn expressions_get_a_reference_to_a_variable() {
        for (text, expected) in [
            ("user `region`", "write `{{ region }}`"),
            ("var.image_name", "write `{{ image_name }}`"),
            (" var.Image-Name ", "write `{{ image_name }}`"),
            ("upper(var.region)", "`{{ region }}`"),
            ("env `AWS_REGION`", "KARAT_VAR_aws_region"),
            ("env(\"HOME\")", "KARAT_VAR_home"),
            ("timestamp()", "each image has an id"),
            ("isotime \"2006\"", "each image has an id"),
            ("path.root", "relative to the template"),
            (".Vars", "environment = { A = "),
            (".Names", ""),
            ("Names", ""),
            ("", ""),
        ] {
            let advice = expression(text).unwrap_or_default();
            assert!(advice.contains(expected), "{text}: {advice}");
            assert_eq!(advice.is_empty(), expected.is_empty(), "{text}: {advice}");
        }
    }

    #[test]
    fn expressions_of_hcl_are_told_from_variables_of_a_shell() {
        for (text, expected) in [
            ("${var.x}", Some("${var.x}")),
            ("a ${ local.y }b", Some("${ local.y }")),
            ("${upper(var.x)}", Some("${upper(var.x)}")),
            ("${HOME}/${var.x}", Some("${var.x}")),
            ("${HOME}", None),
            ("${HOME:-/root}", None),
            ("${file%.*}", None),
            ("${#x}", None),
            ("${.x}", None),
            ("$(echo .)", None),
            ("${é.x", None),
        ] {
            let found = hcl_expressions(text).next().map(|place| &text[place]);
            assert_eq!(found, expected, "{text}");
        }
    }
}
