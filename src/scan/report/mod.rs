//! Reports of a scan, as text and JSON.

pub(crate) mod licenses;
pub mod policy;
pub(crate) mod purl;
pub(crate) mod sarif;
pub mod sbom;
pub(crate) mod vex;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use self::policy::{Judged, Kind, Verdict};
use super::run::{Check, ScanResult};
use super::{Finding, Severity, State};
use crate::digest::Digest;
use crate::time::Timestamp;
use crate::ui::text::{counted, terminal_safe};

/// Name and version of the JSON format.
pub const SCHEMA: &str = "karat.scan/1";
/// Vulnerabilities named per package in the text; JSON has all.
const MAX_NAMED: usize = 4;

/// Judged result of a scan.
#[derive(Clone, Debug)]
pub struct Report {
    /// Scanned image, file or directory.
    pub subject: Subject,
    /// Checks that were run.
    pub checks: Vec<Check>,
    /// Skipped checks, with the reasons.
    pub left_out: Vec<LeftOut>,
    /// Vulnerability database, if used.
    pub database: Option<DatabaseFacts>,
    /// Number of packages that were checked.
    pub packages: usize,
    /// Findings with the policy's decisions.
    pub findings: Vec<Judged>,
}

/// Scanned image, file or directory.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Given path, or name of the image.
    pub name: String,
    /// Manifest id of an image of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Digest of the image file, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A check that did not run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Check that did not run.
    pub check: Check,
    /// Reason for skipping it.
    pub because: String,
}

/// Identity of the vulnerability database.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseFacts {
    /// SHA-256 of its contents.
    pub digest: String,
    /// Modification date of the newest record.
    pub date: Timestamp,
    /// Number of records it holds.
    pub records: u64,
}

/// A report as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// Format name, always [`SCHEMA`].
    pub schema: String,
    /// Version of karat that scanned.
    pub karat: String,
    /// Scanned image, file or directory.
    pub subject: Subject,
    /// Checks that were run.
    pub checks: Vec<Check>,
    /// Skipped checks, with the reasons.
    pub left_out: Vec<LeftOut>,
    /// Vulnerability database, if used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseFacts>,
    /// Numbers of packages and findings.
    pub counts: Counts,
    /// Findings with kind, verdict and reason.
    pub findings: Vec<serde_json::Value>,
}

/// Numbers of packages and findings.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Packages that were checked.
    pub packages: usize,
    /// Findings, including accepted ones.
    pub findings: usize,
    /// Findings that fail the scan.
    pub failing: usize,
    /// Findings accepted by the policy.
    pub accepted: usize,
    /// Findings that are not accepted, by severity.
    pub severities: BTreeMap<Severity, usize>,
}

impl Json {
    /// Returns the [keys](policy::key) of its findings, to compare another scan with.
    pub(crate) fn keys(&self) -> serde_json::Result<BTreeSet<String>> {
        let found = self.found()?;
        Ok(found
            .iter()
            .map(|(_, finding)| policy::key(finding))
            .collect())
    }

    /// Returns all findings without the policy's decisions.
    pub(crate) fn found(&self) -> serde_json::Result<Vec<(Kind, Finding)>> {
        let read = |value: &serde_json::Value| {
            let mut value = value.clone();
            let kind = serde_json::from_value(value["kind"].take())?;
            if let Some(object) = value.as_object_mut() {
                for key in ["kind", "verdict", "reason"] {
                    object.remove(key);
                }
            }
            Ok((kind, serde_json::from_value(value)?))
        };
        self.findings.iter().map(read).collect()
    }
}

impl Report {
    /// Creates the report of a scan from its judged findings.
    pub(crate) fn new(
        subject: Subject,
        result: &ScanResult,
        database: Option<DatabaseFacts>,
        findings: Vec<Judged>,
    ) -> Self {
        let mut checks = Check::ALL.to_vec();
        checks.retain(|check| {
            result
                .left_out
                .iter()
                .all(|skipped| skipped.check != *check)
        });
        let inventory = &result.contents.inventory;
        Self {
            subject,
            checks,
            left_out: result.left_out.clone(),
            database,
            packages: inventory.packages.len() + inventory.language.len(),
            findings,
        }
    }

    /// Returns the findings that fail the scan.
    pub(crate) fn failing(&self) -> impl Iterator<Item = &Judged> {
        let fails = |judged: &&Judged| judged.verdict == Verdict::Fails;
        self.findings.iter().filter(fails)
    }

    pub(crate) fn counts(&self) -> Counts {
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

    /// Returns the report as JSON; the same scan gives the same JSON.
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

    /// Returns the report as text, grouped by what to do.
    pub(crate) fn text(&self) -> String {
        let mut page = String::new();
        for (title, fails) in [("FIX REQUIRED", true), ("INFORMATIONAL", false)] {
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
                let _ = writeln!(page, "{title} ({})\n", chosen.len());
                fixed_vulnerabilities(&chosen, &mut page);
                other_findings(&chosen, &mut page);
                unfixed_vulnerabilities(&chosen, fails, &mut page);
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
            let (about, reason) = (terminal_safe(&subject_of(finding)), terminal_safe(reason));
            let _ = writeln!(page, "  {} {about}  {reason}", finding.id);
        }
        page.push('\n');
    }

    fn summary(&self, page: &mut String) {
        let counts = self.counts();
        let severities = counts.severities.iter().rev();
        let severities: Vec<_> = severities
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        let separator = if severities.is_empty() { "" } else { ": " };
        let _ = writeln!(
            page,
            "{}: {}, {}{separator}{}; {} accepted, {} failing",
            terminal_safe(&self.subject.name),
            counted(counts.packages, "package"),
            counted(counts.findings, "finding"),
            severities.join(", "),
            counts.accepted,
            counts.failing
        );
        if let Some(DatabaseFacts { date, records, .. }) = &self.database {
            let _ = writeln!(page, "vulnerability database of {date}, {records} records");
        }
        for LeftOut { check, because } in &self.left_out {
            let _ = writeln!(page, "not checked: {check} ({because})");
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

/// Writes vulnerabilities with a fix: one line per source package.
fn fixed_vulnerabilities(chosen: &[&Judged], page: &mut String) {
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
            .filter_map(|finding| finding.fixed.as_deref())
            .collect();
        fixed.sort_unstable();
        fixed.dedup();
        let mut ids: Vec<_> = findings.iter().map(|finding| finding.id.as_str()).collect();
        // A CVE may affect several binary packages.
        let mut seen = BTreeSet::new();
        ids.retain(|id| seen.insert(*id));
        let more = match ids.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        ids.truncate(MAX_NAMED);
        let _ = writeln!(
            page,
            "    {:<10} {} {} -> {}  {}{more}",
            findings[0].severity,
            terminal_safe(name),
            terminal_safe(version),
            terminal_safe(&fixed.join(", ")),
            terminal_safe(&ids.join(", "))
        );
    }
    page.push('\n');
}

/// Writes findings other than vulnerabilities: one group per check and fix.
fn other_findings(chosen: &[&Judged], page: &mut String) {
    let mut checks: BTreeMap<(Kind, &str, &str), Vec<&Finding>> = BTreeMap::new();
    for judged in chosen
        .iter()
        .filter(|judged| judged.kind != Kind::Vulnerability)
    {
        let finding = &judged.finding;
        let key = (judged.kind, finding.check.as_str(), finding.fix.as_str());
        checks.entry(key).or_default().push(finding);
    }
    for ((_, check, fix), findings) in checks {
        let _ = writeln!(page, "  {check}: {}", terminal_safe(fix));
        for finding in findings {
            let _ = writeln!(
                page,
                "    {:<10} {}  {}",
                finding.severity,
                terminal_safe(&subject_of(finding)),
                terminal_safe(&finding.evidence)
            );
        }
        page.push('\n');
    }
}

/// Writes vulnerabilities without a fix: named if they fail, else counted.
fn unfixed_vulnerabilities(chosen: &[&Judged], named: bool, page: &mut String) {
    let unfixed =
        |judged: &&&Judged| judged.kind == Kind::Vulnerability && judged.finding.fixed.is_none();
    let mut states: BTreeMap<Option<State>, Vec<&Finding>> = BTreeMap::new();
    for judged in chosen.iter().filter(unfixed) {
        states
            .entry(judged.finding.state)
            .or_default()
            .push(&judged.finding);
    }
    for (state, findings) in states {
        let _ = writeln!(page, "  {}: {}", state_heading(state), findings.len());
        for finding in findings
            .iter()
            .filter(|_| named || state == Some(State::EndOfLife))
        {
            let _ = writeln!(
                page,
                "    {:<10} {} {}  {}",
                finding.severity,
                terminal_safe(&subject_of(finding)),
                finding.id,
                terminal_safe(&finding.title)
            );
        }
        page.push('\n');
    }
}

fn state_heading(state: Option<State>) -> &'static str {
    match state {
        Some(State::Fixed) => "vulnerabilities fixed elsewhere",
        Some(State::NoDsa) => "vulnerabilities waiting for a point release",
        Some(State::Ignored) => "vulnerabilities that the distribution will not fix",
        Some(State::Postponed) => "vulnerabilities to be fixed with the next advisory",
        Some(State::Unimportant) => "vulnerabilities that the distribution considers harmless",
        Some(State::EndOfLife) => "no longer supported",
        Some(State::Undetermined) => "vulnerabilities not analyzed yet",
        Some(State::Open) | None => "vulnerabilities without a fix yet",
    }
}

/// Returns the subject of a finding: a path, or a package with its version.
fn subject_of(finding: &Finding) -> String {
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
        key.fix = "remove it".to_owned();
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
FIX REQUIRED (2)

  update packages
    critical   openssl 3.0 -> 3.1  CVE-1

  ssh-host-key: remove it
    high       /etc/ssh/\u{fffd}[2J  it is there

INFORMATIONAL (1)

  vulnerabilities waiting for a point release: 1

ACCEPTED (1)

  k /etc/ssh/\u{fffd}[2J  a test

web.qcow2: 3 packages, 4 findings: 1 critical, 1 high, 1 low; 1 accepted, 2 failing
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
