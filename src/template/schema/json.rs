//! The JSON schema of templates.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _, transform_subschemas};
use serde_json::{Value, json};

use super::Template;

/// Pattern of strings that contain a variable or secret, whose value the schema cannot know.
const VARIABLE: &str = r"\{\{";

/// Returns the JSON schema of templates. Draft 7 is what editors support best.
///
/// Every table is spelled out where it is used, because draft 7 allows no description beside a `$ref`.
pub(crate) fn json_schema() -> Schema {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Template>();
    RecursiveTransform(tidy).transform(&mut schema);
    allow_variables(&mut schema);
    schema
}

/// Returns the schema with one definition per table and without variables, for the reference.
#[cfg(test)]
pub(crate) fn definitions() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Template>();
    RecursiveTransform(tidy).transform(&mut schema);
    schema.to_value()
}

/// Removes what only JSON or Rust has, such as null, and adds the defaults of the documentation.
fn tidy(schema: &mut Schema) {
    let Some(table) = schema.as_object_mut() else {
        return;
    };
    table.remove("format");
    table.remove("default");
    let is_null = |value: &Value| {
        value.is_null() || *value == json!("null") || *value == json!({"type": "null"})
    };
    for key in ["type", "enum", "anyOf"] {
        let Some(Value::Array(choices)) = table.get_mut(key) else {
            continue;
        };
        choices.retain(|choice| !is_null(choice));
        if let ([only], "type") = (&choices[..], key) {
            let only = only.clone();
            table.insert(key.to_owned(), only);
        } else if let ([Value::Object(only)], "anyOf") = (&choices[..], key) {
            let only = only.clone();
            table.remove(key);
            table.extend(only);
        }
    }
    if let Some(Value::String(description)) = table.get_mut("description") {
        *description = description.replace('\n', " ");
        if let Some(default) = default_of(description).and_then(toml_value) {
            table.insert("default".to_owned(), default);
        }
    }
}

/// Returns the text after `Default: ` in a description, without its full stop.
pub(crate) fn default_of(description: &str) -> Option<&str> {
    let (_, default) = description.rsplit_once("Default: ")?;
    default.strip_suffix('.')
}

/// Returns the TOML value that a text has in backticks and nothing else.
fn toml_value(text: &str) -> Option<Value> {
    let text = text.strip_prefix('`')?.strip_suffix('`')?;
    let document = toml::from_str::<toml::Table>(&format!("value = {text}")).ok()?;
    serde_json::to_value(document.get("value")?).ok()
}

/// Accepts a string with a variable in place of every value, and numbers and booleans in quotes.
fn allow_variables(schema: &mut Schema) {
    transform_subschemas(&mut allow_variables, schema);
    let Some(table) = schema.as_object_mut() else {
        return;
    };
    let text = json!("string");
    let may_be_text = match table.get("type") {
        Some(Value::Array(kinds)) => kinds.contains(&text),
        kind => kind == Some(&text),
    };
    if may_be_text && let Some(Value::String(pattern)) = table.get_mut("pattern") {
        *pattern = format!("{pattern}|{VARIABLE}");
    }
    let quoted = match table.get("type").and_then(Value::as_str) {
        Some("integer") => "^[0-9]+$",
        Some("boolean") => "^(true|false)$",
        Some("string") => {
            if let Some(words) = table.remove("enum") {
                let choices = json!([{"enum": words}, {"pattern": VARIABLE}]);
                table.insert("anyOf".to_owned(), choices);
            }
            return;
        }
        _ => return,
    };
    let bounds = ["type", "minimum", "maximum"];
    let bare = bounds.map(|key| Some((key.to_owned(), table.remove(key)?)));
    let bare: serde_json::Map<String, Value> = bare.into_iter().flatten().collect();
    let quoted = json!({"type": "string", "pattern": format!("{quoted}|{VARIABLE}")});
    table.insert("anyOf".to_owned(), json!([bare, quoted]));
}
