//! The places that are watched for undeclared files, read from `watched_paths.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::embedded::rows;

/// A place where everything has to be declared: an entry of `watched_paths.toml`, which describes the fields.
#[derive(PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchedPlace {
    pub check: &'static str,
    pub what: &'static str,
    pub below: Vec<&'static str>,
}

/// All places. A path belongs to the first that contains it.
pub static PLACES: LazyLock<Vec<WatchedPlace>> =
    LazyLock::new(|| rows(include_str!("watched_paths.toml"), "place"));

/// Returns the directories, without links, where shells and services look for programs.
pub fn search_path() -> &'static [&'static str] {
    &PLACES[0].below
}

/// Returns the place that a path without links belongs to.
#[must_use]
pub fn place_of(path: &[u8]) -> Option<&'static WatchedPlace> {
    PLACES.iter().find(|place| {
        place.below.iter().any(|below| {
            let rest = path.strip_prefix(below.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    })
}
