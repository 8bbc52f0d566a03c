//! Keys of a template that stand in the wrong table.

use serde_json::Value;

use super::problem::nearest;
use super::shape::{Kind, SCHEMA};

/// Words that karat spells otherwise, by the table that they are written in.
const COUNTERPARTS: [(&str, &[&str], &str); 7] = [
    ("builder.ec2", &["disk_size"], "write `volume_size`"),
    ("ssh", &["username", "login"], "write `user`"),
    (
        "ssh",
        &["password"],
        "remove it: karat logs in with a key that it makes for this build; `key_file` names another",
    ),
    (
        "ssh",
        &["key", "private_key", "identity_file"],
        "write `key_file`",
    ),
    ("ssh", &["ports"], "write `min_port` and `max_port`"),
    (
        "provision",
        &["command", "commands", "cmd", "run", "exec"],
        "write `shell = { inline = [\"...\"] }`",
    ),
    (
        "test",
        &[
            "script", "inline", "shell", "commands", "cmd", "run", "exec",
        ],
        "write `command = \"...\"`",
    ),
];

/// Returns advice for a word that karat spells otherwise in the table at `path`.
pub(super) fn counterpart(path: &[String], key: &str) -> Option<&'static str> {
    let path = path.join(".").replace("on_error", "provision");
    let mut found = COUNTERPARTS.iter();
    let found = found.find(|(table, words, _)| *table == path && words.contains(&key));
    found.map(|(_, _, advice)| *advice)
}

/// A table that has a key.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    path: Vec<String>,
    /// Number of keys in the path up to the innermost array of tables.
    list: usize,
}

impl Place {
    /// Describes the table, as it is seen from another one.
    fn shown(&self, from: &[String]) -> String {
        let (header, inner) = self.path.split_at(match self.list {
            0 => self.path.len(),
            list => list,
        });
        let header = match self.list {
            0 => format!("`[{}]`", header.join(".")),
            _ => format!("`[[{}]]`", header.join(".")),
        };
        match inner {
            [] => header,
            _ if self.path.starts_with(from) && !from.is_empty() => {
                format!("`{}`", self.path[from.len()..].join("."))
            }
            _ => format!("`{}` of {header}", inner.join(".")),
        }
    }
}

/// Returns the tables that a key belongs in, if it has few: first those below the table at `path`.
pub(super) fn elsewhere(path: &[String], key: &str) -> Option<String> {
    let mut path = path.to_vec();
    if path.first().is_some_and(|first| first == "on_error") {
        "provision".clone_into(&mut path[0]);
    }
    let path = path.as_slice();
    let mut all = Vec::new();
    collect(
        &SCHEMA,
        &Place {
            path: Vec::new(),
            list: 0,
        },
        &mut all,
    );
    let is_below = |place: &Place| place.path.starts_with(path) && place.path.len() > path.len();
    let below: Vec<&(Place, String)> = all.iter().filter(|(place, _)| is_below(place)).collect();
    let meant = if below.iter().any(|(_, known)| known == key) {
        key
    } else {
        nearest(key, below.iter().map(|(_, known)| known.as_str())).unwrap_or(key)
    };
    let below = below.into_iter().filter(|(_, known)| known == meant);
    let below: Vec<&Place> = below.map(|(place, _)| place).collect();
    let rank = |place: &Place| (place.path.len(), place.list > 0);
    let places: Vec<&Place> = match below.iter().map(|place| rank(place)).min() {
        Some(first) => below
            .into_iter()
            .filter(|place| rank(place) == first)
            .collect(),
        // Their tables are small, and have keys of their own.
        None if ["variables", "secrets"]
            .iter()
            .any(|table| path.first().is_some_and(|first| first == table)) =>
        {
            Vec::new()
        }
        None => {
            let all = all.iter().filter(|(_, known)| known == key);
            all.map(|(place, _)| place).collect()
        }
    };
    let shown: Vec<String> = places.iter().map(|place| place.shown(path)).collect();
    match &shown[..] {
        [one] => Some(format!("`{meant}` belongs in {one}")),
        [others @ .., last] if others.len() < 3 => Some(format!(
            "`{meant}` belongs in {} or {last}",
            others.join(", ")
        )),
        _ => None,
    }
}

/// Collects the keys of all tables. Steps of `[[on_error]]` are those of `[[provision]]`.
fn collect(schema: &Value, place: &Place, found: &mut Vec<(Place, String)>) {
    let keys = schema["properties"].as_object().into_iter().flatten();
    for (key, schema) in keys.filter(|(key, _)| *key != "on_error") {
        found.push((place.clone(), key.clone()));
        let mut path = place.path.clone();
        path.push(key.clone());
        match Kind::of(schema) {
            Kind::Table => collect(schema, &Place { path, ..*place }, found),
            Kind::Tables => {
                let list = path.len();
                collect(&schema["items"], &Place { path, list }, found);
            }
            _ => {}
        }
    }
}
