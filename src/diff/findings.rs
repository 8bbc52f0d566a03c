//! What two scans found.

use std::collections::BTreeSet;

use serde::Serialize;

use super::NotCompared;
use crate::scan::Finding;
use crate::scan::report::Json;
use crate::scan::report::policy::{self, Kind};
use crate::scan::run::Check;
use crate::time::Timestamp;

/// The last scan of an image.
#[derive(Clone, Copy)]
pub struct Scan<'a> {
    /// When it was made.
    pub scanned: Timestamp,
    /// What it says.
    pub report: &'a Json,
    /// What it found.
    pub found: &'a [(Kind, Finding)],
}

/// Findings that only one of two scans has.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Findings {
    /// When the first was scanned.
    pub first_scanned: Timestamp,
    /// When the second was scanned.
    pub second_scanned: Timestamp,
    /// Whether both scans knew the same vulnerabilities. Where they did not, what one of them does not have may only
    /// not have been known.
    pub same_database: bool,
    /// What only the scan of the first image has.
    pub fixed: Vec<Finding>,
    /// What only the scan of the second image has.
    pub introduced: Vec<Finding>,
}

/// The findings that differ, of the checks that were made in both scans; the worst first.
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
                    what: left_out.check.name().to_owned(),
                    because: format!("left out of the scan of the {which}: {}", left_out.because),
                });
            }
        }
    }
    let only_in = |one: Scan<'_>, other: Scan<'_>| {
        let known: BTreeSet<_> = other.found.iter().map(|(_, it)| policy::key(it)).collect();
        let is_compared = |kind| check(kind).is_none_or(|check| !missing.contains(&check));
        let only = one
            .found
            .iter()
            .filter(|(kind, it)| is_compared(*kind) && !known.contains(&policy::key(it)));
        let mut only: Vec<_> = only.map(|(_, it)| it.clone()).collect();
        only.sort_by_cached_key(|it| (std::cmp::Reverse(it.severity), policy::key(it)));
        only.dedup_by_key(|it| policy::key(it));
        only
    };
    let database = |scan: Scan<'_>| scan.report.database.as_ref().map(|it| it.digest.clone());
    Findings {
        first_scanned: first.scanned,
        second_scanned: second.scanned,
        same_database: database(first) == database(second),
        fixed: only_in(first, second),
        introduced: only_in(second, first),
    }
}

/// The check that has findings of this kind.
fn check(kind: Kind) -> Option<Check> {
    match kind {
        Kind::Secret => Some(Check::Secrets),
        Kind::Undeclared => Some(Check::Undeclared),
        Kind::Hygiene => Some(Check::Hygiene),
        Kind::Vulnerability => Some(Check::Vulnerabilities),
        Kind::Policy => None,
    }
}
