//! One thing that a scan reports.

use serde::{Deserialize, Serialize};

use crate::record::severity::Severity;

/// What a check found: where, how bad, how to mend it, how to accept it. Never the text of a secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The check that found it, as in `ssh-host-key` or `vulnerability`: what a policy names.
    pub check: String,
    /// What it is, the same in every scan of the same disk: a CVE, or the check with what it is about.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in one line.
    pub title: String,
    /// The file, where it is about one: absolute in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The package, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The package's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The source package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The source package's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    /// The first version without it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// Advisories and other names of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<String>,
    /// What the distribution does about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// What shows it, in words that hold no secret.
    pub evidence: String,
    /// How to mend it.
    pub mend: String,
    /// How to accept it, as lines of a template.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub accept: String,
}

impl Finding {
    /// A finding about nothing in particular; the fields say the rest.
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
            mend: String::new(),
            accept: String::new(),
        }
    }
}

/// What a distribution does about a vulnerability of its own package.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// There is a version without it.
    Fixed,
    /// There is none yet.
    Open,
    /// Too small for an advisory of its own; may come with a point release.
    NoDsa,
    /// It will not be mended in this release.
    Ignored,
    /// It will be mended with the next advisory.
    Postponed,
    /// The distribution sees no danger in it.
    Unimportant,
    /// Nobody mends this package in this release any more.
    EndOfLife,
    /// Nobody knows yet whether it is affected.
    Undetermined,
}
