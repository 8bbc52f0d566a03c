//! Lists of the checks, read from `lists.toml`, which describes them.

use std::sync::LazyLock;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "'de: 'static"))]
pub(super) struct Lists {
    pub(super) boot_files: Vec<&'static str>,
    pub(super) boot_directories: Vec<&'static str>,
    pub(super) secret_parts: Vec<&'static str>,
    pub(super) protection_off: Vec<&'static str>,
    pub(super) proxy_files: Vec<&'static str>,
    pub(super) proxy_directories: Vec<&'static str>,
    pub(super) proxy_names: Vec<&'static str>,
    pub(super) legacy_services: Vec<(&'static str, &'static str)>,
    pub(super) weak_algorithms: Vec<&'static str>,
    pub(super) mail: Vec<&'static str>,
    pub(super) network_directories: Vec<&'static str>,
    pub(super) mac_addresses: Vec<&'static str>,
}

pub(super) static LISTS: LazyLock<Lists> =
    LazyLock::new(|| toml::from_str(include_str!("lists.toml")).expect("the tests read it"));
