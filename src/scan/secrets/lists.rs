//! Lists that rules and validators share, read from `lists.toml`, which describes them.

use std::sync::LazyLock;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
pub(super) struct Lists {
    pub(super) placeholders: Vec<&'static str>,
    pub(super) words: Vec<&'static str>,
    pub(super) no_settings: Vec<&'static str>,
    pub(super) about: Vec<&'static str>,
    pub(super) code: Vec<&'static str>,
    pub(super) applications: Vec<&'static str>,
    pub(super) libraries: Vec<&'static str>,
    pub(super) system_libraries: Vec<&'static str>,
    pub(super) documents: Vec<&'static str>,
}

pub(super) static LISTS: LazyLock<Lists> =
    LazyLock::new(|| toml::from_str(include_str!("lists.toml")).expect("the tests read it"));
