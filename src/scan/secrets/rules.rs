//! The rules for all kinds of secrets in files, read from `rules.toml`. If two match the same text, the first one wins.

use std::sync::LazyLock;

use serde::Deserialize;

use super::rule::Rule;

/// All rules, from the most specific (one service) to the most general.
pub(super) static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        rule: Vec<Rule>,
    }
    let table: Table = toml::from_str(include_str!("rules.toml")).expect("the tests read it");
    table.rule
});
