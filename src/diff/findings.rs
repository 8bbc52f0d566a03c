//! Findings that differ between two scans.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Serialize;

use super::NotCompared;
use crate::scan::Finding;
use crate::scan::report::Json;
use crate::scan::report::policy::{self, Kind};
use crate::scan::run::Check;
use crate::time::Timestamp;

/// Last scan of an image.
#[derive(Clone, Copy)]
pub struct Scan<'a> {
    pub scanned: Timestamp,
    pub report: &'a Json,
    pub found: &'a [(Kind, Finding)],
}

/// Findings that only one of two scans has.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Findings {
    pub first_scanned: Timestamp,
    pub second_scanned: Timestamp,
    /// Both scans used the same database. If not, a finding may be missing only because it was not known yet.
    pub same_database: bool,
    /// Findings of the first scan only.
    pub fixed: Vec<Finding>,
    /// Findings of the second scan only.
    pub introduced: Vec<Finding>,
}

/// Returns the findings that differ, of checks that both scans ran; most severe first.
pub(super) fn findings(
    first: Scan<'_>,
    second: Scan<'_>,
    not_compared: &mut Vec<NotCompared>,
) -> Findings {
    let mut missing = BTreeSet::new();
    for (scan, which) in [(first, "first"), (second, "second")] {
        for left_out in &scan.report.left_out {
            if missing.insert(left_out.check) {
                not_compared.push(NotCompared {
                    what: left_out.check.to_string(),
                    because: format!("skipped in the scan of the {which}: {}", left_out.because),
                });
            }
        }
    }
    let only_in = |one: Scan<'_>, other: Scan<'_>| {
        let known: BTreeSet<_> = other
            .found
            .iter()
            .map(|(_, known)| policy::key(known))
            .collect();
        let is_compared = |kind| check(kind).is_none_or(|check| !missing.contains(&check));
        let only = one
            .found
            .iter()
            .filter(|(kind, finding)| is_compared(*kind) && !known.contains(&policy::key(finding)));
        let mut only: Vec<_> = only.map(|(_, finding)| finding.clone()).collect();
        only.sort_by_cached_key(|finding| (Reverse(finding.severity), policy::key(finding)));
        only.dedup_by_key(|finding| policy::key(finding));
        only
    };
    let database = |scan: Scan<'_>| Some(scan.report.database.as_ref()?.digest.clone());
    Findings {
        first_scanned: first.scanned,
        second_scanned: second.scanned,
        same_database: database(first) == database(second),
        fixed: only_in(first, second),
        introduced: only_in(second, first),
    }
}

/// Returns the check that reports findings of this kind.
fn check(kind: Kind) -> Option<Check> {
    match kind {
        Kind::Secret => Some(Check::Secrets),
        Kind::Undeclared => Some(Check::Undeclared),
        Kind::Hygiene => Some(Check::Hygiene),
        Kind::Vulnerability => Some(Check::Vulnerabilities),
        Kind::Policy => None,
    }
}
