//! Programs that give their caller more rights.

use super::account_sources::has_word;
use super::declared::Right;
use super::observed::Privilege;
use super::{Compare, Severity, Undeclared};
use crate::scan::integrity::SETUID_SETGID;

/// Programs in the scripts of packages that give a program rights.
const MODE_TOOLS: [&str; 2] = ["chmod", "dpkg-statoverride"];
const CAPABILITY_TOOLS: [&str; 1] = ["setcap"];
const DEVICE_TOOLS: [&str; 1] = ["mknod"];

impl Compare<'_> {
    /// Reports files with rights that come neither from the base nor from a new package.
    pub(super) fn privileged(&mut self) {
        let now = self.now;
        for (path, privilege) in &now.privileged {
            let text = String::from_utf8_lossy(path);
            let mut rights = privilege.rights();
            let Some(right) = rights.find(|right| !self.declared.allows(&text, *right)) else {
                continue;
            };
            if self.declared.base.privileged.get(path) == Some(privilege)
                || self.is_explained_by_package(path, privilege)
            {
                continue;
            }
            let owner = self.packaged.owner(path);
            let owner = owner.map(|package| format!("{package} has the file without these rights"));
            let declared = self.declared.path(&text).map(|declared| {
                let key = right.key();
                format!("{} declares {} without `{key}`", declared.by, declared.path)
            });
            let related = owner.or(declared).or_else(|| self.nearest(&text));
            self.report(undeclared(&text, right, privilege), related);
        }
    }

    /// Returns whether a package gives a program its rights: by the mode in its file, or by a script. A new package that is known
    /// only from the image explains any: dpkg does not record them.
    fn is_explained_by_package(&self, path: &[u8], privilege: &Privilege) -> bool {
        let Some(package) = self.packaged.owner(path) else {
            return false;
        };
        let Some(script) = self.packaged.scripts_of(package) else {
            return self.is_new(package);
        };
        let tools = match (privilege.device, &privilege.capabilities) {
            (Some(_), _) => &DEVICE_TOOLS[..],
            (None, Some(_)) => &CAPABILITY_TOOLS,
            (None, None) => &MODE_TOOLS,
        };
        let mut given = self.packaged.rights(path).iter();
        let is_given = given.any(|(mode, owner)| {
            mode & SETUID_SETGID == privilege.mode & SETUID_SETGID && *owner == privilege.owner
        });
        (is_given && privilege.capabilities.is_none() && privilege.device.is_none())
            || (tools.iter().any(|tool| has_word(script, tool))
                && names_path(script, &String::from_utf8_lossy(path)))
    }
}

fn undeclared<'a>(path: &'a str, right: Right, privilege: &Privilege) -> Undeclared<'a> {
    let (check, what, fix) = match right {
        Right::Setuid => (
            "undeclared-setuid",
            "program with setuid or setgid",
            "declare it with its `mode` in `[[files]]`, or with `creates = [{ path = \"...\", setuid = true }]` in the step that creates it",
        ),
        Right::Capabilities => (
            "undeclared-capability",
            "program with capabilities",
            "declare it with `creates = [{ path = \"...\", capabilities = true }]` in the step that creates it",
        ),
        Right::Device => (
            "undeclared-device",
            "device node",
            "remove it, or declare it with `creates = [{ path = \"...\", device = true }]` in the step that creates it",
        ),
    };
    let Privilege {
        mode,
        owner: (uid, gid),
        ..
    } = privilege;
    let device = privilege.device;
    let numbers = device.map(|(_, major, minor)| format!("device {major}:{minor}, "));
    let numbers = numbers.unwrap_or_default();
    Undeclared {
        check,
        severity: Severity::High,
        subject: path,
        title: format!("undeclared {what}"),
        evidence: format!("{numbers}mode {mode:04o}, uid {uid}, gid {gid}"),
        fix,
    }
}

/// Returns whether a script names a path, or composes it from its directory and its name in a loop.
fn names_path(script: &str, path: &str) -> bool {
    // Packages from before the merger of `/bin` and `/usr/bin` name the former.
    let before = path.strip_prefix("/usr").unwrap_or(path);
    let (directory, name) = path.rsplit_once('/').unwrap_or_default();
    has_word(script, path)
        || has_word(script, before)
        || (script.contains(&format!("{directory}/$")) && has_word(script, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_name_paths_as_those_of_debian_do() {
        for (script, path, expected) in [
            (
                "setcap cap_net_raw+ep /usr/bin/fping;",
                "/usr/bin/fping",
                true,
            ),
            (
                "PROGRAM=$(dpkg-divert --truename /bin/ping)",
                "/usr/bin/ping",
                true,
            ),
            (
                "for x in man mandb; do chmod $mode \"/usr/bin/$x\"; done",
                "/usr/bin/mandb",
                true,
            ),
            (
                "for x in man mandb; do chmod $mode \"/usr/bin/$x\"; done",
                "/usr/sbin/mandb",
                false,
            ),
            ("chmod 2755 /usr/bin/ssh-agent", "/usr/bin/ssh", false),
            ("chmod 2755 /usr/bin/ssh-agent", "/usr/bin/agent", false),
            ("adduser web; chmod 755 /srv", "/usr/bin/web", false),
        ] {
            assert_eq!(names_path(script, path), expected, "{script} {path}");
        }
    }
}
