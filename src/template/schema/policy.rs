//! `[policy]`: findings that fail a build.

use schemars::JsonSchema;
use serde::Deserialize;

use super::kinds::{Duration, Glob, HostPath};
use super::{Spanned, Str};
use crate::template::scalar::{Flag, Scalar};

/// Findings that fail the build or `karat scan --policy`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Lowest severity that fails. Secrets and undeclared content always fail. Default: `"high"`.
    #[schemars(extend(
        "enum" = ["critical", "high", "medium", "low", "negligible"],
        "examples" = ["medium"]
    ))]
    pub fail_on: Option<Str>,
    /// Vulnerabilities without a fix are reported but do not fail. Default: `true`.
    #[schemars(extend("examples" = [false]))]
    pub fixable_only: Option<Flag>,
    /// Findings that the previous image of that name also had do not fail. Default: `false`.
    #[schemars(extend("examples" = [true]))]
    pub new_only: Option<Flag>,
    /// Maximum age of the vulnerability database. If it is set, a build without a database fails. Default: any age.
    #[schemars(with = "Option<Duration>", extend("examples" = ["7d"]))]
    pub max_db_age: Option<Spanned<Scalar>>,
    /// With `"auto"` a build updates the vulnerability database first, as `karat db update` does, if it is missing or older than
    /// `max_db_age`. Default: `"manual"`.
    #[schemars(extend("enum" = ["manual", "auto"], "examples" = ["auto"]))]
    pub db: Option<Str>,
    /// Accepted findings, `[[policy.ignore]]`.
    #[schemars(extend("examples" = [[{"id": "CVE-2024-0001", "reason": "the module is not loaded"}]]))]
    pub ignore: Vec<Spanned<Ignore>>,
    /// OpenVEX documents with vulnerabilities that do not affect the image.
    #[schemars(with = "Vec<HostPath>", extend("examples" = [["web.vex.json"]]))]
    pub vex: Vec<Str>,
}

/// An accepted finding. It matches all given keys; at least one of `id`, `package` and `path` is required.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    /// Id of a finding, one of its advisories, or a check. Default: any.
    #[schemars(extend("examples" = ["CVE-2024-0001"]))]
    pub id: Option<Str>,
    /// Binary or source package. Default: any.
    #[schemars(extend("examples" = ["nginx"]))]
    pub package: Option<Str>,
    /// Path in the image. Default: any.
    #[schemars(with = "Option<Glob>", extend("examples" = ["/etc/app/*"]))]
    pub path: Option<Str>,
    /// Reason for readers of the template and the report.
    #[schemars(required, extend("examples" = ["the module is not loaded"]))]
    pub reason: Option<Str>,
    /// Last day on which it applies. Afterwards the entry is a finding (`expired-exception`). Default: no end.
    #[schemars(
        title = "day",
        regex(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
        extend("examples" = ["2027-01-31"])
    )]
    pub until: Option<Str>,
}
