//! Files, units, sources of packages, changed files of packages, and programs with more rights than their caller.

use std::collections::HashSet;

use super::observed::{Kept, Privilege, subject};
use super::watched_paths::Place;
use super::{Compare, Found, LARGEST, ScanError, Severity};
use crate::disk::tree::{Content, File};

const FILES: &str = "declare it: `[[files]]`, or `creates` in the step that makes it";
/// Where units are enabled, of the system and of its users, and where deb-systemd-helper keeps what it has enabled there for
/// packages, under the same names.
const ENABLED: [(&str, &str); 2] = [
    (
        "/etc/systemd/system",
        "/var/lib/systemd/deb-systemd-helper-enabled",
    ),
    (
        "/etc/systemd/user",
        "/var/lib/systemd/deb-systemd-user-helper-enabled",
    ),
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
                || self.is_made(place, path, file)?
            {
                continue;
            }
            let text = String::from_utf8_lossy(path);
            let changed = self.declared.base.paths.contains_key(path);
            let evidence = match (&file.content, changed) {
                (_, true) => "it is not what the base has".to_owned(),
                (Content::Link(target), _) => {
                    format!("leads to {}", String::from_utf8_lossy(target))
                }
                _ => format!("{} bytes, mode {:04o}", file.content.size(), file.mode),
            };
            let found = Found {
                check: place.check,
                severity: Severity::High,
                subject: &text,
                title: format!("nobody has declared {}", place.what),
                evidence,
                mend: FILES,
            };
            let nearest = self.nearest(&text);
            self.report(found, nearest);
        }
        Ok(())
    }

    /// Whether the template, a package's scripts or a declared file have made it.
    fn is_made(&self, place: &Place, path: &[u8], file: &File) -> Result<bool, ScanError> {
        let text = String::from_utf8_lossy(path);
        if self.declared.path(&text).is_some() {
            return Ok(true);
        }
        if let Content::Link(target) = &file.content
            && (self.is_alternative(&text, target) || self.is_enabled(path, &text))
        {
            return Ok(true);
        }
        if place.check == "undeclared-repository" {
            return self.is_repository(path, &text);
        }
        Ok(self.is_compiled(&text))
    }

    /// A link to `/etc/alternatives` that update-alternatives has in its books.
    fn is_alternative(&self, path: &str, target: &[u8]) -> bool {
        let chosen = target.starts_with(b"/etc/alternatives/") && self.alternatives.contains(path);
        let real = self.root.resolve(target).filter(|_| chosen);
        real.is_some_and(|real| self.is_accounted(&real))
    }

    /// The links that update-alternatives has in its books: dpkg's, and that of systems with RPM.
    pub(super) fn alternatives(&self) -> Result<HashSet<String>, ScanError> {
        let mut links = HashSet::new();
        let books = [&b"/var/lib/dpkg/alternatives"[..], b"/var/lib/alternatives"];
        for (path, book) in books.iter().flat_map(|books| self.root.children(books)) {
            let text = self.root.content(path, book, LARGEST)?;
            let text = String::from_utf8_lossy(&text);
            links.extend(
                text.lines()
                    .filter(|line| line.starts_with('/'))
                    .map(str::to_owned),
            );
        }
        Ok(links)
    }

    /// A path that a package, the base or the template has.
    fn is_accounted(&self, path: &[u8]) -> bool {
        self.packaged.owner(path).is_some()
            || self.declared.base.paths.contains_key(path)
            || self.declared.path(&String::from_utf8_lossy(path)).is_some()
    }

    /// A unit of a package that the package itself has enabled.
    fn is_enabled(&self, path: &[u8], text: &str) -> bool {
        let state = ENABLED.iter().find_map(|(units, enabled)| {
            let rest = text.strip_prefix(units)?;
            Some(format!("{enabled}{rest}"))
        });
        let unit = self.root.resolve(path);
        let Some(unit) = unit.filter(|unit| self.packaged.owner(unit).is_some()) else {
            return false;
        };
        state.is_some_and(|state| self.root.get(state.as_bytes()).is_some())
            || self.presets.enable(text, &String::from_utf8_lossy(&unit))
    }

    /// The files that a declared source of packages has, with nothing in them but its own URI.
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
                let content = self.root.read(path, LARGEST)?.unwrap_or_default();
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

    /// What Python has made of a module that is accounted for.
    fn is_compiled(&self, path: &str) -> bool {
        let Some((directory, name)) = path.split_once("/__pycache__/") else {
            return false;
        };
        let module = name.split('.').next().unwrap_or_default();
        let source = format!("{directory}/{module}.py");
        self.root.get(source.as_bytes()).is_some() && self.is_accounted(source.as_bytes())
    }

    /// Packaged files that somebody has changed.
    pub(super) fn modified(&mut self) {
        for modified in &self.packaged.modified {
            let text = String::from_utf8_lossy(&modified.path);
            let before = self.declared.base.paths.get(&modified.path);
            if self.declared.path(&text).is_some()
                || before.is_some_and(|before| before.sum == Some(modified.sum))
            {
                continue;
            }
            let mut finding = modified.finding();
            let cause = self
                .nearest(&text)
                .map_or_else(|| "no parent".to_owned(), |it| format!("nearest: {it}"));
            finding.evidence = format!("{}; {cause}", finding.evidence);
            self.findings.push(finding);
        }
    }

    /// What is kept of packages that the base has in the same version: whoever changes checksums hides other changes.
    pub(super) fn database(&mut self) {
        let (now, base) = (self.now, &self.declared.base);
        for (kept, sum) in &now.database {
            let Kept {
                path,
                package,
                version,
            } = kept;
            let before = base.database.get(kept);
            let mut versions = now.versions(package);
            let same = if version.is_some() {
                before.is_some()
            } else {
                versions.any(|version| base.versions(package).any(|it| it == version))
            };
            if !same || before == Some(sum) {
                continue;
            }
            let text = String::from_utf8_lossy(path);
            let found = Found {
                check: "modified-package-database",
                severity: Severity::High,
                subject: &text,
                title: format!("what is kept of the package {package} was changed"),
                evidence: "the base has the same version, with something else here".to_owned(),
                mend: "find out what changed it, and build again without that",
            };
            self.report(found, None);
            if let Some(finding) = self.findings.last_mut() {
                finding.package = Some(package.clone());
            }
        }
    }

    /// Files with rights that neither the base nor a new package has given them.
    pub(super) fn privileged(&mut self) {
        let now = self.now;
        for (path, privilege) in &now.privileged {
            let text = String::from_utf8_lossy(path);
            if self.declared.base.privileged.get(path) == Some(privilege)
                || self.declared.path(&text).is_some()
                || self.is_of_new_package(path)
            {
                continue;
            }
            let Privilege {
                mode,
                owner: (uid, gid),
                capabilities,
            } = privilege;
            let (check, what) = match capabilities {
                Some(_) => ("undeclared-capability", "capabilities"),
                None => ("undeclared-setuid", "another owner's rights"),
            };
            let found = Found {
                check,
                severity: Severity::High,
                subject: &text,
                title: format!("nobody has declared a program with {what}"),
                evidence: format!("mode {mode:04o}, uid {uid}, gid {gid}"),
                mend: FILES,
            };
            let owner = self.packaged.owner(path);
            let nearest =
                owner.map(|package| format!("{package} has the file, without these rights"));
            let nearest = nearest.or_else(|| self.nearest(&text));
            self.report(found, nearest);
        }
    }

    /// dpkg does not say which rights a package's files have; what the base had of the same version does.
    fn is_of_new_package(&self, path: &[u8]) -> bool {
        let owner = self.packaged.owner(path);
        owner.is_some_and(|package| self.is_new(package))
    }
}
