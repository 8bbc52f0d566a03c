use serde::{Deserialize, Serialize};

use crate::record::severity::Severity;

/// A problem that a check found: its location, severity, fix and exception. Never contains a secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Name of the check, as policies use it: `ssh-host-key`, `vulnerability`.
    pub check: String,
    /// Stable id, the same in every scan of a disk: a CVE, or the check and its subject.
    pub id: String,
    /// Severity of the problem.
    pub severity: Severity,
    /// Title in one line.
    pub title: String,
    /// Absolute path in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Binary package, if the finding concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Version of the binary package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Source package of the binary package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Version of the source package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    /// First version that fixes the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// Advisories and other ids of the vulnerability.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<String>,
    /// The distribution's handling of the vulnerability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Observation that shows the problem, without secrets.
    pub evidence: String,
    /// Advice to fix the problem.
    #[serde(rename = "mend")]
    pub fix: String,
    /// Template lines that accept the finding.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub accept: String,
}

impl Finding {
    /// Creates a finding with only these fields set.
    #[must_use]
    pub fn new(
        check: &str,
        id: impl Into<String>,
        severity: Severity,
        title: impl Into<String>,
    ) -> Self {
        Self {
            check: check.to_owned(),
            id: id.into(),
            severity,
            title: title.into(),
            path: None,
            package: None,
            version: None,
            source: None,
            source_version: None,
            fixed: None,
            advisories: Vec::new(),
            state: None,
            evidence: String::new(),
            fix: String::new(),
            accept: String::new(),
        }
    }
}

/// A distribution's handling of a vulnerability in its package.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A fixed version exists.
    Fixed,
    /// Affected and not fixed yet.
    Open,
    /// Too minor for an advisory; may be fixed in a point release.
    NoDsa,
    /// Will not be fixed in this release.
    Ignored,
    /// Will be fixed with the next advisory.
    Postponed,
    /// Considered harmless by the distribution.
    Unimportant,
    /// The package is no longer supported in this release.
    EndOfLife,
    /// Not analyzed by the distribution yet.
    Undetermined,
}
