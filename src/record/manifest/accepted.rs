//! Entries of `accept` of declared packages.

use serde::{Deserialize, Serialize};

/// A path that maintainer scripts make, and that the template accepts although it can run code or open a door.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AcceptedPath {
    /// Glob.
    pub path: String,
    /// Package whose scripts make it.
    pub package: String,
    /// Reason to accept it.
    pub reason: String,
}
