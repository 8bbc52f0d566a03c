//! Users and groups that neither the base has nor a package's script makes.

use super::{Compare, Found, LARGEST, ScanError, Severity};

const MEND: &str = "declare it: `creates = [\"user:NAME\"]` or `group:NAME` in the step that makes it; or make it with a package";
/// Where packages say which accounts they need.
const SYSUSERS: &[u8] = b"/usr/lib/sysusers.d";
const SCRIPTS: &[u8] = b"/var/lib/dpkg/info";
/// Programs that a script makes accounts with.
const MAKERS: [&str; 6] = [
    "adduser", "useradd", "addgroup", "groupadd", "usermod", "gpasswd",
];

impl Compare<'_> {
    pub(super) fn accounts(&mut self) -> Result<(), ScanError> {
        let (now, base) = (self.now, &self.declared.base);
        let mut seen: Vec<(&'static str, String, String, Vec<&str>)> = Vec::new();
        for (name, line) in &now.users {
            match base.users.get(name) {
                Some(before) if before == line => {}
                Some(_) => seen.push((
                    "undeclared-user",
                    name.clone(),
                    format!("is now {line}"),
                    vec![name],
                )),
                None => seen.push(("undeclared-user", name.clone(), line.clone(), vec![name])),
            }
        }
        for (name, (gid, members)) in &now.groups {
            let Some((before, old)) = base.groups.get(name) else {
                seen.push((
                    "undeclared-group",
                    name.clone(),
                    format!("gid {gid}"),
                    vec![name],
                ));
                continue;
            };
            if before != gid {
                seen.push((
                    "undeclared-group",
                    name.clone(),
                    format!("gid {before} is now {gid}"),
                    vec![name],
                ));
            }
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
        let makers = self.makers()?;
        for (check, subject, evidence, words) in seen {
            if makers
                .iter()
                .any(|text| words.iter().all(|word| has_word(text, word)))
            {
                continue;
            }
            let found = Found {
                check,
                severity: Severity::High,
                subject: &subject,
                title: format!("nobody has declared the account {subject}"),
                evidence,
                mend: MEND,
            };
            self.report(found, None);
        }
        Ok(())
    }

    /// The texts that make accounts: scripts of packages that the base had not in this version, and what packages tell
    /// systemd-sysusers.
    fn makers(&self) -> Result<Vec<String>, ScanError> {
        let mut texts = Vec::new();
        for (path, file) in self.root.children(SCRIPTS) {
            let name = String::from_utf8_lossy(&path[SCRIPTS.len() + 1..]);
            let Some((package, "postinst" | "preinst")) = name.rsplit_once('.') else {
                continue;
            };
            let package = package.split(':').next().unwrap_or_default();
            if self.is_new(package) {
                let text = self.root.content(path, file, LARGEST)?;
                texts.push(String::from_utf8_lossy(&text).into_owned());
            }
        }
        let records = self.packaged.records.iter();
        let records = records.filter(|record| self.is_new(&record.package));
        texts.extend(records.map(|record| record.scripts.clone()));
        texts.retain(|text| MAKERS.iter().any(|maker| has_word(text, maker)));
        for (path, file) in self.root.children(SYSUSERS) {
            if self.packaged.owner(path).is_some() {
                let text = self.root.content(path, file, LARGEST)?;
                texts.push(String::from_utf8_lossy(&text).into_owned());
            }
        }
        Ok(texts)
    }

    /// Whether a package is there in a version that the base has not.
    pub(super) fn is_new(&self, package: &str) -> bool {
        let before: Vec<_> = self.declared.base.versions(package).collect();
        let mut versions = self.now.versions(package);
        versions.any(|version| !before.contains(&version))
    }
}

/// Whether a text has a word, not as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}
