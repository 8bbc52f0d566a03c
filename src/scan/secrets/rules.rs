//! Every kind of secret that is looked for in files. Where two fit the same text, the first has it.

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

/// A key that a service made, known by its form.
const fn token(
    name: &'static str,
    what: &'static str,
    anchors: &'static [&'static str],
    pattern: &'static str,
) -> Rule {
    Rule {
        name,
        what,
        severity: Severity::High,
        anchors,
        before: 80,
        within: 512,
        pattern,
        judge: validators::key,
        files: Files::Any,
        chosen: false,
    }
}

/// A key that opens all that its owner has.
const fn master(
    name: &'static str,
    what: &'static str,
    anchors: &'static [&'static str],
    pattern: &'static str,
) -> Rule {
    Rule {
        severity: Severity::Critical,
        ..token(name, what, anchors, pattern)
    }
}

/// A password that a person may have chosen.
const fn password(
    name: &'static str,
    what: &'static str,
    anchors: &'static [&'static str],
    pattern: &'static str,
) -> Rule {
    Rule {
        judge: validators::password,
        chosen: true,
        ..token(name, what, anchors, pattern)
    }
}

/// Every rule: what only one service has first, what anybody writes last.
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
