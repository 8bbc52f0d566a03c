//! The table of checks, read from `checks.toml`: severity, meaning and remedy.

use std::sync::LazyLock;

use serde::Deserialize;

use super::Severity;
use crate::embedded::rows;

/// The properties that all findings of a check share: an entry of `checks.toml`, which describes the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    pub(super) id: String,
    pub(super) rule: Option<String>,
    pub(super) severity: Severity,
    pub(super) title: String,
    #[serde(default = "finish")]
    pub(super) fix: String,
}

fn finish() -> String {
    "let the build finish the image: set `[finish] rebuild = true`, and remove its `[[finish.keep]]`"
        .to_owned()
}

pub(super) static CHECKS: LazyLock<Vec<Check>> =
    LazyLock::new(|| rows(include_str!("checks.toml"), "check"));

/// Returns the check with this id.
pub(super) fn by_id(id: &str) -> &'static Check {
    let check = CHECKS.iter().find(|check| check.id == id);
    check.expect("a test sees that every id in the code is in the table")
}

/// Returns the check for a clean-up rule.
pub(super) fn by_rule(rule: &str) -> &'static Check {
    let mut checks = CHECKS.iter();
    let check = checks.find(|check| check.rule.as_deref() == Some(rule));
    check.expect("a test sees that every rule has a check")
}
