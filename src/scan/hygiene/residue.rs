//! Reports what the clean-up's rules would still remove or change.

use super::{HygieneScan, ScanError, leftovers, scan_error, table};
use crate::disk::clean::rules::RULES;

/// Number of paths that are listed for a rule: a tree that was never cleaned has thousands of logs and lists.
const MAX_PATHS: usize = 10;

pub(super) fn check(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    let all = leftovers(scan.root.tree(), scan.root.files(), scan.owners).map_err(scan_error)?;
    for rule in RULES.iter() {
        let leftovers: Vec<_> = all.iter().filter(|left| left.rule == rule.id).collect();
        let check = table::by_rule(&rule.id);
        let more = leftovers.len().saturating_sub(MAX_PATHS);
        for (number, left) in leftovers.iter().take(MAX_PATHS).enumerate() {
            let mut evidence = rule.reason.clone();
            if more > 0 && number + 1 == MAX_PATHS {
                evidence = format!("{evidence}; and {more} more");
            }
            scan.report(&check.id, &left.path, evidence);
        }
    }
    Ok(())
}
