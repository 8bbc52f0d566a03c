//! Places that a glob declares only if it names them, read from `named_places.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::embedded::rows;

/// An entry of `named_places.toml`, which describes the fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedPlace {
    pub what: &'static str,
    pub below: Vec<&'static str>,
}

static PLACES: LazyLock<Vec<NamedPlace>> =
    LazyLock::new(|| rows(include_str!("named_places.toml"), "place"));

/// Returns the place of a path, and the directory of it that contains the path.
pub fn place_of(path: &str) -> Option<(&'static NamedPlace, &'static str)> {
    PLACES.iter().find_map(|place| {
        let mut below = place.below.iter();
        let directory = below.find(|directory| is_below(path, directory))?;
        Some((place, *directory))
    })
}

/// Returns whether a path is a directory, or is below it.
pub fn is_below(path: &str, directory: &str) -> bool {
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
