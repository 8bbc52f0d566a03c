//! The rules for all kinds of secrets in files, read from `rules.toml`. If two match the same text, the first one wins.

use std::sync::LazyLock;

use super::rule::Rule;
use crate::embedded::rows;

/// All rules, from the most specific (one service) to the most general.
pub(super) static RULES: LazyLock<Vec<Rule>> =
    LazyLock::new(|| rows(include_str!("rules.toml"), "rule"));
