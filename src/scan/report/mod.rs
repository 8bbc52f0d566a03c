//! A scan for people and for programs.

pub(crate) mod licenses;
pub mod policy;
pub(crate) mod purl;
pub(crate) mod sarif;
pub mod sbom;
pub(crate) mod vex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::report::policy::{Judged, Kind, Verdict};
use super::run::{Check, Scanned};
use super::{Finding, Severity, State};
use crate::digest::Digest;
use crate::time::Timestamp;

/// Name and version of the form of reports.
pub const SCHEMA: &str = "karat.scan/1";
/// Vulnerabilities that are named for each package; `--json` has them all.
const MOST_NAMED: usize = 4;

/// What was scanned with what, and what became of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was scanned.
    pub subject: Subject,
    /// Checks that were made.
    pub checks: Vec<Check>,
    /// Checks that were not, and why.
    pub left_out: Vec<LeftOut>,
    /// The database of vulnerabilities, where one was used.
    pub database: Option<DatabaseFacts>,
    /// Packages that were looked at.
    pub packages: usize,
    /// What was found.
    pub findings: Vec<Judged>,
}

/// What was scanned.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The file or directory that was given, or the image's name.
    pub name: String,
    /// The manifest's id, for an image of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The image file's digest, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A check that was not made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// The check.
    pub check: Check,
    /// Why.
    pub because: String,
}

/// Which database was used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseFacts {
    /// Its digest.
    pub digest: String,
    /// When its newest record was changed.
    pub date: Timestamp,
    /// Its records.
    pub records: u64,
}

/// A report as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Version of karat.
    pub karat: String,
    /// What was scanned.
    pub subject: Subject,
    /// Checks that were made.
    pub checks: Vec<Check>,
    /// Checks that were not.
    pub left_out: Vec<LeftOut>,
    /// The database of vulnerabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseFacts>,
    /// How many of what.
    pub counts: Counts,
    /// What was found.
    pub findings: Vec<serde_json::Value>,
}

/// How many findings there are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Packages that were looked at.
    pub packages: usize,
    /// All findings.
    pub findings: usize,
    /// Those that the policy does not let pass.
    pub failing: usize,
    /// Those that are accepted.
    pub accepted: usize,
    /// All but the accepted ones, by severity.
    pub severities: BTreeMap<Severity, usize>,
}

impl Json {
    /// What its findings go by when another scan is compared with it.
    ///
    /// # Errors
    /// A finding is none.
    pub fn keys(&self) -> serde_json::Result<BTreeSet<String>> {
        let found = self.found()?;
        Ok(found
            .iter()
            .map(|(_, it)| super::report::policy::key(it))
            .collect())
    }

    /// What was found, however it was judged.
    ///
    /// # Errors
    /// A finding is none.
    pub fn found(&self) -> serde_json::Result<Vec<(Kind, Finding)>> {
        let read = |value: &serde_json::Value| {
            let mut value = value.clone();
            let kind = serde_json::from_value(value["kind"].take())?;
            if let Some(object) = value.as_object_mut() {
                for ours in ["kind", "verdict", "reason"] {
                    object.remove(ours);
                }
            }
            Ok((kind, serde_json::from_value(value)?))
        };
        self.findings.iter().map(read).collect()
    }
}

impl Report {
    /// The report of a scan whose findings were judged.
    #[must_use]
    pub fn new(
        subject: Subject,
        scanned: &Scanned,
        database: Option<DatabaseFacts>,
        findings: Vec<Judged>,
    ) -> Self {
        let left_out = |check: &Check| scanned.left_out.iter().any(|it| it.check == *check);
        let inventory = &scanned.contents.inventory;
        Self {
            subject,
            checks: Check::ALL
                .into_iter()
                .filter(|check| !left_out(check))
                .collect(),
            left_out: scanned.left_out.clone(),
            database,
            packages: inventory.packages.len() + inventory.language.len(),
            findings,
        }
    }

    /// Findings that the policy does not let pass.
    pub fn failing(&self) -> impl Iterator<Item = &Judged> {
        let fails = |judged: &&Judged| judged.verdict == Verdict::Fails;
        self.findings.iter().filter(fails)
    }

    /// How many of what.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            packages: self.packages,
            findings: self.findings.len(),
            failing: self.failing().count(),
            ..Counts::default()
        };
        for judged in &self.findings {
            if let Verdict::Accepted(_) = judged.verdict {
                counts.accepted += 1;
            } else {
                *counts
                    .severities
                    .entry(judged.finding.severity)
                    .or_default() += 1;
            }
        }
        counts
    }

    /// The report for programs: the same scan gives the same JSON.
    #[must_use]
    pub fn json(&self) -> Json {
        Json {
            schema: SCHEMA.to_owned(),
            karat: env!("CARGO_PKG_VERSION").to_owned(),
            subject: self.subject.clone(),
            checks: self.checks.clone(),
            left_out: self.left_out.clone(),
            database: self.database.clone(),
            counts: self.counts(),
            findings: self.findings.iter().map(json).collect(),
        }
    }

    /// The report for people, grouped by what to do.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = String::new();
        for (title, fails) in [("must be mended", true), ("for your information", false)] {
            let chosen: Vec<_> = self
                .findings
                .iter()
                .filter(|judged| match judged.verdict {
                    Verdict::Fails => fails,
                    Verdict::Told => !fails,
                    Verdict::Accepted(_) => false,
                })
                .collect();
            if !chosen.is_empty() {
                // Writing to a String cannot fail.
                let _ = writeln!(page, "{} ({})\n", title.to_uppercase(), chosen.len());
                packages(&chosen, &mut page);
                others(&chosen, &mut page);
                unfixed(&chosen, fails, &mut page);
            }
        }
        self.accepted(&mut page);
        self.summary(&mut page);
        page
    }

    fn accepted(&self, page: &mut String) {
        let accepted = self
            .findings
            .iter()
            .filter_map(|judged| match &judged.verdict {
                Verdict::Accepted(reason) => Some((&judged.finding, reason)),
                _ => None,
            });
        let accepted: Vec<_> = accepted.collect();
        if accepted.is_empty() {
            return;
        }
        let _ = writeln!(page, "ACCEPTED ({})\n", accepted.len());
        for (finding, reason) in accepted {
            let about = about(finding);
            let _ = writeln!(
                page,
                "  {} {}  {}",
                finding.id,
                plain(&about),
                plain(reason)
            );
        }
        page.push('\n');
    }

    fn summary(&self, page: &mut String) {
        let counts = self.counts();
        let severities = counts.severities.iter().rev();
        let severities: Vec<_> = severities
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        let severities = match severities.as_slice() {
            [] => String::new(),
            some => format!(": {}", some.join(", ")),
        };
        let _ = writeln!(
            page,
            "{}: {}, {}{severities}; {} accepted, {} refused by the policy",
            plain(&self.subject.name),
            number(counts.packages, "package"),
            number(counts.findings, "finding"),
            counts.accepted,
            counts.failing
        );
        if let Some(DatabaseFacts { date, records, .. }) = &self.database {
            let _ = writeln!(page, "vulnerability database of {date}, {records} records");
        }
        for LeftOut { check, because } in &self.left_out {
            let _ = writeln!(page, "not checked: {} ({because})", check.name());
        }
    }
}

fn json(judged: &Judged) -> serde_json::Value {
    let mut value = serde_json::to_value(&judged.finding).unwrap_or_default();
    value["kind"] = serde_json::to_value(judged.kind).unwrap_or_default();
    let (verdict, reason) = match &judged.verdict {
        Verdict::Fails => ("fails", None),
        Verdict::Told => ("told", None),
        Verdict::Accepted(reason) => ("accepted", Some(reason)),
    };
    value["verdict"] = verdict.into();
    if let Some(reason) = reason {
        value["reason"] = reason.as_str().into();
    }
    value
}

/// What an update mends: one line a source package.
fn packages(chosen: &[&Judged], page: &mut String) {
    let mut sources: BTreeMap<(&str, &str), Vec<&Finding>> = BTreeMap::new();
    for judged in chosen {
        let finding = &judged.finding;
        if let (Kind::Vulnerability, Some(_)) = (judged.kind, &finding.fixed) {
            let name = finding.source.as_deref().or(finding.package.as_deref());
            let version = finding
                .source_version
                .as_deref()
                .or(finding.version.as_deref());
            let key = (name.unwrap_or_default(), version.unwrap_or_default());
            sources.entry(key).or_default().push(finding);
        }
    }
    if sources.is_empty() {
        return;
    }
    let _ = writeln!(page, "  update packages");
    for ((name, version), mut findings) in sources {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let mut fixed: Vec<_> = findings
            .iter()
            .filter_map(|it| it.fixed.as_deref())
            .collect();
        fixed.sort_unstable();
        fixed.dedup();
        let mut ids: Vec<_> = findings.iter().map(|it| it.id.as_str()).collect();
        // One CVE may be in several binary packages.
        let mut seen = BTreeSet::new();
        ids.retain(|id| seen.insert(*id));
        let more = match ids.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        ids.truncate(MOST_NAMED);
        let _ = writeln!(
            page,
            "    {:<10} {} {} -> {}  {}{more}",
            findings[0].severity,
            plain(name),
            plain(version),
            plain(&fixed.join(", ")),
            plain(&ids.join(", "))
        );
    }
    page.push('\n');
}

/// Everything that is no vulnerability: one group for each check, with how to mend it.
fn others(chosen: &[&Judged], page: &mut String) {
    let mut checks: BTreeMap<(Kind, &str, &str), Vec<&Finding>> = BTreeMap::new();
    for judged in chosen.iter().filter(|it| it.kind != Kind::Vulnerability) {
        let finding = &judged.finding;
        let key = (judged.kind, finding.check.as_str(), finding.mend.as_str());
        checks.entry(key).or_default().push(finding);
    }
    for ((_, check, mend), findings) in checks {
        let _ = writeln!(page, "  {check}: {}", plain(mend));
        for finding in findings {
            let _ = writeln!(
                page,
                "    {:<10} {}  {}",
                finding.severity,
                plain(&about(finding)),
                plain(&finding.evidence)
            );
        }
        page.push('\n');
    }
}

/// Vulnerabilities that nobody can mend by an update: named where they fail, else counted.
fn unfixed(chosen: &[&Judged], named: bool, page: &mut String) {
    let unfixed = |it: &&&Judged| it.kind == Kind::Vulnerability && it.finding.fixed.is_none();
    let mut states: BTreeMap<Option<State>, Vec<&Finding>> = BTreeMap::new();
    for judged in chosen.iter().filter(unfixed) {
        states
            .entry(judged.finding.state)
            .or_default()
            .push(&judged.finding);
    }
    for (state, findings) in states {
        let _ = writeln!(page, "  {}: {}", words(state), findings.len());
        for finding in findings
            .iter()
            .filter(|_| named || state == Some(State::EndOfLife))
        {
            let _ = writeln!(
                page,
                "    {:<10} {} {}  {}",
                finding.severity,
                plain(&about(finding)),
                finding.id,
                plain(&finding.title)
            );
        }
        page.push('\n');
    }
}

fn words(state: Option<State>) -> &'static str {
    match state {
        Some(State::Fixed) => "vulnerabilities that are mended elsewhere",
        Some(State::NoDsa) => "vulnerabilities that wait for a point release",
        Some(State::Ignored) => "vulnerabilities that the distribution will not mend",
        Some(State::Postponed) => "vulnerabilities that will be mended with the next advisory",
        Some(State::Unimportant) => "vulnerabilities in which the distribution sees no danger",
        Some(State::EndOfLife) => "no longer supported",
        Some(State::Undetermined) => "vulnerabilities of which nobody knows yet",
        Some(State::Open) | None => "vulnerabilities without an update yet",
    }
}

/// What a finding is about: a path, or a package with its version.
fn about(finding: &Finding) -> String {
    let package = || {
        let version = finding.version.as_deref().unwrap_or_default();
        Some(
            format!("{} {version}", finding.package.as_deref()?)
                .trim_end()
                .to_owned(),
        )
    };
    finding
        .path
        .clone()
        .or_else(package)
        .unwrap_or_else(|| finding.id.clone())
}

/// So many of something.
#[must_use]
pub fn number(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Text of an image that cannot move the cursor or change colours.
fn plain(text: &str) -> String {
    let shown = |it: char| if it.is_control() { '\u{fffd}' } else { it };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut vulnerable = Finding::new("vulnerability", "CVE-1", Severity::Critical, "overflow");
        vulnerable.package = Some("libssl3".to_owned());
        vulnerable.source = Some("openssl".to_owned());
        vulnerable.source_version = Some("3.0".to_owned());
        vulnerable.fixed = Some("3.1".to_owned());
        let mut open = Finding::new("vulnerability", "CVE-2", Severity::Low, "leak");
        open.state = Some(State::NoDsa);
        let mut key = Finding::new("ssh-host-key", "k", Severity::High, "a host key");
        key.path = Some("/etc/ssh/\u{1b}[2J".to_owned());
        key.evidence = "it is there".to_owned();
        key.mend = "remove it".to_owned();
        let judged = |kind, finding, verdict| Judged {
            kind,
            finding,
            verdict,
        };
        Report {
            subject: Subject {
                name: "web.qcow2".to_owned(),
                ..Subject::default()
            },
            checks: vec![Check::Hygiene],
            left_out: vec![LeftOut {
                check: Check::Undeclared,
                because: "there is no template".to_owned(),
            }],
            database: None,
            packages: 3,
            findings: vec![
                judged(Kind::Hygiene, key.clone(), Verdict::Fails),
                judged(Kind::Vulnerability, vulnerable, Verdict::Fails),
                judged(Kind::Vulnerability, open, Verdict::Told),
                judged(Kind::Hygiene, key, Verdict::Accepted("a test".to_owned())),
            ],
        }
    }

    #[test]
    fn the_text_is_grouped_by_what_to_do() {
        assert_eq!(
            report().text(),
            "\
MUST BE MENDED (2)

  update packages
    critical   openssl 3.0 -> 3.1  CVE-1

  ssh-host-key: remove it
    high       /etc/ssh/\u{fffd}[2J  it is there

FOR YOUR INFORMATION (1)

  vulnerabilities that wait for a point release: 1

ACCEPTED (1)

  k /etc/ssh/\u{fffd}[2J  a test

web.qcow2: 3 packages, 4 findings: 1 critical, 1 high, 1 low; 1 accepted, 2 refused by the policy
not checked: undeclared (there is no template)
"
        );
    }

    #[test]
    fn json_has_every_finding_and_reads_back() {
        let json = report().json();
        assert_eq!(json.counts.failing, 2);
        assert_eq!(json.findings.len(), 4);
        assert_eq!(json.findings[3]["reason"], "a test");
        let text = serde_json::to_string(&json).unwrap();
        assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), json);
        assert_eq!(
            json.keys().unwrap().len(),
            3,
            "the same finding twice is one"
        );
    }
}
