//! Findings about what maintainer scripts made, and `accept` of the packages, which settles them.

use super::super::declared::{covers, names_place};
use super::super::steps::StepCauses;
use super::super::{Compare, Finding, Severity};
use super::ScriptPackages;
use crate::record::lock::Manager;
use crate::record::manifest::{AcceptedPath, Inputs};

/// Checks of single paths. A changed package database cannot be accepted.
const CHECKS: [&str; 10] = [
    "modified-package-file",
    "undeclared-access",
    "undeclared-capability",
    "undeclared-device",
    "undeclared-file",
    "undeclared-program",
    "undeclared-repository",
    "undeclared-setuid",
    "undeclared-start",
    "undeclared-unit",
];

/// Accepted paths of maintainer scripts, by the template.
#[derive(Clone, Debug, Default)]
pub struct Acceptable {
    /// Paths that the template accepts.
    paths: Vec<AcceptedPath>,
    /// Package manager whose table can accept more.
    manager: Option<Manager>,
    /// True if files or steps follow the packages.
    has_steps: bool,
}

impl Acceptable {
    pub fn new(inputs: &Inputs) -> Self {
        let (apt, dnf) = (&inputs.packages.apt, &inputs.packages.dnf);
        let sets = apt.iter().chain(dnf);
        let manager = match (apt, dnf) {
            (Some(_), _) => Some(Manager::Apt),
            (None, dnf) => dnf.as_ref().map(|_| Manager::Dnf),
        };
        Self {
            paths: sets.flat_map(|set| set.accept.clone()).collect(),
            manager,
            has_steps: !inputs.steps.is_empty() || !inputs.files.is_empty(),
        }
    }

    /// Returns whether an entry accepts a path.
    pub fn accepts(&self, path: &str) -> bool {
        let mut paths = self.paths.iter();
        paths.any(|entry| accepts(entry, path))
    }

    /// Returns the table of the template that accepts paths.
    fn table(&self) -> Option<&'static str> {
        self.manager.map(|manager| match manager {
            Manager::Apt => "[packages.apt]",
            Manager::Dnf => "[packages.dnf]",
        })
    }
}

impl Compare<'_> {
    /// Removes the findings that the template accepts, and tells how to accept others that are not of a step. Reports an
    /// `accept` without a finding.
    pub(in super::super) fn accept(&mut self, steps: Option<&StepCauses>) {
        let accepted = &self.declared.acceptable;
        let mut used = vec![false; accepted.paths.len()];
        let mut findings = std::mem::take(&mut self.findings);
        // Of a path that is not UTF-8 it cannot be told.
        let is_of_step = |path: &str| {
            path.contains(char::REPLACEMENT_CHARACTER)
                || steps.is_some_and(|causes| causes.contains_key(path.as_bytes()))
        };
        let can_accept = |finding: &Finding| {
            let path = finding.path.as_deref();
            CHECKS.contains(&&*finding.check) && path.is_some_and(|path| !is_of_step(path))
        };
        findings.retain(|finding| {
            if !can_accept(finding) {
                return true;
            }
            let path = finding.path.as_deref().unwrap_or_default();
            let mut fits = false;
            for (entry, used) in accepted.paths.iter().zip(&mut used) {
                if accepts(entry, path) {
                    (fits, *used) = (true, true);
                }
            }
            !fits
        });
        // Without the tree between them, scripts and steps cannot be told apart.
        let are_scripts_known = steps.is_some() || !accepted.has_steps;
        if let Some(table) = accepted.table().filter(|_| are_scripts_known) {
            let packages = ScriptPackages::new(self);
            for finding in findings.iter_mut().filter(|finding| can_accept(finding)) {
                let path = finding.path.clone().unwrap_or_default();
                tell(finding, packages.package_of(path.as_bytes()), table);
            }
        }
        let unused = accepted.paths.iter().zip(used).filter(|(_, used)| !used);
        findings.extend(unused.map(|(entry, _)| unused_accept(entry)));
        self.findings = findings;
    }
}

/// Returns whether an entry accepts a path. The rules for its glob are those of `creates`.
fn accepts(entry: &AcceptedPath, path: &str) -> bool {
    covers(&entry.path, path) && names_place(&entry.path, path)
}

/// Adds the package to a finding, and the template lines that accept it.
fn tell(finding: &mut Finding, package: Option<&str>, table: &str) {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let path = finding.path.as_deref().unwrap_or_default();
    let line = format!(
        "accept = [{{ path = {}, package = {}, reason = \"...\" }}]",
        quoted(path),
        quoted(package.unwrap_or("..."))
    );
    let by = package.map(|package| format!(" of {package}"));
    let by = by.unwrap_or_default();
    finding.evidence = format!(
        "{}; made before the first step by maintainer scripts{by}: `{line}` in {table} accepts it",
        finding.evidence
    );
    finding.accept = format!("{table}\n{line}");
}

fn unused_accept(entry: &AcceptedPath) -> Finding {
    let check = "unused-exception";
    let id = format!("{check}:{}", entry.path);
    let mut finding = Finding::new(check, id, Severity::Low, "an accepted path has no finding");
    finding.evidence = format!("no finding matches it: {}", entry.reason);
    "remove it from `accept` in the template: it could accept another problem later"
        .clone_into(&mut finding.fix);
    finding
}
