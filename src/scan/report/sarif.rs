//! A report as SARIF 2.1.0, for code hosts and dashboards.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use super::Report;
use super::policy::{Judged, Kind, Verdict};
use crate::digest::Digest;
use crate::scan::{Finding, Severity};

/// Characters that must be encoded in a URI path (RFC 3986); `/` is kept.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// Base id of the image's root directory.
const ROOT: &str = "IMAGE";

impl Report {
    /// Returns the report as SARIF; the same scan gives the same text.
    pub(crate) fn sarif(&self) -> Value {
        let mut rules: BTreeMap<&str, (usize, &Judged)> = BTreeMap::new();
        for judged in &self.findings {
            rules.entry(rule(judged)).or_insert((0, judged));
        }
        for (index, rule) in rules.values_mut().enumerate() {
            rule.0 = index;
        }
        let results = self
            .findings
            .iter()
            .map(|judged| result(judged, rules[rule(judged)].0));
        let results: Vec<_> = results.collect();
        let left_out = self.left_out.iter().map(|skipped| {
            let text = format!("not checked: {} ({})", skipped.check, skipped.because);
            json!({"level": "warning", "message": {"text": text}})
        });
        json!({
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {
                    "name": "karat",
                    "semanticVersion": env!("CARGO_PKG_VERSION"),
                    "rules": rules.iter().map(|(id, (_, judged))| describe(id, judged)).collect::<Vec<_>>(),
                }},
                "originalUriBaseIds": {ROOT: {"description": {"text": format!("the root of {}", self.subject.name)}}},
                "invocations": [{
                    "executionSuccessful": true,
                    "toolExecutionNotifications": left_out.collect::<Vec<_>>(),
                }],
                "columnKind": "utf16CodeUnits",
                "results": results,
            }],
        })
    }
}

/// Returns the rule id: a vulnerability is its own rule, other findings share that of their check.
fn rule(judged: &Judged) -> &str {
    match judged.kind {
        Kind::Vulnerability => &judged.finding.id,
        _ => &judged.finding.check,
    }
}

fn describe(id: &str, judged: &Judged) -> Value {
    let finding = &judged.finding;
    json!({
        "id": id,
        "shortDescription": {"text": filled(&finding.title, id)},
        "help": {"text": filled(&finding.fix, "see the finding")},
        "defaultConfiguration": {"level": level(finding.severity)},
        "properties": {
            "security-severity": score(finding.severity),
            "tags": ["security", judged.kind],
        },
    })
}

fn result(judged: &Judged, index: usize) -> Value {
    let finding = &judged.finding;
    let text = format!(
        "{}: {}",
        filled(&finding.title, &finding.id),
        finding.evidence
    );
    let mut result = json!({
        "ruleId": rule(judged),
        "ruleIndex": index,
        "level": level(finding.severity),
        "message": {"text": text},
        "locations": [location(finding)],
        "partialFingerprints": {"karat/v1": Digest::of(super::policy::key(finding).as_bytes()).hex()},
        "properties": {
            "severity": finding.severity,
            "fails": judged.verdict == Verdict::Fails,
            "fixed": finding.fixed,
            "advisories": finding.advisories,
        },
    });
    if let Verdict::Accepted(reason) = &judged.verdict {
        result["suppressions"] = json!([{"kind": "external", "justification": reason}]);
    }
    result
}

fn location(finding: &Finding) -> Value {
    let mut location = json!({});
    // Viewers expect a file.
    let path = finding.path.as_deref().unwrap_or("/");
    let relative = path.trim_start_matches('/');
    let uri = if relative.is_empty() { "." } else { relative };
    location["physicalLocation"] = json!({"artifactLocation": {
        "uri": utf8_percent_encode(uri, ENCODED).to_string(),
        "uriBaseId": ROOT,
    }});
    if let Some(package) = &finding.package {
        let version = finding.version.as_deref().unwrap_or_default();
        location["logicalLocations"] = json!([{
            "name": package,
            "fullyQualifiedName": format!("{package}@{version}"),
            "kind": "package",
        }]);
    }
    location
}

/// Replaces empty text, which SARIF does not allow.
fn filled<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Negligible | Severity::Unknown => "note",
    }
}

/// Returns the middle of the severity's CVSS range; code hosts sort by it.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
        Severity::Negligible | Severity::Unknown => "0.0",
    }
}
