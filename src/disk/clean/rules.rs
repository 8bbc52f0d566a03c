//! The table of clean-up rules, read from `rules.toml`. The first rule that matches a path and changes it wins.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::embedded::rows;

/// Raised with every change of the table, whose digest is in the manifest.
pub(super) const VERSION: u32 = 2;

/// A clean-up rule: an entry of `rules.toml`, which describes the fields.
#[derive(PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) paths: Vec<String>,
    pub(crate) action: Action,
    pub(crate) reason: String,
}

/// Effect of a rule on a path.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    /// Removes the path and everything below it. Directories of packages are kept, empty.
    Remove,
    /// Removes a regular file; a link, which has no content of its own, is kept.
    RemoveFile,
    /// Truncates the file, and keeps its owner and mode.
    Empty,
    /// Removes a symbolic link whose target has this file name.
    Unlink(String),
    RemoveSocket,
    /// Clamps the days of password changes to the epoch.
    ShadowDays,
    /// Sets systemd's timestamp of `/usr` to the time of `/usr`.
    UpdateStamp,
}

pub(crate) static RULES: LazyLock<Vec<Rule>> =
    LazyLock::new(|| rows(include_str!("rules.toml"), "rule"));
