//! Values of the wrong TOML type, found by comparing the tree with the schema of templates. Serde would describe a table by its
//! first field, and read an array as a table.

use std::sync::LazyLock;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Span};
use super::schema::json_schema;

/// Schema of templates.
pub(super) static SCHEMA: LazyLock<Value> = LazyLock::new(|| json_schema().to_value());

/// Kind of value that a key takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Table,
    /// An array of tables.
    Tables,
    List,
    Text,
    Number,
    Flag,
    Scalar,
    /// A string or a table.
    TextOrTable,
    /// A size or a duration.
    Quantity,
}

impl Kind {
    /// Returns the kind that a part of the schema describes.
    pub(super) fn of(schema: &Value) -> Self {
        let title = schema["title"].as_str().unwrap_or_default();
        let is_quantity = title.starts_with("size") || title.starts_with("duration");
        let name = match &schema["type"] {
            Value::Null => &schema["anyOf"][0]["type"],
            name => name,
        };
        let is_table_too = |kinds: &Vec<Value>| kinds.iter().any(|kind| kind == "object");
        if name.as_array().is_some_and(is_table_too) {
            return Self::TextOrTable;
        }
        match name.as_str() {
            Some("object") => Self::Table,
            Some("array") if Self::of(&schema["items"]) == Self::Table => Self::Tables,
            Some("array") => Self::List,
            Some("string") if is_quantity => Self::Quantity,
            Some("string") => Self::Text,
            Some("integer") => Self::Number,
            Some("boolean") => Self::Flag,
            _ => Self::Scalar,
        }
    }

    /// Returns true for values that deserialize, or that get a better error later.
    fn accepts(self, value: &DeValue<'_>) -> bool {
        use DeValue::{Array, Boolean, Datetime, Integer, String, Table};
        match self {
            Self::Table => matches!(value, Table(_)),
            Self::Tables => matches!(value, Array(items) if all_tables(items)),
            Self::List => matches!(value, Array(_)),
            Self::Text => matches!(value, String(_)),
            Self::Number => matches!(value, Integer(_) | String(_)),
            Self::Flag => matches!(value, Boolean(_) | String(_)),
            Self::Scalar => matches!(value, Boolean(_) | Integer(_) | String(_)),
            Self::TextOrTable => matches!(value, String(_) | Table(_)),
            Self::Quantity => !matches!(value, Array(_) | Table(_) | Datetime(_)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Table => "a table",
            Self::Tables => "an array of tables",
            Self::List => "an array",
            Self::Text | Self::Quantity => "a string",
            Self::Number => "an integer",
            Self::Flag => "true or false",
            Self::Scalar => "a string, an integer or a boolean",
            Self::TextOrTable => "a string or a table",
        }
    }
}

/// Returns true if an array has nothing but tables.
pub(super) fn all_tables(items: &[Spanned<DeValue<'_>>]) -> bool {
    items.iter().all(|item| item.get_ref().is_table())
}

/// Returns the schema of a key in a table.
pub(super) fn child<'s>(table: &'s Value, key: &str) -> Option<&'s Value> {
    let any = Some(&table["additionalProperties"]).filter(|schema| schema.is_object());
    table["properties"].get(key).or(any)
}

/// A value of the wrong type.
pub(super) struct Mismatch<'a, 'd> {
    /// Text of the template.
    pub text: &'a str,
    /// Keys from the root of the template to the value.
    pub path: &'a [String],
    pub schema: &'a Value,
    pub value: &'a Spanned<DeValue<'d>>,
}

/// Reports all values of the wrong type. Returns their keys' places, or those of the items of arrays.
pub(super) fn mismatches(text: &str, tree: &DeTable<'_>) -> Vec<(Span, Problem)> {
    let mut walk = Walk {
        text,
        path: Vec::new(),
        found: Vec::new(),
    };
    walk.table(&SCHEMA, tree);
    walk.found
}

struct Walk<'a> {
    text: &'a str,
    path: Vec<String>,
    found: Vec<(Span, Problem)>,
}

impl Walk<'_> {
    fn table(&mut self, schema: &Value, table: &DeTable<'_>) {
        for (key, value) in table {
            // Serde reports unknown keys.
            if let Some(schema) = child(schema, key.get_ref()) {
                self.path.push(key.get_ref().to_string());
                self.value(schema, &format!("`{}`", key.get_ref()), key.span(), value);
                self.path.pop();
            }
        }
    }

    fn value(&mut self, schema: &Value, name: &str, place: Span, value: &Spanned<DeValue<'_>>) {
        let kind = Kind::of(schema);
        match value.get_ref() {
            refused if !kind.accepts(refused) => {
                let expected = kind.name();
                let found = match refused {
                    DeValue::Array(_) if kind == Kind::Tables => "an array of other values",
                    refused => name_of(refused),
                };
                let mismatch = Mismatch {
                    text: self.text,
                    path: &self.path,
                    schema,
                    value,
                };
                let what = format!("{name} must be {expected}, not {found}");
                let problem = Problem::at(value.span(), what).maybe_help(mismatch.advice());
                self.found.push((place, problem));
            }
            DeValue::Table(table) => self.table(schema, table),
            DeValue::Array(items) => {
                let name = format!("an item of {name}");
                for item in items {
                    self.value(&schema["items"], &name, item.span(), item);
                }
            }
            _ => {}
        }
    }
}

fn name_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// Returns advice for a string that stands for a number or a boolean and that serde refuses with `message`.
pub(super) fn misspelt(message: &str) -> Option<String> {
    let (text, expected) = message.split_once(" is not ")?;
    let text = text.trim_matches('"').to_ascii_lowercase();
    let value = match (expected, text.as_str()) {
        ("true or false", "yes" | "on" | "1" | "y" | "true" | "enabled") => "true",
        ("true or false", "no" | "off" | "0" | "n" | "false" | "disabled") => "false",
        _ => {
            let digits = text.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<u32>().ok()?;
            return expected
                .starts_with("an integer")
                .then(|| format!("write {digits}"));
        }
    };
    Some(format!("write {value}"))
}
