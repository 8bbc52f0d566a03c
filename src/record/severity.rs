//! Severity of a finding, as in policies and reports.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Severity of a finding, in rising order.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// No source rates the finding.
    #[default]
    Unknown,
    /// The finding has almost no impact.
    Negligible,
    /// The finding matters only in combination with others.
    Low,
    /// The finding should be fixed.
    Medium,
    /// The finding must be fixed before the image is used.
    High,
    /// The finding lets an attacker take over the machine.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
