//! Findings → what becomes of them. Pure: the time, the earlier findings and the VEX documents are arguments.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::vex::{self, Statement};
use crate::plan::{Ignore, Policy};
use crate::scan::{Finding, Severity};
use crate::time::Timestamp;

/// Which part of a scan found it; in the order of reports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A secret that was left.
    Secret,
    /// Something that nobody declared.
    Undeclared,
    /// A left-over or a weakness.
    Hygiene,
    /// A known vulnerability, or the end of support.
    Vulnerability,
    /// About the policy itself.
    Policy,
}

/// What becomes of a finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The image must not be used with it.
    Fails,
    /// It is told.
    Told,
    /// It is accepted, for this reason.
    Accepted(String),
}

/// A finding with what becomes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// Which part of the scan found it.
    pub kind: Kind,
    /// The finding.
    pub finding: Finding,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What a finding is judged by, besides the policy.
#[derive(Clone, Debug, Default)]
pub struct Given<'a> {
    /// What VEX documents say.
    pub statements: &'a [Statement],
    /// Findings that the image before had, as [`key`] makes them of each; `None` where there is none to compare with.
    pub before: Option<BTreeSet<String>>,
    /// Every check was made: only then is an exception unused that fits nothing.
    pub whole: bool,
}

/// Judges findings, adds those about the policy itself, and sorts: what fails first, the worst first.
#[must_use]
pub fn judge(
    policy: &Policy,
    findings: Vec<(Kind, Finding)>,
    given: &Given<'_>,
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
        let finding = about(ignore, used || !given.whole, now);
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

/// What tells a finding from others, from scan to scan.
#[must_use]
pub fn key(finding: &Finding) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        finding.check.clone(),
        finding.id.clone(),
        part(&finding.package),
        part(&finding.path),
    ]
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

fn fails(policy: &Policy, kind: Kind, finding: &Finding, given: &Given<'_>) -> bool {
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
    let id = |id: &String| {
        let names = [&finding.id, &finding.check].into_iter();
        names.chain(&finding.advisories).any(|name| name == id)
    };
    let package = |package: &String| {
        [&finding.package, &finding.source]
            .into_iter()
            .any(|it| it.as_ref() == Some(package))
    };
    let path = |glob: &String| {
        let path = finding.path.as_ref();
        path.is_some_and(|path| path == glob || fast_glob::glob_match(glob, path))
    };
    ignore.id.as_ref().is_none_or(id)
        && ignore.package.as_ref().is_none_or(package)
        && ignore.path.as_ref().is_none_or(path)
}

/// What is wrong with an exception.
fn about(ignore: &Ignore, used: bool, now: Timestamp) -> Option<Finding> {
    let what = [&ignore.id, &ignore.package, &ignore.path];
    let what: Vec<_> = what.into_iter().flatten().map(String::as_str).collect();
    let what = what.join(" ");
    let (check, severity, title, evidence, mend) = match ignore.until.filter(|until| *until < now) {
        Some(until) => (
            "expired-exception",
            Severity::Medium,
            "an exception of the policy has expired",
            format!("it was accepted until {until}: {}", ignore.reason),
            "mend what was accepted, or think it over and give it a new day",
        ),
        None if !used => (
            "unused-exception",
            Severity::Low,
            "an exception of the policy fits nothing",
            format!("nothing was found that it accepts: {}", ignore.reason),
            "take it out of the template: it could accept something else one day",
        ),
        None => return None,
    };
    let mut finding = Finding::new(check, format!("{check}:{what}"), severity, title);
    finding.evidence = evidence;
    mend.clone_into(&mut finding.mend);
    Some(finding)
}

/// The lines of a template that accept a finding.
fn acceptance(finding: &Finding) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut lines = vec!["[[policy.ignore]]".to_owned()];
    lines.push(format!("id = {}", quoted(&finding.id)));
    let package = finding.package.as_ref().map(|it| ("package", it));
    let path = finding.path.as_ref().map(|it| ("path", it));
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

    fn verdict(policy: &Policy, kind: Kind, finding: Finding, given: &Given<'_>) -> Verdict {
        judge(policy, vec![(kind, finding)], given, now())
            .remove(0)
            .verdict
    }

    #[test]
    fn the_default_policy_is_strict_where_somebody_can_do_something() {
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
            let verdict = verdict(&policy, kind, found, &Given::default());
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
            &Given::default(),
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
            let given = Given {
                whole: true,
                ..Given::default()
            };
            let found = vec![(Kind::Secret, finding("CVE-1", Severity::High, true))];
            let judged = judge(&policy, found, &given, now());
            let secret = judged.iter().find(|it| it.kind == Kind::Secret).unwrap();
            let reason = Verdict::Accepted("not reachable".to_owned());
            assert_eq!(secret.verdict == reason, accepted, "{ignore:?}");
            let about: Vec<_> = judged.iter().filter(|it| it.kind == Kind::Policy).collect();
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
            let given = Given {
                whole,
                ..Given::default()
            };
            let judged = judge(&policy, Vec::new(), &given, now());
            assert_eq!(judged.len(), usize::from(whole));
        }
    }

    #[test]
    fn only_what_is_new_fails_where_the_policy_says_so() {
        let old = finding("CVE-1", Severity::Critical, true);
        let new = finding("CVE-2", Severity::Critical, true);
        let given = Given {
            before: Some([key(&old)].into()),
            ..Given::default()
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
