//! What the clean-up's rules would still do.

use super::{Look, ScanError, failed, left_over, table};
use crate::disk::clean::rules::RULES;

/// Of one rule this many paths are listed; a tree that was never cleaned has thousands of logs and lists.
const MOST: usize = 10;

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    let all = left_over(look.root.tree(), look.root.files(), look.owners).map_err(failed)?;
    for rule in RULES {
        let of_rule: Vec<_> = all.iter().filter(|it| it.rule == rule.id).collect();
        let check = table::of_rule(rule.id);
        for (count, left) in of_rule.iter().enumerate() {
            let rest = of_rule.len() - count;
            let more = match rest {
                more if count + 1 == MOST && more > 1 => format!("; and {} more", more - 1),
                _ => String::new(),
            };
            let evidence = format!("{}{more}", rule.reason);
            look.report(check.id, &left.path, evidence);
            if count + 1 == MOST {
                break;
            }
        }
    }
    Ok(())
}
