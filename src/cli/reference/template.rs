//! The tables of keys in `docs/reference/template.md`, generated from the types of `template::schema`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::{check, in_repository};
use crate::template::schema::{default_of, definitions};

/// Line above a table; the name of a type follows.
const MARK: &str = "<!-- keys: ";

/// Returns the page with its tables as the types have them.
fn page(written: &str) -> String {
    let schema = definitions();
    let sources = sources();
    let mut page = String::new();
    let mut lines = written.lines().peekable();
    while let Some(line) = lines.next() {
        page.extend([line, "\n"]);
        let Some(name) = marked(line) else { continue };
        while lines
            .next_if(|line| line.is_empty() || line.starts_with('|'))
            .is_some()
        {}
        page += &table(name, &schema["$defs"][name], &sources);
        if lines.peek().is_some() {
            page.push('\n');
        }
    }
    page
}

fn marked(line: &str) -> Option<&str> {
    line.strip_prefix(MARK)?.strip_suffix(" -->")
}

/// Returns the text of all files with types of the schema.
fn sources() -> String {
    let files = std::fs::read_dir(in_repository("src/template/schema")).expect("it exists");
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    texts.collect()
}

/// Returns the keys of a type in the order of its fields. The schema itself is sorted by name.
fn keys<'a>(name: &str, schema: &'a Value, sources: &str) -> Vec<(&'a String, &'a Value)> {
    let (_, fields) = sources
        .split_once(&format!("pub struct {name} {{"))
        .unwrap_or_else(|| panic!("{name} is a type in src/template/schema"));
    let properties = schema["properties"].as_object().expect("a table");
    let mut keys: Vec<_> = properties.iter().collect();
    keys.sort_by_key(|(key, _)| {
        let field = ["pub ", "_"].map(|start| fields.find(&format!("\n    {start}{key}:")));
        field.into_iter().flatten().min()
    });
    keys
}

/// Returns the table of a type. Keys that are tables have sections of their own.
fn table(name: &str, schema: &Value, sources: &str) -> String {
    let mut table = "\n| key | type | default | meaning | example |\n".to_owned();
    table += "| --- | --- | --- | --- | --- |\n";
    for (key, value) in keys(name, schema, sources) {
        if value.get("$ref").is_some() {
            continue;
        }
        let description = value["description"].as_str().unwrap_or_default();
        let (meaning, condition) = split_condition(description);
        let default = match condition {
            _ if is_required(schema, key) => "required".to_owned(),
            Some(condition) => default_of(condition).map_or_else(
                || {
                    condition
                        .replace("Required", "required")
                        .trim_end_matches('.')
                        .to_owned()
                },
                str::to_owned,
            ),
            None if value["type"] == "array" => "`[]`".to_owned(),
            None => "none".to_owned(),
        };
        let example = format!("`{}`", toml(&value["examples"][0]));
        let cells = [
            format!("`{key}`"),
            kind(value),
            default,
            meaning.to_owned(),
            example,
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    }
    table
}

fn is_required(schema: &Value, key: &str) -> bool {
    let required = schema["required"].as_array();
    required.is_some_and(|keys| keys.iter().any(|required| required == key))
}

/// Splits the last sentence off if it is `Default: ...` or `Required ...`.
fn split_condition(description: &str) -> (&str, Option<&str>) {
    let starts = ["Default: ", "Required "].map(|word| description.rfind(word));
    match starts.into_iter().flatten().max() {
        Some(start) => (description[..start].trim_end(), Some(&description[start..])),
        None => (description, None),
    }
}

/// Describes the values of a key: its title, or what its schema allows.
fn kind(schema: &Value) -> String {
    if let Some(title) = schema["title"].as_str() {
        return title.to_owned();
    }
    if let Some(words) = schema["enum"].as_array() {
        return either(words.iter().map(|word| format!("`{word}`")).collect());
    }
    match &schema["type"] {
        Value::String(name) if name == "integer" => format!("integer{}", bounds(schema)),
        Value::String(name) if name == "array" => format!("list of {}", kinds(&schema["items"])),
        Value::String(name) if name == "object" => {
            format!("table of {}", kinds(&schema["additionalProperties"]))
        }
        Value::String(name) => name.clone(),
        Value::Array(names) => either(
            names
                .iter()
                .map(|name| name.as_str().unwrap().to_owned())
                .collect(),
        ),
        _ => "table".to_owned(),
    }
}

/// Describes several values of one kind.
fn kinds(schema: &Value) -> String {
    let kind = kind(schema);
    let (name, bounds) = kind.split_once(',').unwrap_or((&kind, ""));
    match bounds {
        "" => format!("{name}s"),
        bounds => format!("{name}s,{bounds}"),
    }
}

fn either(mut words: Vec<String>) -> String {
    let last = words.pop().unwrap_or_default();
    if words.is_empty() {
        last
    } else {
        format!("{} or {last}", words.join(", "))
    }
}

/// Describes the bounds of an integer that are tighter than those of its type.
fn bounds(schema: &Value) -> String {
    let max = schema["maximum"]
        .as_u64()
        .filter(|max| *max < u32::MAX.into());
    match (schema["minimum"].as_u64().unwrap_or(0), max) {
        (0, None) => String::new(),
        (min, None) => format!(", at least {min}"),
        (min, Some(max)) => format!(", {min} to {max}"),
    }
}

/// Formats a JSON value as TOML in one line. JSON's strings are TOML's, too.
pub(super) fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(toml).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(table) => {
            let entries = table
                .iter()
                .map(|(key, value)| format!("{key} = {}", toml(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        scalar => scalar.to_string(),
    }
}

#[test]
fn the_template_reference_is_up_to_date() {
    check("docs/reference/template.md", page);
}

#[test]
fn the_template_reference_has_each_table_once() {
    let written = std::fs::read_to_string(in_repository("docs/reference/template.md")).unwrap();
    let names: Vec<&str> = written.lines().filter_map(marked).collect();
    let on_page: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(on_page.len(), names.len(), "{names:?}");
    let schema = definitions();
    let with_keys = schema["$defs"].as_object().unwrap().iter();
    let with_keys = with_keys.filter(|(_, schema)| {
        let keys = schema["properties"].as_object();
        keys.is_some_and(|keys| keys.values().any(|key| key.get("$ref").is_none()))
    });
    assert_eq!(on_page, with_keys.map(|(name, _)| name.as_str()).collect());
}

#[test]
fn each_key_has_its_meaning_and_one_example() {
    let schema = definitions();
    for (name, table) in schema["$defs"].as_object().unwrap() {
        let Some(keys) = table["properties"].as_object() else {
            continue;
        };
        for (key, value) in keys.iter().filter(|(_, value)| value.get("$ref").is_none()) {
            let (meaning, _) = split_condition(value["description"].as_str().unwrap_or_default());
            assert!(meaning.ends_with('.'), "{name}.{key}: {meaning:?}");
            let examples = value["examples"].as_array();
            assert!(examples.is_some_and(|list| list.len() == 1), "{name}.{key}");
        }
    }
}
