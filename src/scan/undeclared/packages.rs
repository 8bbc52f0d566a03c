//! Packages and versions that are neither in the base nor in the lock file.

use std::collections::BTreeSet;

use super::{Compare, Severity, Undeclared};
use crate::scan::integrity::Package;

impl Compare<'_> {
    pub(super) fn packages(&mut self) {
        for package in &self.now.packages {
            if self.is_declared(package) {
                continue;
            }
            let before: Vec<_> = self.declared.base.versions(&package.name).collect();
            let mut declared = self.declared.packages.iter();
            let locked = declared.find(|declared| declared.name == package.name);
            let locked = locked.and_then(|locked| locked.exact.as_ref());
            let Package { name, version, .. } = package;
            let (check, evidence) = match (locked, before.first()) {
                (Some((locked, _)), _) => (
                    "undeclared-version",
                    format!("{version} is installed; the lock file has {locked}"),
                ),
                (None, Some(before)) => (
                    "undeclared-version",
                    format!("{version} is installed; the base has {before}, the lock file none"),
                ),
                (None, None) => (
                    "undeclared-package",
                    format!("{version} is installed; neither the base nor the lock file has it"),
                ),
            };
            let item = Undeclared {
                check,
                severity: Severity::High,
                subject: name,
                title: format!("undeclared package {name} {version}"),
                evidence,
                fix: "declare it (`install` in `[packages.apt]` or `[packages.dnf]`) and lock it, or remove it from the step that installs it",
            };
            let parent = self.parent(name);
            self.report(item, parent);
            if let Some(finding) = self.findings.last_mut() {
                finding.package = Some(name.clone());
                finding.version = Some(version.clone());
            }
        }
    }

    fn is_declared(&self, package: &Package) -> bool {
        let locked = self.declared.packages.iter().any(|declared| {
            let exact = declared.exact.as_ref();
            declared.name == package.name
                && exact.is_none_or(|(version, architecture)| {
                    *version == package.version && *architecture == package.architecture
                })
        });
        let same = |other: &Package| {
            (&other.name, &other.version, &other.architecture)
                == (&package.name, &package.version, &package.architecture)
        };
        locked
            || self.needed.contains(&package.name)
            || self.declared.base.packages.iter().any(same)
    }

    /// Returns the packages declared by name only, with all their dependencies; a lock file lists dependencies itself.
    pub(super) fn needed(&self) -> BTreeSet<String> {
        let declared = self.declared.packages.iter();
        let by_name = declared.filter(|package| package.exact.is_none());
        let mut todo: Vec<&str> = by_name.map(|package| package.name.as_str()).collect();
        let mut needed = BTreeSet::new();
        while let Some(name) = todo.pop() {
            if needed.insert(name.to_owned()) {
                let packages = self.now.packages.iter();
                let packages = packages.filter(|package| package.name == name);
                todo.extend(
                    packages
                        .flat_map(|package| &package.needs)
                        .map(String::as_str),
                );
            }
        }
        needed
    }

    /// Returns a declared package that depends on this one.
    fn parent(&self, name: &str) -> Option<String> {
        let packages = self.now.packages.iter();
        let mut parents = packages.filter(|package| package.needs.iter().any(|need| need == name));
        let parent = parents.find(|package| self.is_declared(package))?;
        Some(format!("{} depends on it", parent.name))
    }
}
