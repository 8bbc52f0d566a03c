//! Every check: how bad, what it means, how to mend it.

use super::Severity;
use super::Severity::{Critical, High, Low, Medium, Negligible};

/// What is true of every finding of a check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its id, the same for ever.
    pub id: &'static str,
    /// The rule of the clean-up that it proves, where it is a left-over.
    pub rule: Option<&'static str>,
    /// How bad it usually is.
    pub severity: Severity,
    /// What it is.
    pub title: &'static str,
    /// How to mend it.
    pub mend: &'static str,
}

/// What mends every left-over.
const SEAL: &str =
    "let the build finish the image: `[finish] rebuild = true`, and no `[[finish.keep]]` for it";

/// All checks: first those of the clean-up's rules, in their order.
pub const CHECKS: &[Check] = &[
    left(
        "machine-id",
        "machine-id",
        High,
        "the machine id of the build",
    ),
    left(
        "dbus-machine-id",
        "dbus-machine-id",
        High,
        "a copy of the build's machine id",
    ),
    left(
        "ssh-host-keys",
        "ssh-host-key",
        High,
        "an SSH host key that every machine would share",
    ),
    left(
        "random-seed",
        "random-seed",
        High,
        "a random seed that every machine would share",
    ),
    left(
        "credential-secret",
        "credential-secret",
        High,
        "the key of one machine's credentials",
    ),
    left(
        "cloud-init",
        "cloud-init-state",
        Medium,
        "what cloud-init made in the build",
    ),
    left(
        "leases",
        "network-lease",
        Medium,
        "addresses of the build's network",
    ),
    left("old-logs", "old-log", Low, "a log of the build"),
    left("logs", "log", Low, "a log file with what the build wrote"),
    left(
        "apt",
        "apt-cache",
        Low,
        "lists or packages that apt has kept",
    ),
    left(
        "dnf",
        "dnf-cache",
        Low,
        "lists or packages that dnf has kept",
    ),
    left("caches", "cache", Negligible, "a cache that is made again"),
    left(
        "backups",
        "state-backup",
        Medium,
        "the state before the last change",
    ),
    left(
        "temporary",
        "temporary-file",
        Medium,
        "a temporary file of the build",
    ),
    left("run", "run-file", Low, "what belongs in memory"),
    left(
        "process-ids",
        "process-id",
        Negligible,
        "the number of a process that has ended",
    ),
    left(
        "sockets",
        "socket",
        Negligible,
        "a socket that nobody listens on",
    ),
    left(
        "systemd-state",
        "systemd-state",
        Low,
        "when the build's machine did something",
    ),
    left(
        "update-stamp",
        "update-stamp",
        Negligible,
        "a note of the age of /usr that is not its age",
    ),
    left("histories", "history", High, "what somebody typed"),
    left(
        "snake-oil",
        "snake-oil-key",
        High,
        "a private key that every machine would share",
    ),
    left(
        "snake-oil-links",
        "snake-oil-link",
        Negligible,
        "a link to a certificate that is not to be there",
    ),
    left(
        "shadow-days",
        "shadow-day",
        Negligible,
        "the day of the build in /etc/shadow",
    ),
    own(
        "authorized-keys",
        High,
        "a key that logs in to every machine",
        "remove the file in a step of the template; cloud-init puts the keys of each machine there",
    ),
    own(
        "private-key",
        High,
        "a private key that every machine would share",
        "remove it, and give each machine its own at its first boot",
    ),
    own(
        "known-hosts",
        Low,
        "machines that the build has talked to",
        "remove the file at the end of the step that made it",
    ),
    own(
        "rhosts-file",
        High,
        "logins are believed by the name of a host",
        "remove the file",
    ),
    own(
        "sshd-root-login",
        High,
        "root may log in by password",
        "set PermitRootLogin to prohibit-password or no",
    ),
    own(
        "sshd-passwords",
        Medium,
        "sshd lets passwords in",
        "set PasswordAuthentication and KbdInteractiveAuthentication to no",
    ),
    own(
        "sshd-empty-passwords",
        Critical,
        "sshd lets empty passwords in",
        "set PermitEmptyPasswords to no",
    ),
    own(
        "sshd-rhosts",
        High,
        "sshd believes other machines",
        "set HostbasedAuthentication to no and IgnoreRhosts to yes",
    ),
    own(
        "sshd-user-environment",
        Medium,
        "users may set what their session loads",
        "set PermitUserEnvironment to no",
    ),
    own(
        "sshd-strict-modes",
        Medium,
        "sshd takes keys that others may write",
        "set StrictModes to yes",
    ),
    own(
        "sshd-weak-crypto",
        Medium,
        "sshd offers algorithms that are broken",
        "take the algorithm out of the list; OpenSSH's own default has none of them",
    ),
    own(
        "no-host-key-generator",
        High,
        "no machine would have SSH host keys",
        "add a unit that runs `ssh-keygen -A` before sshd, or cloud-init",
    ),
    own(
        "empty-password",
        Critical,
        "an account without a password",
        "lock it with `passwd --lock`",
    ),
    own(
        "usable-password",
        High,
        "a password that every machine would share",
        "lock it with `passwd --lock`, and let keys log in",
    ),
    own(
        "weak-password-hash",
        High,
        "a password whose hash can be searched",
        "lock the account, or set the password again with yescrypt",
    ),
    own(
        "locked-password-hash",
        Medium,
        "the hash of a locked password",
        "put `!` in its place: `usermod --password '!'`",
    ),
    own(
        "group-password",
        Medium,
        "whoever knows a group's password becomes its member",
        "remove it: `gpasswd --remove-password`",
    ),
    own(
        "password-in-passwd",
        High,
        "a password's hash where everybody can read it",
        "run `pwconv`",
    ),
    own(
        "second-root",
        Critical,
        "a second name for root",
        "remove the account, or give it another uid",
    ),
    own(
        "shared-uid",
        Medium,
        "several names for one uid",
        "give each account its own uid",
    ),
    own(
        "nis-entry",
        High,
        "accounts come from the network",
        "remove the line",
    ),
    own(
        "shadow-readable",
        High,
        "everybody can read the hashes of passwords",
        "set mode 0640 and the group shadow",
    ),
    own(
        "account-backup",
        Medium,
        "a copy of the accounts",
        "remove the file",
    ),
    own(
        "sudo-nopasswd",
        High,
        "root without a password",
        "ask for the password, or name the one command that needs none, and accept the finding",
    ),
    own(
        "sudoers-writable",
        High,
        "others may say who becomes root",
        "set mode 0440 and the owner root",
    ),
    own(
        "build-user",
        High,
        "the account of the build is still there",
        "remove it with `userdel --remove`; cloud-init makes the user of each machine",
    ),
    own(
        "untrusted-source",
        High,
        "packages come from a source that nobody signs",
        "give the source a key: `signed-by`",
    ),
    own(
        "unauthenticated-packages",
        High,
        "packages are taken without a valid signature",
        "remove the setting",
    ),
    own(
        "source-credentials",
        High,
        "a password for a package source",
        "remove it; the template's `secrets` are there for the build only",
    ),
    own(
        "build-proxy",
        Medium,
        "a proxy of the build's network",
        "remove the setting; the build has its own",
    ),
    own(
        "package-index",
        Low,
        "packages of a language come from an index of the build's network",
        "remove the setting; the step that needs it can take it from its environment",
    ),
    own(
        "added-authority",
        Medium,
        "a certificate authority that everybody believes",
        "remove it, or declare it with `[[files]]` and accept the finding",
    ),
    own(
        "boot-secret",
        High,
        "a secret on the command line of the kernel",
        "everybody on the machine can read it there; move it to a file",
    ),
    own(
        "boot-root-shell",
        High,
        "the machine boots into a root shell",
        "remove the parameter",
    ),
    own(
        "boot-protection-off",
        Medium,
        "a protection of the kernel is switched off",
        "remove the parameter, or accept the finding",
    ),
    own(
        "device-name",
        Medium,
        "a disk by a name that depends on the machine",
        "name it by UUID or label",
    ),
    own(
        "several-kernels",
        Low,
        "more kernels than one",
        "remove those that do not boot",
    ),
    own(
        "mount-password",
        High,
        "a password in /etc/fstab",
        "put it into a `credentials=` file that each machine gets",
    ),
    own(
        "legacy-service",
        High,
        "a server that belongs to another century",
        "remove its package",
    ),
    own(
        "debug-shell",
        High,
        "a root shell on a console",
        "run `systemctl disable debug-shell`",
    ),
    own(
        "autologin",
        High,
        "somebody is logged in without a password",
        "remove the unit's part",
    ),
    own(
        "world-writable-file",
        High,
        "everybody may write the file",
        "take the right away: `chmod o-w`",
    ),
    own(
        "world-writable-directory",
        High,
        "everybody may replace what others have in the directory",
        "set the sticky bit: `chmod +t`",
    ),
    own(
        "path-writable",
        High,
        "somebody besides root may put programs where root runs them",
        "`chown root:root` and `chmod go-w`",
    ),
    own(
        "orphan-owner",
        Medium,
        "a file of an owner whom nobody knows",
        "give it to somebody who exists; the next account would get it",
    ),
    own("device-node", High, "a device outside /dev", "remove it"),
    own(
        "setuid-writable",
        Critical,
        "a program that becomes root, and that others may write",
        "`chmod go-w`",
    ),
    own(
        "setuid-unpackaged",
        High,
        "a program that becomes somebody else, and no package has it",
        "`chmod u-s,g-s`, or remove it",
    ),
    own(
        "cloud-user-data",
        High,
        "the data that a machine of the build was started with",
        "remove it; each machine gets its own",
    ),
    own(
        "installer-answers",
        Medium,
        "what an installer was told",
        "remove the file",
    ),
    own(
        "shell-history",
        High,
        "what somebody typed",
        "remove the file",
    ),
    own(
        "user-crontab",
        Medium,
        "a job that no package has",
        "remove it, or declare it with `[[files]]` in /etc/cron.d",
    ),
    own("mail", Low, "mail of the build", "remove it"),
    own("crash-dump", High, "the memory of a program", "remove it"),
    own(
        "version-control",
        Low,
        "the history of a source tree",
        "remove the directory",
    ),
    own(
        "bound-to-network-card",
        Medium,
        "a configuration for one network card",
        "match by name or type instead of address",
    ),
    own(
        "ld-preload",
        High,
        "a library that is loaded into every program",
        "remove the file",
    ),
    own(
        "build-resolver",
        Medium,
        "the resolver of the build's network",
        "make it a link to systemd-resolved's, or leave it to DHCP",
    ),
];

const fn left(
    rule: &'static str,
    id: &'static str,
    severity: Severity,
    title: &'static str,
) -> Check {
    Check {
        id,
        rule: Some(rule),
        severity,
        title,
        mend: SEAL,
    }
}

const fn own(
    id: &'static str,
    severity: Severity,
    title: &'static str,
    mend: &'static str,
) -> Check {
    Check {
        id,
        rule: None,
        severity,
        title,
        mend,
    }
}

/// A check by its id.
pub(super) fn of(id: &str) -> &'static Check {
    let check = CHECKS.iter().find(|check| check.id == id);
    check.expect("every id in the code is in the table, which a test sees")
}

/// The check of a rule of the clean-up.
pub(super) fn of_rule(rule: &str) -> &'static Check {
    let check = CHECKS.iter().find(|check| check.rule == Some(rule));
    check.expect("every rule has a check, which a test sees")
}
