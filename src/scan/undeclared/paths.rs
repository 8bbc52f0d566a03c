//! Undeclared files, units, package sources and privileged programs, and modified files of packages.

use std::collections::HashSet;

use super::install_section::is_enabled_by_unit;
use super::observed::{DatabaseRecord, ObservedState, subject};
use super::watched_paths::WatchedPlace;
use super::{Compare, MAX_FILE_BYTES, ScanError, Severity, Undeclared, with_related};
use crate::disk::read::FileType;
use crate::disk::tree::{Content, File};
use crate::distro::python::source_of_compiled;

pub(super) const FILES: &str =
    "declare it with `[[files]]`, or with `creates` in the step that creates it";

/// Configuration that scripts of packages copy, and the file of the package.
const COPIES: [(&str, &str); 2] = [
    ("/etc/profile", "/usr/share/base-files/profile"),
    ("/etc/ssh/sshd_config", "/usr/share/openssh/sshd_config"),
];

impl Compare<'_> {
    pub(super) fn places(&mut self) -> Result<(), ScanError> {
        let root = self.root;
        for (path, index) in root.tree().paths() {
            let file = &root.tree().files()[index];
            let Some(place) = subject(self.packaged, path, file) else {
                continue;
            };
            if self.now.paths.get(path) == self.declared.base.paths.get(path)
                || self.is_explained(place, path, file)?
            {
                continue;
            }
            let text = String::from_utf8_lossy(path);
            let changed = self.declared.base.paths.contains_key(path);
            let evidence = match (&file.content, changed) {
                (_, true) => "differs from the base".to_owned(),
                (Content::Link(target), _) => {
                    format!("leads to {}", String::from_utf8_lossy(target))
                }
                _ => format!("{} bytes, mode {:04o}", file.content.size(), file.mode),
            };
            let item = Undeclared {
                check: place.check,
                severity: Severity::High,
                subject: &text,
                title: format!("undeclared {}", place.what),
                evidence,
                fix: FILES,
            };
            let nearest = self.nearest(&text);
            self.report(item, nearest);
        }
        Ok(())
    }

    /// Returns whether the template, a package's scripts or a declared file account for a path.
    fn is_explained(
        &self,
        place: &WatchedPlace,
        path: &[u8],
        file: &File,
    ) -> Result<bool, ScanError> {
        let text = String::from_utf8_lossy(path);
        if self.declared.path(&text).is_some() {
            return Ok(true);
        }
        if let Content::Link(target) = &file.content
            && (self.is_alternative(&text, target) || self.is_enabled(&text, target)?)
        {
            return Ok(true);
        }
        if place.check == "undeclared-repository" {
            return self.is_repository(path, &text);
        }
        Ok(self.is_compiled(path) || self.is_copied(&text, path, file)?)
    }

    /// Returns whether a path is a link to `/etc/alternatives` that update-alternatives manages.
    fn is_alternative(&self, path: &str, target: &[u8]) -> bool {
        let chosen = target.starts_with(b"/etc/alternatives/") && self.alternatives.contains(path);
        let real = self.root.resolve(target).filter(|_| chosen);
        real.is_some_and(|real| self.is_accounted(&real))
    }

    /// Returns the links that update-alternatives manages: dpkg's, and that of systems with RPM.
    pub(super) fn alternatives(&self) -> Result<HashSet<String>, ScanError> {
        let mut links = HashSet::new();
        let states = [&b"/var/lib/dpkg/alternatives"[..], b"/var/lib/alternatives"];
        for (path, state) in states
            .iter()
            .flat_map(|directory| self.root.children(directory))
        {
            let text = self.root.content(path, state, MAX_FILE_BYTES)?;
            let text = String::from_utf8_lossy(&text);
            let paths = text.lines().filter(|line| line.starts_with('/'));
            links.extend(paths.map(str::to_owned));
        }
        Ok(links)
    }

    /// Returns whether a package, the base or the template has a path.
    fn is_accounted(&self, path: &[u8]) -> bool {
        self.packaged.owner(path).is_some()
            || self.declared.base.paths.contains_key(path)
            || self.declared.path(&String::from_utf8_lossy(path)).is_some()
    }

    /// Returns whether a link enables a sound or declared unit as that asks for.
    pub(super) fn is_enabled(&self, path: &str, target: &[u8]) -> Result<bool, ScanError> {
        let Some(unit) = self.unit_of(path, target) else {
            return Ok(false);
        };
        Ok(self.is_sound(&unit)
            && is_enabled_by_unit(self.root, path, &String::from_utf8_lossy(&unit))?)
    }

    /// Returns the path of the unit that a link names. Links of directories are followed, but the unit is none.
    pub(super) fn unit_of(&self, path: &str, target: &[u8]) -> Option<Vec<u8>> {
        let (directory, _) = path.rsplit_once('/')?;
        let target = match target {
            [b'/', ..] => target.to_vec(),
            relative => [directory.as_bytes(), relative].join(&b'/'),
        };
        let at = target.iter().rposition(|&byte| byte == b'/')?;
        let directory = self.root.resolve(&target[..at])?;
        Some([&directory[..], &target[at + 1..]].join(&b'/'))
    }

    /// Returns whether the template declares a file, or it is as the base or its package has it.
    fn is_sound(&self, path: &[u8]) -> bool {
        let before = self.declared.base.paths.get(path);
        self.declared.path(&String::from_utf8_lossy(path)).is_some()
            || (before.is_some() && before == self.now.paths.get(path))
            || self.is_as_packaged(path)
    }

    /// Returns whether a package has a file, and the image has it as the package does.
    pub(super) fn is_as_packaged(&self, path: &[u8]) -> bool {
        let mut modified = self.packaged.modified.iter();
        self.packaged.owner(path).is_some() && !modified.any(|modified| *modified.path == *path)
    }

    /// Returns whether a file belongs to a declared package source, and contains no URI but its own.
    fn is_repository(&self, path: &[u8], text: &str) -> Result<bool, ScanError> {
        for (name, uri) in &self.declared.repositories {
            let key = ["/etc/apt/keyrings/", "/etc/pki/rpm-gpg/RPM-GPG-KEY-"]
                .iter()
                .any(|place| {
                    let rest = text
                        .strip_prefix(place)
                        .and_then(|rest| rest.strip_prefix(name.as_str()));
                    rest.is_some_and(|rest| [".asc", ".gpg", ".key", ""].contains(&rest))
                });
            if key {
                return Ok(true);
            }
            let source = text == format!("/etc/apt/sources.list.d/{name}.sources")
                || text == format!("/etc/yum.repos.d/{name}.repo");
            if source {
                let content = self.root.read(path, MAX_FILE_BYTES)?.unwrap_or_default();
                let content = String::from_utf8_lossy(&content);
                let mut uris = content
                    .split_whitespace()
                    .filter(|word| word.contains("://"));
                let own = uri.trim_end_matches('/');
                let is_own = |word: &str| {
                    let word = word.split_once('=').map_or(word, |(_, word)| word);
                    word.trim_end_matches('/') == own || word.starts_with("file:///etc/pki/")
                };
                return Ok(uris.all(is_own));
            }
        }
        Ok(false)
    }

    /// Returns whether a path has the content that its package installs there by a script.
    fn is_copied(&self, text: &str, path: &[u8], file: &File) -> Result<bool, ScanError> {
        let mut copies = COPIES.iter();
        let Some((_, original)) = copies.find(|(copy, _)| *copy == text) else {
            return Ok(false);
        };
        let original = original.as_bytes();
        Ok(self.is_as_packaged(original)
            && file.kind == FileType::File
            && file.mode & 0o022 == 0
            && self.root.read(original, MAX_FILE_BYTES)?
                == Some(self.root.content(path, file, MAX_FILE_BYTES)?))
    }

    /// Returns whether a path is the compiled form of an explained Python module.
    pub(super) fn is_compiled(&self, path: &[u8]) -> bool {
        source_of_compiled(path)
            .is_some_and(|source| self.root.get(&source).is_some() && self.is_accounted(&source))
    }

    /// Reports modified files of packages.
    pub(super) fn modified(&mut self) {
        for modified in &self.packaged.modified {
            let text = String::from_utf8_lossy(&modified.path);
            let content = |state: &ObservedState| {
                let found = state.paths.get(&modified.path)?;
                Some((found.kind, found.target.clone(), found.sum))
            };
            let before = content(&self.declared.base);
            if self.declared.path(&text).is_some()
                || (before.is_some() && before == content(self.now))
            {
                continue;
            }
            let mut finding = modified.finding();
            finding.evidence = with_related(&finding.evidence, self.nearest(&text));
            self.findings.push(finding);
        }
    }

    /// Reports changed records of packages whose version is that of the base: changed checksums hide other changes.
    pub(super) fn database(&mut self) {
        let (now, base) = (self.now, &self.declared.base);
        for (record, sum) in &now.database {
            let DatabaseRecord {
                path,
                package,
                version,
            } = record;
            let before = base.database.get(record);
            let mut versions = now.versions(package);
            let same = if version.is_some() {
                before.is_some()
            } else {
                versions.any(|version| base.versions(package).any(|before| before == version))
            };
            if !same || before == Some(sum) {
                continue;
            }
            let text = String::from_utf8_lossy(path);
            let item = Undeclared {
                check: "modified-package-database",
                severity: Severity::High,
                subject: &text,
                title: format!("modified database record of the package {package}"),
                evidence: "the base has the same version with a different record".to_owned(),
                fix: "find the step that changes it, and build again without it",
            };
            self.report(item, None);
            if let Some(finding) = self.findings.last_mut() {
                finding.package = Some(package.clone());
            }
        }
    }
}
