//! Judges findings by a policy. Pure: the time, the earlier findings and the VEX documents are arguments.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::vex::{self, Statement};
use crate::plan::{Ignore, Policy};
use crate::scan::{Finding, Severity};
use crate::time::Timestamp;

/// Kind of a finding, in the order of reports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Secret left in the image.
    Secret,
    /// Content that the template does not declare.
    Undeclared,
    /// Leftover of the build or weak setting.
    Hygiene,
    /// Known vulnerability, or end of support.
    Vulnerability,
    /// Problem of the policy itself.
    Policy,
}

/// Decision of the policy about a finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Makes the scan fail.
    Fails,
    /// Reported without failing the scan.
    Told,
    /// Accepted, for this reason.
    Accepted(String),
}

/// A finding with the policy's decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// Kind of check that found it.
    pub kind: Kind,
    /// Finding as the check reported it.
    pub finding: Finding,
    /// Decision of the policy.
    pub verdict: Verdict,
}

/// Facts besides the policy that a judgement depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct JudgeContext<'a> {
    /// Statements of VEX documents.
    pub statements: &'a [Statement],
    /// [Keys](key) of the previous image's findings; `None` without a previous image.
    pub before: Option<BTreeSet<String>>,
    /// Every check ran: only then is an exception without a match unused.
    pub whole: bool,
}

/// Judges findings, adds those about the policy itself, and sorts them: failing ones first, then by severity.
pub(crate) fn judge(
    policy: &Policy,
    findings: Vec<(Kind, Finding)>,
    given: &JudgeContext<'_>,
    now: Timestamp,
) -> Vec<Judged> {
    let mut used = vec![false; policy.ignore.len()];
    let mut judged: Vec<_> = findings
        .into_iter()
        .map(|(kind, mut finding)| {
            if finding.accept.is_empty() {
                finding.accept = acceptance(&finding);
            }
            let mut accepted = None;
            for (ignore, used) in policy.ignore.iter().zip(&mut used) {
                if fits(ignore, &finding) {
                    *used = true;
                    let holds = ignore.until.is_none_or(|until| until >= now);
                    accepted = accepted.or_else(|| holds.then(|| ignore.reason.clone()));
                }
            }
            let accepted = accepted.or_else(|| vex::justification(given.statements, &finding));
            let verdict = match accepted {
                Some(reason) => Verdict::Accepted(reason),
                None if fails(policy, kind, &finding, given) => Verdict::Fails,
                None => Verdict::Told,
            };
            Judged {
                kind,
                finding,
                verdict,
            }
        })
        .collect();
    for (ignore, used) in policy.ignore.iter().zip(used) {
        let finding = exception_finding(ignore, used || !given.whole, now);
        judged.extend(finding.map(|finding| Judged {
            verdict: if finding.severity >= policy.fail_on {
                Verdict::Fails
            } else {
                Verdict::Told
            },
            kind: Kind::Policy,
            finding,
        }));
    }
    judged.sort_by_cached_key(order);
    judged
}

/// Returns the identity of a finding across scans.
pub(crate) fn key(finding: &Finding) -> String {
    let optional = |text: &'_ Option<String>| text.clone().unwrap_or_default();
    let (package, path) = (optional(&finding.package), optional(&finding.path));
    [&finding.check, &finding.id, &package, &path]
        .map(String::as_str)
        .join("\n")
}

fn order(judged: &Judged) -> impl Ord + use<> {
    let finding = &judged.finding;
    let rank = match judged.verdict {
        Verdict::Fails => 0,
        Verdict::Told => 1,
        Verdict::Accepted(_) => 2,
    };
    let severity = std::cmp::Reverse(finding.severity);
    (rank, judged.kind, severity, key(finding))
}

fn fails(policy: &Policy, kind: Kind, finding: &Finding, given: &JudgeContext<'_>) -> bool {
    let old = |before: &BTreeSet<String>| before.contains(&key(finding));
    if policy.new_only && given.before.as_ref().is_some_and(old) {
        return false;
    }
    let bad_enough = finding.severity >= policy.fail_on;
    match kind {
        Kind::Secret | Kind::Undeclared => true,
        Kind::Hygiene | Kind::Policy => bad_enough,
        Kind::Vulnerability => bad_enough && (finding.fixed.is_some() || !policy.fixable_only),
    }
}

fn fits(ignore: &Ignore, finding: &Finding) -> bool {
    let id =
        |id: &String| *id == finding.id || *id == finding.check || finding.advisories.contains(id);
    let package = |package: &String| {
        let names = [&finding.package, &finding.source];
        names.into_iter().flatten().any(|name| name == package)
    };
    let path = |glob: &String| {
        let path = finding.path.as_ref();
        path.is_some_and(|path| path == glob || fast_glob::glob_match(glob, path))
    };
    ignore.id.as_ref().is_none_or(id)
        && ignore.package.as_ref().is_none_or(package)
        && ignore.path.as_ref().is_none_or(path)
}

/// Returns a finding about an expired or unused exception.
fn exception_finding(ignore: &Ignore, used: bool, now: Timestamp) -> Option<Finding> {
    let what = [&ignore.id, &ignore.package, &ignore.path];
    let what: Vec<_> = what.into_iter().flatten().map(String::as_str).collect();
    let what = what.join(" ");
    let (check, severity, title, evidence, fix) = match ignore.until.filter(|until| *until < now) {
        Some(until) => (
            "expired-exception",
            Severity::Medium,
            "a policy exception has expired",
            format!("it was accepted until {until}: {}", ignore.reason),
            "fix the accepted problem, or review the exception and set a new date",
        ),
        None if !used => (
            "unused-exception",
            Severity::Low,
            "a policy exception matches nothing",
            format!("no finding matches it: {}", ignore.reason),
            "remove it from the template: it could accept another problem later",
        ),
        None => return None,
    };
    let mut finding = Finding::new(check, format!("{check}:{what}"), severity, title);
    finding.evidence = evidence;
    fix.clone_into(&mut finding.fix);
    Some(finding)
}

/// Returns the template lines that accept a finding.
fn acceptance(finding: &Finding) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut lines = vec!["[[policy.ignore]]".to_owned()];
    lines.push(format!("id = {}", quoted(&finding.id)));
    let package = finding.package.as_ref().map(|package| ("package", package));
    let path = finding.path.as_ref().map(|path| ("path", path));
    if let Some((key, value)) = package.or(path) {
        lines.push(format!("{key} = {}", quoted(value)));
    }
    lines.push("reason = \"...\"".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: &str, severity: Severity, fixed: bool) -> Finding {
        let mut finding = Finding::new("check", id, severity, "title");
        finding.package = Some("libssl3".to_owned());
        finding.source = Some("openssl".to_owned());
        finding.version = Some("3.0".to_owned());
        finding.path = Some("/etc/app/key".to_owned());
        finding.advisories = vec!["DSA-1".to_owned()];
        finding.fixed = fixed.then(|| "3.1".to_owned());
        finding
    }

    fn now() -> Timestamp {
        "2026-06-15T12:00:00Z".parse().unwrap()
    }

    fn verdict(policy: &Policy, kind: Kind, finding: Finding, given: &JudgeContext<'_>) -> Verdict {
        judge(policy, vec![(kind, finding)], given, now())
            .remove(0)
            .verdict
    }

    #[test]
    fn the_default_policy_fails_only_on_what_can_be_fixed() {
        use Severity::{Critical, High, Low, Medium, Unknown};
        let policy = Policy::default();
        for (kind, severity, fixed, fails) in [
            (Kind::Vulnerability, Critical, true, true),
            (Kind::Vulnerability, High, true, true),
            (Kind::Vulnerability, Critical, false, false),
            (Kind::Vulnerability, Medium, true, false),
            (Kind::Vulnerability, Unknown, true, false),
            (Kind::Hygiene, High, false, true),
            (Kind::Hygiene, Medium, false, false),
            (Kind::Secret, Low, false, true),
            (Kind::Undeclared, Low, false, true),
        ] {
            let found = finding("CVE-1", severity, fixed);
            let verdict = verdict(&policy, kind, found, &JudgeContext::default());
            assert_eq!(
                verdict == Verdict::Fails,
                fails,
                "{kind:?} {severity} {fixed}"
            );
        }
        let all = Policy {
            fixable_only: false,
            fail_on: Low,
            ..policy
        };
        let unfixed = verdict(
            &all,
            Kind::Vulnerability,
            finding("CVE-1", Low, false),
            &JudgeContext::default(),
        );
        assert_eq!(unfixed, Verdict::Fails);
    }

    #[test]
    fn an_exception_accepts_what_fits_all_of_it_until_its_day() {
        let some = |text: &str| Some(text.to_owned());
        let day = |text: &str| format!("{text}T23:59:59Z").parse().ok();
        for (id, package, path, until, accepted) in [
            (some("CVE-1"), None, None, None, true),
            (some("DSA-1"), None, None, None, true),
            (some("check"), None, None, None, true),
            (some("CVE-2"), None, None, None, false),
            (None, some("openssl"), None, None, true),
            (None, some("libssl3"), some("/etc/**"), None, true),
            (some("CVE-1"), some("nginx"), None, None, false),
            (None, None, some("/var/**"), None, false),
            (some("CVE-1"), None, None, day("2026-06-15"), true),
            (some("CVE-1"), None, None, day("2026-06-14"), false),
        ] {
            let ignore = Ignore {
                id,
                package,
                path,
                reason: "not reachable".to_owned(),
                until,
            };
            let policy = Policy {
                ignore: vec![ignore.clone()],
                ..Policy::default()
            };
            let given = JudgeContext {
                whole: true,
                ..JudgeContext::default()
            };
            let found = vec![(Kind::Secret, finding("CVE-1", Severity::High, true))];
            let judged = judge(&policy, found, &given, now());
            let secret = judged
                .iter()
                .find(|judged| judged.kind == Kind::Secret)
                .unwrap();
            let reason = Verdict::Accepted("not reachable".to_owned());
            assert_eq!(secret.verdict == reason, accepted, "{ignore:?}");
            let is_about_policy = |judged: &&Judged| judged.kind == Kind::Policy;
            let about: Vec<_> = judged.iter().filter(is_about_policy).collect();
            assert_eq!(about.len(), usize::from(!accepted), "{ignore:?}: {about:?}");
        }
    }

    #[test]
    fn an_exception_is_unused_only_when_every_check_was_made() {
        let policy = Policy {
            ignore: vec![Ignore {
                id: Some("CVE-9".to_owned()),
                ..Ignore::default()
            }],
            ..Policy::default()
        };
        for whole in [true, false] {
            let given = JudgeContext {
                whole,
                ..JudgeContext::default()
            };
            let judged = judge(&policy, Vec::new(), &given, now());
            assert_eq!(judged.len(), usize::from(whole));
        }
    }

    #[test]
    fn only_what_is_new_fails_where_the_policy_says_so() {
        let old = finding("CVE-1", Severity::Critical, true);
        let new = finding("CVE-2", Severity::Critical, true);
        let given = JudgeContext {
            before: Some([key(&old)].into()),
            ..JudgeContext::default()
        };
        for (new_only, finding, fails) in
            [(true, &old, false), (true, &new, true), (false, &old, true)]
        {
            let policy = Policy {
                new_only,
                ..Policy::default()
            };
            let verdict = verdict(&policy, Kind::Vulnerability, finding.clone(), &given);
            assert_eq!(
                verdict == Verdict::Fails,
                fails,
                "{new_only} {}",
                finding.id
            );
        }
    }
}
