//! Checks the `[policy]` table: the findings that fail a scan.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::check::{ADD_REASON, Checker};
use crate::record::severity::Severity;
use crate::size::{DurationUse, show_duration};
use crate::template::files::NeedKind;
use crate::template::problem::Problem;
use crate::template::schema;
use crate::template::spanned::Spanned;
use crate::time::Timestamp;

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
/// Severities that a policy may name.
const SEVERITIES: [(&str, Severity); 5] = [
    ("critical", Severity::Critical),
    ("high", Severity::High),
    ("medium", Severity::Medium),
    ("low", Severity::Low),
    ("negligible", Severity::Negligible),
];

const DATABASE_UPDATES: [(&str, DatabaseUpdates); 2] = [
    ("manual", DatabaseUpdates::Manual),
    ("auto", DatabaseUpdates::Auto),
];

/// Settings from the `[policy]` table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Policy {
    /// Lowest failing severity of vulnerabilities and weaknesses. Default high. Secrets and undeclared items always fail.
    pub fail_on: Severity,
    /// Ignore vulnerabilities without a fix. Default true.
    pub fixable_only: bool,
    /// Ignore findings that the previous image also had. Default false.
    pub new_only: bool,
    /// Maximum age of the vulnerability database. If set, a database is required.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "age")]
    pub max_db_age: Option<Duration>,
    /// Updates of the vulnerability database by builds.
    #[serde(skip_serializing_if = "DatabaseUpdates::is_manual")]
    pub db: DatabaseUpdates,
    /// Findings that are accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Ignore>,
    /// `OpenVEX` documents of vulnerabilities that do not affect the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vex: Vec<PathBuf>,
}

/// Updates of the vulnerability database by builds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseUpdates {
    /// Only `karat db` changes it.
    Manual,
    /// A build updates it first, if it is missing or older than `max_db_age`.
    Auto,
}

impl DatabaseUpdates {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_manual(&self) -> bool {
        *self == Self::Manual
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            fail_on: Severity::High,
            fixable_only: true,
            new_only: false,
            max_db_age: None,
            db: DatabaseUpdates::Manual,
            ignore: Vec::new(),
            vex: Vec::new(),
        }
    }
}

/// A table of `[[policy.ignore]]`: accepts the findings that match all given keys.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Ignore {
    /// Id, check or advisory of the finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Binary or source package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Absolute path or glob in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Reason for readers of the template.
    pub reason: String,
    /// End of the last day on which it applies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Parses the name of a severity that a policy may use.
///
/// # Errors
/// Lists the valid names.
pub fn severity(text: &str) -> Result<Severity, String> {
    let found = SEVERITIES.iter().find(|(name, _)| *name == text);
    let names: Vec<_> = SEVERITIES.iter().map(|(name, _)| *name).collect();
    found
        .map(|(_, severity)| *severity)
        .ok_or_else(|| format!("choose from: {}", names.join(", ")))
}

impl Checker<'_> {
    pub(super) fn policy(&mut self, policy: Option<&Spanned<schema::Policy>>) -> Policy {
        let default = Policy::default();
        let Some(policy) = policy.map(Spanned::get_ref) else {
            return default;
        };
        let flag = |flag: Option<&crate::template::scalar::Flag>, otherwise| {
            flag.map_or(otherwise, |flag| flag.0)
        };
        Policy {
            fail_on: self.choice(
                "fail_on",
                policy.fail_on.as_ref(),
                &SEVERITIES,
                default.fail_on,
            ),
            fixable_only: flag(policy.fixable_only.as_ref(), default.fixable_only),
            new_only: flag(policy.new_only.as_ref(), default.new_only),
            max_db_age: self.duration(policy.max_db_age.as_ref(), DurationUse::Age),
            db: self.choice("db", policy.db.as_ref(), &DATABASE_UPDATES, default.db),
            ignore: policy
                .ignore
                .iter()
                .map(|table| self.ignore(table))
                .collect(),
            vex: policy
                .vex
                .iter()
                .map(|path| self.needed(path, NeedKind::File))
                .collect(),
        }
    }

    fn ignore(&mut self, ignore: &Spanned<schema::Ignore>) -> Ignore {
        let (table, ignore) = (ignore.span(), ignore.get_ref());
        let what = [
            ("id", &ignore.id),
            ("package", &ignore.package),
            ("path", &ignore.path),
        ];
        let mut found = what.map(|(key, value)| {
            let value = value.as_ref()?;
            Some(self.filled(key, value, "name the accepted findings, or omit the key"))
        });
        let unread = ["id", "package", "path"]
            .iter()
            .any(|key| self.removed.has(&table, key));
        if found.iter().all(Option::is_none) && !unread {
            self.report(
                Problem::at(table.clone(), "this entry accepts everything")
                    .help("add `id = \"CVE-...\"`, `package = \"...\"` or `path = \"/...\"`"),
            );
        }
        if let Some(path) = &ignore.path {
            self.guest_path(path);
        }

        let reason = self.required(&table, "reason", ignore.reason.as_ref(), ADD_REASON);
        let [id, package, path] = [0, 1, 2].map(|index| found[index].take());
        Ignore {
            id,
            package,
            path,
            reason,
            until: ignore.until.as_ref().and_then(|until| self.day(until)),
        }
    }

    fn day(&mut self, written: &schema::Str) -> Option<Timestamp> {
        let text = written.get_ref();
        let day = end_of(text);
        if day.is_none() {
            self.report(
                Problem::at(written.span(), format!("invalid date {text:?}"))
                    .help("write it like \"2027-01-31\""),
            );
        }
        day
    }
}

/// Returns the last second of a day.
fn end_of(day: &str) -> Option<Timestamp> {
    let start: Timestamp = format!("{day}T00:00:00Z").parse().ok()?;
    let start = u64::try_from(start.seconds()).ok()?;
    Some(Timestamp::from_seconds(start + SECONDS_PER_DAY - 1))
}

#[expect(clippy::ref_option, reason = "serde's signature")]
pub(super) fn age<S: Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    age.map(show_duration).serialize(serializer)
}

/// Formats a policy for `karat plan`.
pub(super) fn show(policy: &Policy) -> Vec<String> {
    let fixable = if policy.fixable_only {
        "fixable vulnerabilities"
    } else {
        "vulnerabilities"
    };
    let new = if policy.new_only { " that are new" } else { "" };
    let mut lines = vec![format!(
        "no {fixable} or weaknesses of severity {} or above{new}, no secrets, no undeclared items",
        policy.fail_on
    )];
    lines.extend(
        policy
            .max_db_age
            .map(|age| format!("a vulnerability database of at most {}", show_duration(age))),
    );
    if policy.db == DatabaseUpdates::Auto {
        lines.push("updates a vulnerability database that is missing or too old".to_owned());
    }
    lines.extend(policy.ignore.iter().map(|ignore| {
        let what = [&ignore.id, &ignore.package, &ignore.path];
        let what: Vec<_> = what.into_iter().flatten().map(String::as_str).collect();
        let until = ignore.until.map(|until| {
            let until = until.to_string();
            format!(" until {}", until.split('T').next().unwrap_or_default())
        });
        let until = until.unwrap_or_default();
        format!("accepts {}{until} ({})", what.join(" "), ignore.reason)
    }));
    let vex = policy.vex.iter();
    lines.extend(vex.map(|path| format!("accepts the exemptions in {}", path.display())));
    lines
}
