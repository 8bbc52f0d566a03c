//! Lines of account files that steps changed, password hashes and subordinate ids included.

use std::collections::{BTreeMap, BTreeSet};

use super::super::accounts::FIX;
use super::super::{Compare, MAX_FILE_BYTES, ScanError, Severity, Undeclared};

/// Files with a line for each account: users, then groups.
pub(crate) const ACCOUNT_FILES: &[&str] = &[
    "/etc/passwd",
    "/etc/shadow",
    "/etc/subuid",
    "/etc/subgid",
    "/etc/group",
    "/etc/gshadow",
];
/// Files with the members of groups in the last field.
const OF_GROUPS: [&str; 2] = ["/etc/group", "/etc/gshadow"];

impl Compare<'_> {
    /// Reports the accounts whose lines differ from those before the steps. What was there only for the build, as its user, may
    /// go.
    pub(super) fn account_lines(
        &mut self,
        before: &BTreeMap<&'static str, Vec<u8>>,
    ) -> Result<(), ScanError> {
        for (path, before) in before {
            let now = self.root.read(path.as_bytes(), MAX_FILE_BYTES)?;
            let [before, now] = [before.as_slice(), &now.unwrap_or_default()]
                .map(|text| String::from_utf8_lossy(text).into_owned());
            for change in changes(path, &before, &now) {
                self.report_account(path, &change);
            }
        }
        Ok(())
    }

    fn report_account(&mut self, path: &str, change: &AccountChange) {
        let subject = &change.subject;
        let (name, member) = subject.split_once('/').unwrap_or((subject, ""));
        let base = &self.declared.base;
        let is_group = OF_GROUPS.contains(&path);
        let (check, is_declared, was_in_base) = if is_group {
            let group = base.groups.get(name);
            let was_in_base =
                group.is_some_and(|(_, members)| member.is_empty() || members.contains(member));
            (
                "undeclared-group",
                self.declared.group(subject),
                was_in_base,
            )
        } else {
            let was_in_base = base.users.contains_key(name);
            ("undeclared-user", self.declared.user(subject), was_in_base)
        };
        let id = format!("{check}:{subject}");
        if is_declared
            || (change.what == What::Removed && !was_in_base)
            || self.findings.iter().any(|finding| finding.id == id)
        {
            return;
        }
        let what = match change.what {
            What::Added => "added to",
            What::Removed => "removed from",
            What::Changed => "changed in",
        };
        let item = Undeclared {
            check,
            severity: Severity::High,
            subject,
            title: format!("undeclared account {subject}"),
            evidence: format!("{what} {path} after the packages were installed"),
            fix: FIX,
        };
        self.report(item, None);
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct AccountChange {
    /// Name of an account, or `group/member`.
    subject: String,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Added,
    Removed,
    Changed,
}

/// Returns the accounts whose lines differ, and the members that groups gained or lost.
fn changes(path: &str, before: &str, now: &str) -> Vec<AccountChange> {
    let with_members = OF_GROUPS.contains(&path);
    let [before, now] = [before, now].map(|text| accounts(text, with_members));
    let names: BTreeSet<&str> = before.keys().chain(now.keys()).copied().collect();
    let mut changes = Vec::new();
    for name in names {
        let nothing = (Vec::new(), BTreeSet::new());
        let what = match (before.get(name), now.get(name)) {
            (None, _) => What::Added,
            (_, None) => What::Removed,
            _ => What::Changed,
        };
        let (old, old_members) = before.get(name).unwrap_or(&nothing);
        let (new, new_members) = now.get(name).unwrap_or(&nothing);
        if old != new {
            changes.push(AccountChange {
                subject: name.to_owned(),
                what,
            });
        }
        let members = old_members.symmetric_difference(new_members);
        changes.extend(members.map(|member| AccountChange {
            subject: format!("{name}/{member}"),
            what: if new_members.contains(member) {
                What::Added
            } else {
                What::Removed
            },
        }));
    }
    changes
}

/// Fields of all lines of an account, and members of a group.
type Account<'t> = (Vec<&'t str>, BTreeSet<&'t str>);

/// Returns the accounts of a file. Lines of one name, as in `/etc/subuid`, are taken together.
fn accounts(text: &str, with_members: bool) -> BTreeMap<&str, Account<'_>> {
    let mut accounts: BTreeMap<&str, Account<'_>> = BTreeMap::new();
    for line in text.lines() {
        let name = line.split(':').next().unwrap_or_default();
        let (fields, members) = accounts.entry(name).or_default();
        match line.rsplit_once(':') {
            Some((rest, last)) if with_members => {
                fields.push(rest);
                members.extend(last.split(',').filter(|member| !member.is_empty()));
            }
            _ => fields.push(line),
        }
    }
    accounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_counts_and_members_one_by_one() {
        for (path, before, now, expected) in [
            ("/etc/passwd", "a:x:1\n", "a:x:1\n", ""),
            ("/etc/passwd", "a:x:1\n", "a:x:1\nb:x:0\n", "b Added"),
            (
                "/etc/passwd",
                "a:x:1\n",
                "a:x:1\na:x:0:second line\n",
                "a Changed",
            ),
            ("/etc/passwd", "a:x:1\n", "a::1\n", "a Changed"),
            ("/etc/shadow", "a:!:1\n", "a:$y$:1\n", "a Changed"),
            ("/etc/subuid", "a:1:2\n", "a:1:2\na:0:65536\n", "a Changed"),
            ("/etc/group", "g:x:1:a,b\n", "g:x:1:b,a\n", ""),
            (
                "/etc/group",
                "g:x:1:a\n",
                "g:x:1:b\n",
                "g/a Removed g/b Added",
            ),
            ("/etc/group", "", "g:x:1:a\n", "g Added g/a Added"),
            ("/etc/gshadow", "g:!::\n", "g:!:a:\n", "g Changed"),
            ("/etc/group", "g:x:1:a\n", "", "g Removed g/a Removed"),
        ] {
            let found: Vec<String> = changes(path, before, now)
                .iter()
                .map(|change| format!("{} {:?}", change.subject, change.what))
                .collect();
            assert_eq!(found.join(" "), expected, "{path} {now:?}");
        }
    }
}
