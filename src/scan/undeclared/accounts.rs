//! Users and groups that are not in the base and that no package creates.

use super::account_sources::AccountSources;
use super::{Compare, Declared, ObservedState, ScanError, Severity, Undeclared};

pub(super) const FIX: &str = "declare it with `creates = [\"user:NAME\"]` or `group:NAME` in the step that creates it, or let a package create it";

/// Groups whose members have the rights of root, or can get them: by sudo (`admin` on Ubuntu, `wheel` on Red Hat's systems), by
/// files that they may read or write (<https://wiki.debian.org/SystemGroups>), or by containers and machines that they start
/// (documentation of Docker, Incus, LXD and libvirt). `adm` reads logs only.
const ROOT_GROUPS: [&str; 12] = [
    "admin",
    "disk",
    "docker",
    "incus-admin",
    "kmem",
    "libvirt",
    "lxd",
    "root",
    "shadow",
    "staff",
    "sudo",
    "wheel",
];

/// An account that differs from the base.
struct Difference<'n> {
    check: &'static str,
    subject: String,
    evidence: String,
    kind: DifferenceKind<'n>,
}

enum DifferenceKind<'n> {
    NewUser(&'n str),
    NewGroup(&'n str),
    Member {
        group: &'n str,
        user: &'n str,
    },
    /// Another id, shell or home.
    Changed(&'n str),
    /// An id that another account has, too: no package needs that.
    SharedId,
}

impl Compare<'_> {
    pub(super) fn accounts(&mut self) -> Result<(), ScanError> {
        let mut differences = users(self.now, &self.declared.base);
        differences.extend(groups(self.now, self.declared));
        differences.retain(|Difference { check, subject, .. }| match *check {
            "undeclared-user" => !self.declared.user(subject),
            _ => !self.declared.group(subject),
        });
        if differences.is_empty() {
            return Ok(());
        }
        let sources = self.account_sources()?;
        differences.retain(|difference| !is_explained(&sources, &difference.kind));
        for difference in differences {
            let item = Undeclared {
                check: difference.check,
                severity: Severity::High,
                subject: &difference.subject,
                title: format!("undeclared account {}", difference.subject),
                evidence: difference.evidence,
                fix: FIX,
            };
            self.report(item, None);
        }
        Ok(())
    }
}

/// Returns the users that differ, and memberships by their own group.
fn users<'n>(state: &'n ObservedState, base: &ObservedState) -> Vec<Difference<'n>> {
    let (now, before) = (&state.users, &base.users);
    let mut found = Vec::new();
    for (name, line) in now
        .iter()
        .filter(|(name, line)| before.get(*name) != Some(*line))
    {
        let mut fields = line.split(':');
        let (uid, gid) = (fields.next(), fields.next());
        let shares_uid =
            |(other, line): (&String, &String)| other != name && line.split(':').next() == uid;
        let (evidence, kind) = if now.iter().any(shares_uid) {
            (line.clone(), DifferenceKind::SharedId)
        } else if before.contains_key(name) {
            (format!("is now {line}"), DifferenceKind::Changed(name))
        } else {
            (line.clone(), DifferenceKind::NewUser(name))
        };
        found.push(Difference {
            check: "undeclared-user",
            subject: name.clone(),
            evidence,
            kind,
        });
        let own = state.groups.iter();
        let own = own.filter(|(group, (id, _))| {
            Some(id.as_str()) == gid && ROOT_GROUPS.contains(&group.as_str()) && *group != name
        });
        found.extend(own.map(|(group, _)| membership(group, name)));
    }
    found
}

/// Returns the groups that differ, and their new members.
fn groups<'n>(state: &'n ObservedState, declared: &Declared) -> Vec<Difference<'n>> {
    let now = &state.groups;
    let mut found = Vec::new();
    for (name, (gid, members)) in now {
        let before = declared.base.groups.get(name);
        let shares_gid = |(other, (id, _)): (&String, &(String, _))| other != name && id == gid;
        let (evidence, kind) = match before {
            Some((before, _)) if before == gid => (None, DifferenceKind::Changed(name)),
            _ if now.iter().any(shares_gid) => (
                Some(format!("gid {gid}, as another group")),
                DifferenceKind::SharedId,
            ),
            Some((before, _)) => {
                let evidence = format!("gid {before} is now {gid}");
                (Some(evidence), DifferenceKind::Changed(name))
            }
            None => (Some(format!("gid {gid}")), DifferenceKind::NewGroup(name)),
        };
        found.extend(evidence.map(|evidence| Difference {
            check: "undeclared-group",
            subject: name.clone(),
            evidence,
            kind,
        }));
        let is_root = ROOT_GROUPS.contains(&name.as_str());
        // A step declares the members of an ordinary group with the group.
        if before.is_none() && !is_root && declared.group(name) {
            continue;
        }
        let old = before.map(|(_, old)| old);
        let new = members.iter();
        let new = new.filter(|member| old.is_none_or(|old| !old.contains(*member)));
        found.extend(new.map(|member| membership(name, member)));
    }
    found
}

fn membership<'n>(group: &'n str, user: &'n str) -> Difference<'n> {
    Difference {
        check: "undeclared-group",
        subject: format!("{group}/{user}"),
        evidence: format!("{user} is a new member of {group}"),
        kind: DifferenceKind::Member { group, user },
    }
}

/// Returns whether packages make a difference.
fn is_explained(sources: &AccountSources, kind: &DifferenceKind<'_>) -> bool {
    match kind {
        DifferenceKind::NewUser(name) => sources.create_user(name),
        DifferenceKind::NewGroup(name) => sources.create_group(name),
        DifferenceKind::Member { group, user } if ROOT_GROUPS.contains(group) => {
            sources.add_by_one_command(group, user)
        }
        DifferenceKind::Member { group, user } => sources.add(group, user),
        DifferenceKind::Changed(name) => sources.change(name),
        DifferenceKind::SharedId => false,
    }
}
