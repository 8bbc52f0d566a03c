//! What is in an image and that nobody has declared: neither the base, nor the lock, nor a file of the template, nor the
//! `creates` of a step.
//!
//! What a package's own scripts make (users, enabled units, alternatives) counts as declared through the package.

use std::collections::{BTreeSet, HashSet};

use super::{Finding, Packaged, Root, ScanError, Severity};

mod accounts;
mod declared;
mod observed;
mod packages;
mod paths;
mod presets;
pub(crate) mod watched_paths;

use presets::Presets;

pub use declared::{Declared, DeclaredPackage, DeclaredPath};
pub use observed::{Facts, Print, Privilege};

/// The largest file that says who made what: a package's script, the state of an alternative.
const LARGEST: u64 = 16 << 20;

/// Compares what there is, `now`, with what is declared.
///
/// # Errors
/// Something cannot be read.
pub fn check(
    root: &Root<'_>,
    packaged: &Packaged,
    now: &Facts,
    declared: &Declared,
) -> Result<Vec<Finding>, ScanError> {
    let mut compare = Compare {
        root,
        packaged,
        declared,
        now,
        needed: BTreeSet::new(),
        alternatives: HashSet::new(),
        presets: Presets::read(root)?,
        findings: Vec::new(),
    };
    compare.needed = compare.needed();
    compare.alternatives = compare.alternatives()?;
    compare.packages();
    compare.places()?;
    compare.modified();
    compare.database();
    compare.privileged();
    compare.accounts()?;
    Ok(compare.findings)
}

struct Compare<'a> {
    root: &'a Root<'a>,
    packaged: &'a Packaged,
    declared: &'a Declared,
    now: &'a Facts,
    /// Packages that follow from others.
    needed: BTreeSet<String>,
    /// Links that update-alternatives has made.
    alternatives: HashSet<String>,
    /// What the scripts of RPMs enable.
    presets: Presets,
    findings: Vec<Finding>,
}

/// Something that nobody declares.
struct Found<'a> {
    check: &'static str,
    severity: Severity,
    /// A path, or the name of what has none.
    subject: &'a str,
    title: String,
    evidence: String,
    mend: &'static str,
}

impl Compare<'_> {
    /// Reports something; the cause that is nearest to it follows what is seen.
    fn report(&mut self, found: Found<'_>, nearest: Option<String>) {
        let Found {
            check,
            severity,
            subject,
            title,
            evidence,
            mend,
        } = found;
        let mut finding = Finding::new(check, format!("{check}:{subject}"), severity, title);
        let cause = nearest.map_or_else(|| "no parent".to_owned(), |it| format!("nearest: {it}"));
        finding.evidence = format!("{evidence}; {cause}");
        mend.clone_into(&mut finding.mend);
        if subject.starts_with('/') {
            finding.path = Some(subject.to_owned());
        }
        self.findings.push(finding);
    }

    /// What is declared nearest to a path, in words.
    fn nearest(&self, path: &str) -> Option<String> {
        let near = self.declared.nearest(path)?;
        Some(format!("{} has {}", near.by, near.path))
    }
}

#[cfg(test)]
mod tests;
