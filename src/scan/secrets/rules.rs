//! The rules for all kinds of secrets in files. If two match the same text, the first one wins.

use std::sync::LazyLock;

use super::rule::{Files, Rule};
use super::validators;
use crate::scan::Severity;

mod chat;
mod cloud;
mod files;
mod forges;
mod hashes;
mod keys;
mod payment;
mod registries;
mod services;
mod settings;

/// A key that a service generated, recognized by its format.
const fn token(
    name: &'static str,
    title: &'static str,
    anchors: &'static [&'static str],
    pattern: &'static str,
) -> Rule {
    Rule {
        name,
        title,
        severity: Severity::High,
        anchors,
        before: 80,
        within: 512,
        pattern,
        validate: validators::key,
        files: Files::Any,
        chosen: false,
    }
}

/// A key that grants everything its owner may do.
const fn master(
    name: &'static str,
    title: &'static str,
    anchors: &'static [&'static str],
    pattern: &'static str,
) -> Rule {
    Rule {
        severity: Severity::Critical,
        ..token(name, title, anchors, pattern)
    }
}

/// A password that a person may have chosen.
const fn password(
    name: &'static str,
    title: &'static str,
    anchors: &'static [&'static str],
    pattern: &'static str,
) -> Rule {
    Rule {
        validate: validators::password,
        chosen: true,
        ..token(name, title, anchors, pattern)
    }
}

/// All rules, from the most specific (one service) to the most general.
pub(super) static RULES: LazyLock<Vec<&'static Rule>> = LazyLock::new(|| {
    let groups = [
        cloud::RULES,
        keys::RULES,
        forges::RULES,
        chat::RULES,
        payment::RULES,
        registries::RULES,
        services::RULES,
        hashes::RULES,
        files::RULES,
        settings::RULES,
    ];
    groups.into_iter().flatten().collect()
});
