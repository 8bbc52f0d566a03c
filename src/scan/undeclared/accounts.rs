//! Users and groups that are not in the base and that no package creates.

use super::{Compare, MAX_FILE_BYTES, ScanError, Severity, Undeclared};

pub(super) const FIX: &str = "declare it with `creates = [\"user:NAME\"]` or `group:NAME` in the step that creates it, or let a package create it";
/// Directory of the accounts that packages ask systemd for.
const SYSUSERS: &[u8] = b"/usr/lib/sysusers.d";
const SCRIPTS: &[u8] = b"/var/lib/dpkg/info";
/// Programs that create accounts.
const ACCOUNT_TOOLS: [&str; 6] = [
    "adduser", "useradd", "addgroup", "groupadd", "usermod", "gpasswd",
];

impl Compare<'_> {
    pub(super) fn accounts(&mut self) -> Result<(), ScanError> {
        let (now, base) = (self.now, &self.declared.base);
        // Check, subject, evidence, and the words that a script which creates it has.
        let mut seen: Vec<(&'static str, String, String, Vec<&str>)> = Vec::new();
        for (name, line) in &now.users {
            let evidence = match base.users.get(name) {
                Some(before) if before == line => continue,
                Some(_) => format!("is now {line}"),
                None => line.clone(),
            };
            seen.push(("undeclared-user", name.clone(), evidence, vec![name]));
        }
        for (name, (gid, members)) in &now.groups {
            let before = base.groups.get(name);
            let changed = match before {
                None => Some(format!("gid {gid}")),
                Some((before, _)) if before != gid => Some(format!("gid {before} is now {gid}")),
                Some(_) => None,
            };
            seen.extend(changed.map(|evidence| {
                (
                    "undeclared-group",
                    name.clone(),
                    evidence,
                    vec![name.as_str()],
                )
            }));
            let Some((_, old)) = before else { continue };
            for member in members.difference(old) {
                let id = format!("{name}/{member}");
                let evidence = format!("{member} is a new member of {name}");
                seen.push(("undeclared-group", id, evidence, vec![name, member]));
            }
        }
        seen.retain(|(check, subject, ..)| match *check {
            "undeclared-user" => !self.declared.user(subject),
            _ => !self.declared.group(subject),
        });
        if seen.is_empty() {
            return Ok(());
        }
        let scripts = self.account_scripts()?;
        for (check, subject, evidence, words) in seen {
            let creates = |text: &String| words.iter().all(|word| has_word(text, word));
            if scripts.iter().any(creates) {
                continue;
            }
            let item = Undeclared {
                check,
                severity: Severity::High,
                subject: &subject,
                title: format!("undeclared account {subject}"),
                evidence,
                fix: FIX,
            };
            self.report(item, None);
        }
        Ok(())
    }

    /// Returns the texts that create accounts: scripts of packages whose version is not in the base, and configuration of
    /// systemd-sysusers.
    fn account_scripts(&self) -> Result<Vec<String>, ScanError> {
        let mut texts = Vec::new();
        for (path, file) in self.root.children(SCRIPTS) {
            let name = String::from_utf8_lossy(&path[SCRIPTS.len() + 1..]);
            let Some((package, "postinst" | "preinst")) = name.rsplit_once('.') else {
                continue;
            };
            let package = package.split(':').next().unwrap_or_default();
            if self.is_new(package) && self.packaged.scripts_of(package).is_none() {
                let text = self.root.content(path, file, MAX_FILE_BYTES)?;
                texts.push(String::from_utf8_lossy(&text).into_owned());
            }
        }
        let packages = self.now.packages.iter();
        let trusted = packages.filter_map(|package| self.packaged.scripts_of(&package.name));
        texts.extend(trusted.map(str::to_owned));
        let records = self.packaged.records.iter();
        let records = records.filter(|record| self.is_new(&record.package));
        texts.extend(records.map(|record| record.scripts.clone()));
        texts.retain(|text| ACCOUNT_TOOLS.iter().any(|tool| has_word(text, tool)));
        for (path, file) in self.root.children(SYSUSERS) {
            if self.packaged.owner(path).is_some() {
                let text = self.root.content(path, file, MAX_FILE_BYTES)?;
                texts.push(String::from_utf8_lossy(&text).into_owned());
            }
        }
        Ok(texts)
    }

    /// Returns whether a package is installed in a version that is not in the base.
    pub(super) fn is_new(&self, package: &str) -> bool {
        let before: Vec<_> = self.declared.base.versions(package).collect();
        let mut versions = self.now.versions(package);
        versions.any(|version| !before.contains(&version))
    }
}

/// Returns whether a text contains a word that is not part of a longer one.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}
