//! Packages and versions that are in neither base nor lock.

use std::collections::BTreeSet;

use super::{Compare, Found, Severity};
use crate::scan::integrity::Package;

impl Compare<'_> {
    pub(super) fn packages(&mut self) {
        for package in &self.now.packages {
            if self.is_declared(package) {
                continue;
            }
            let before: Vec<_> = self.declared.base.versions(&package.name).collect();
            let locked = self
                .declared
                .packages
                .iter()
                .find(|it| it.name == package.name);
            let locked = locked.and_then(|it| it.exact.as_ref());
            let Package { name, version, .. } = package;
            let (check, evidence) = match (locked, before.first()) {
                (Some((locked, _)), _) => (
                    "undeclared-version",
                    format!("{version} is installed, the lock has {locked}"),
                ),
                (None, Some(before)) => (
                    "undeclared-version",
                    format!("{version} is installed, the base has {before}, the lock has none"),
                ),
                (None, None) => (
                    "undeclared-package",
                    format!("{version} is installed; neither base nor lock has it"),
                ),
            };
            let found = Found {
                check,
                severity: Severity::High,
                subject: name,
                title: format!("nobody has declared {name} {version}"),
                evidence,
                mend: "declare it (`[packages.apt] install`) and lock it, or take it out of the step that installs it",
            };
            let parent = self.parent(name);
            self.report(found, parent);
            if let Some(finding) = self.findings.last_mut() {
                finding.package = Some(name.clone());
                finding.version = Some(version.clone());
            }
        }
    }

    fn is_declared(&self, package: &Package) -> bool {
        let locked = self.declared.packages.iter().any(|it| {
            let exact = it.exact.as_ref();
            it.name == package.name
                && exact.is_none_or(|(version, architecture)| {
                    *version == package.version && *architecture == package.architecture
                })
        });
        let same = |it: &Package| {
            (&it.name, &it.version, &it.architecture)
                == (&package.name, &package.version, &package.architecture)
        };
        locked
            || self.needed.contains(&package.name)
            || self.declared.base.packages.iter().any(same)
    }

    /// What packages need that are declared by name only, and what that needs in turn; a lock has it itself.
    pub(super) fn needed(&self) -> BTreeSet<String> {
        let by_name = self
            .declared
            .packages
            .iter()
            .filter(|it| it.exact.is_none());
        let mut todo: Vec<&str> = by_name.map(|it| it.name.as_str()).collect();
        let mut needed = BTreeSet::new();
        while let Some(name) = todo.pop() {
            if needed.insert(name.to_owned()) {
                let packages = self.now.packages.iter().filter(|it| it.name == name);
                todo.extend(packages.flat_map(|it| &it.needs).map(String::as_str));
            }
        }
        needed
    }

    /// A declared package that needs this one.
    fn parent(&self, name: &str) -> Option<String> {
        let mut parents = self
            .now
            .packages
            .iter()
            .filter(|it| it.needs.iter().any(|need| need == name));
        let parent = parents.find(|it| self.is_declared(it))?;
        Some(format!("{} needs it", parent.name))
    }
}
