//! Finds content of an image that is not declared: not by the base, the lock file, a file of the template or the `creates`
//! of a step.
//!
//! Results of a package's own scripts (users, enabled units, alternatives) are declared with the package.

use std::collections::{BTreeSet, HashSet};

use super::{Finding, Packaged, Root, ScanError, Severity};

mod account_sources;
mod accounts;
mod declared;
mod explain;
mod install_section;
mod named_places;
pub(crate) mod observed;
mod packages;
mod paths;
mod rights;
mod scripts;
mod steps;
pub(crate) mod watched_paths;

pub use declared::Declared;
pub use observed::ObservedState;
pub(crate) use steps::{ACCOUNT_FILES, StepTime, StepTrees};

/// Maximum size of a file with information about an origin: a package's script, the state of an alternative.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// An image and what it was made from.
pub(crate) struct Trees<'a> {
    pub image: &'a Root<'a>,
    pub base: &'a Root<'a>,
    /// `None` if there were no steps, or the tree before them is not known.
    pub steps: Option<&'a StepTrees>,
    /// True if each path is to be explained.
    pub explain: bool,
}

/// Compares the observed state `now` of the image with the declared one. Returns the findings, and the
/// [explanation](crate::record::explanation) of the image as it is stored.
///
/// # Errors
/// Fails if a file cannot be read.
pub fn check(
    trees: &Trees<'_>,
    packaged: &Packaged,
    now: &ObservedState,
    declared: &Declared,
) -> Result<(Vec<Finding>, Option<Vec<u8>>), ScanError> {
    let root = trees.image;
    let mut compare = Compare {
        root,
        base: trees.base,
        packaged,
        declared,
        now,
        needed: BTreeSet::new(),
        alternatives: HashSet::new(),
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
    let causes = trees.steps.map(|steps| compare.steps(steps)).transpose()?;
    compare.code(causes.as_ref())?;
    compare.accept(causes.as_ref());
    let explanation = trees.explain.then(|| compare.explain(causes.as_ref()));
    Ok((compare.findings, explanation.transpose()?))
}

struct Compare<'a> {
    root: &'a Root<'a>,
    base: &'a Root<'a>,
    packaged: &'a Packaged,
    declared: &'a Declared,
    now: &'a ObservedState,
    /// Packages that declared packages depend on.
    needed: BTreeSet<String>,
    /// Links that update-alternatives manages.
    alternatives: HashSet<String>,
    findings: Vec<Finding>,
}

struct Undeclared<'a> {
    check: &'static str,
    severity: Severity,
    /// The path, or the name of an account or a package.
    subject: &'a str,
    title: String,
    evidence: String,
    fix: &'static str,
}

impl Compare<'_> {
    /// Adds a finding; a related declaration may explain it.
    fn report(&mut self, item: Undeclared<'_>, related: Option<String>) {
        let Undeclared {
            check,
            severity,
            subject,
            title,
            evidence,
            fix,
        } = item;
        let mut finding = Finding::new(check, format!("{check}:{subject}"), severity, title);
        finding.evidence = with_related(&evidence, related);
        fix.clone_into(&mut finding.fix);
        if subject.starts_with('/') {
            finding.path = Some(subject.to_owned());
        }
        self.findings.push(finding);
    }

    /// Returns the paths that have a finding.
    fn reported(&self) -> HashSet<String> {
        let findings = self.findings.iter();
        findings
            .filter_map(|finding| finding.path.clone())
            .collect()
    }

    /// Describes the declaration that is nearest to a path.
    fn nearest(&self, path: &str) -> Option<String> {
        if let Some(covering) = self.declared.covering(path) {
            return Some(covering);
        }
        let near = self.declared.nearest(path)?;
        Some(format!("{} declares {}", near.by, near.path))
    }
}

fn with_related(evidence: &str, related: Option<String>) -> String {
    match related {
        Some(related) => format!("{evidence}; related: {related}"),
        None => format!("{evidence}; no related declaration"),
    }
}

#[cfg(test)]
mod tests;
