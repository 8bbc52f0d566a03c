//! Changes between two JSON values.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

/// Keys that identify an item of a list; the first one present counts.
const NAMES: [&str; 4] = ["name", "url", "destination", "path"];

/// A value that differs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Change {
    /// Path to the value: manifest keys and names of list items, relative to the list that holds this change.
    pub what: Vec<String>,
    /// Value in the first image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// Value in the second image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// Returns the changes between two tables by key, without the keys in `left_out`.
pub(super) fn by_key(
    first: &impl Serialize,
    second: &impl Serialize,
    left_out: &[&str],
) -> BTreeMap<String, Vec<Change>> {
    let [first, second] = [table(first), table(second)];
    let keys = first.keys().chain(second.keys());
    let keys = keys.filter(|key| !left_out.contains(&key.as_str()));
    let changed = keys.map(|key| {
        let (first, second) = (first.get(key), second.get(key));
        // A missing table compares like an empty one.
        let none = Value::Object(Map::new());
        let or_none = |one: Option<&Value>, other: Option<&Value>| match (one, other) {
            (None, Some(Value::Object(_))) => Some(none.clone()),
            (one, _) => one.cloned(),
        };
        let (from, to) = (or_none(first, second), or_none(second, first));
        (key.clone(), changes(from.as_ref(), to.as_ref()))
    });
    changed.filter(|(_, changes)| !changes.is_empty()).collect()
}

/// Returns the changes between two values.
pub(super) fn changes(first: Option<&Value>, second: Option<&Value>) -> Vec<Change> {
    let mut found = Vec::new();
    walk(&mut Vec::new(), first, second, &mut found);
    found
}

fn table(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(table)) => table,
        _ => Map::new(),
    }
}

fn walk(
    what: &mut Vec<String>,
    first: Option<&Value>,
    second: Option<&Value>,
    found: &mut Vec<Change>,
) {
    match (first, second) {
        (first, second) if first == second => {}
        (Some(Value::Object(first)), Some(Value::Object(second))) => {
            let new = second.keys().filter(|key| !first.contains_key(*key));
            let mut keys: Vec<_> = first.keys().chain(new).collect();
            keys.sort();
            for key in keys {
                what.push(key.clone());
                walk(what, first.get(key), second.get(key), found);
                what.pop();
            }
        }
        (Some(Value::Array(first)), Some(Value::Array(second))) => {
            lists(what, first, second, found);
        }
        // A manifest omits empty lists.
        (Some(Value::Array(first)), None) => lists(what, first, &[], found),
        (None, Some(Value::Array(second))) => lists(what, &[], second, found),
        (from, to) => found.push(Change {
            what: what.clone(),
            from: from.cloned(),
            to: to.cloned(),
        }),
    }
}

/// Compares list items by name, so that an inserted step does not change all that follow.
fn lists(what: &mut Vec<String>, first: &[Value], second: &[Value], found: &mut Vec<Change>) {
    let (first, second) = (named(first), named(second));
    let value_of = |list: &[(String, &Value)], name: &str| {
        let thing = list.iter().find(|(other, _)| other == name);
        thing.map(|(_, value)| (*value).clone())
    };
    let has = |list: &[(String, &Value)], name: &str| list.iter().any(|(other, _)| other == name);
    let new = second.iter().filter(|(name, _)| !has(&first, name));
    for (name, _) in first.iter().chain(new) {
        what.push(name.clone());
        let (from, to) = (value_of(&first, name), value_of(&second, name));
        walk(what, from.as_ref(), to.as_ref(), found);
        what.pop();
    }
    let common = |list: &[(String, &Value)], other: &[(String, &Value)]| -> Vec<Value> {
        let names = list.iter().filter(|(name, _)| has(other, name));
        names.map(|(name, _)| name.as_str().into()).collect()
    };
    let (from, to) = (common(&first, &second), common(&second, &first));
    if from != to {
        what.push("order".to_owned());
        found.push(Change {
            what: what.clone(),
            from: Some(from.into()),
            to: Some(to.into()),
        });
        what.pop();
    }
}

/// Pairs each item of a list with its name, numbered if the name repeats.
fn named(list: &[Value]) -> Vec<(String, &Value)> {
    let mut seen = BTreeMap::new();
    let named = list.iter().map(|value| {
        let name = name(value);
        let count = seen.entry(name.clone()).or_insert(0);
        *count += 1;
        let name = match *count {
            1 => name,
            count => format!("{name} ({count})"),
        };
        (name, value)
    });
    named.collect()
}

fn name(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => {
            let name = NAMES.iter().find_map(|key| value.get(key)?.as_str());
            name.map_or_else(|| value.to_string(), str::to_owned)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_is_told_and_by_its_name() {
        let step = |name: &str, user: &str| json!({"name": name, "user": user});
        for (first, second, expected) in [
            (json!({"a": 1}), json!({"a": 1}), vec![]),
            (json!(1), json!("1"), vec![" 1 \"1\""]),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": 3, "d": 4}}),
                vec!["a.b 1 3", "a.c 2 -", "a.d - 4"],
            ),
            (
                json!(["x", "y"]),
                json!(["y", "z"]),
                vec!["x \"x\" -", "z - \"z\""],
            ),
            (json!({"a": ["x"]}), json!({}), vec!["a.x \"x\" -"]),
            (
                json!(["/x"]),
                json!([{"path": "/x", "setuid": true}]),
                vec!["/x \"/x\" {\"path\":\"/x\",\"setuid\":true}"],
            ),
            (
                json!([step("one", "root"), step("two", "root")]),
                json!([step("new", "me"), step("one", "root"), step("two", "me")]),
                vec![
                    "two.user \"root\" \"me\"",
                    "new - {\"name\":\"new\",\"user\":\"me\"}",
                ],
            ),
            (
                json!([step("same", "a"), step("same", "b")]),
                json!([step("same", "a"), step("same", "c")]),
                vec!["same (2).user \"b\" \"c\""],
            ),
            (
                json!(["a", "b", "c"]),
                json!(["b", "a", "d"]),
                vec![
                    "c \"c\" -",
                    "d - \"d\"",
                    "order [\"a\",\"b\"] [\"b\",\"a\"]",
                ],
            ),
        ] {
            let text =
                |value: Option<Value>| value.map_or("-".to_owned(), |value| value.to_string());
            let found = changes(Some(&first), Some(&second)).into_iter();
            let found: Vec<_> = found
                .map(|change| {
                    let what = change.what.join(".");
                    format!("{what} {} {}", text(change.from), text(change.to))
                })
                .collect();
            assert_eq!(found, expected, "{first} {second}");
        }
    }

    #[test]
    fn a_table_that_one_has_not_is_one_with_nothing_in_it() {
        let found = by_key(
            &json!({"gone": {"a": 1}, "text": 1}),
            &json!({"text": 2}),
            &["text"],
        );
        let change = Change {
            what: vec!["a".to_owned()],
            from: Some(json!(1)),
            to: None,
        };
        assert_eq!(found, BTreeMap::from([("gone".to_owned(), vec![change])]));
    }
}
