//! The table of checks: severity, meaning and remedy.

use super::Severity;
use super::Severity::{Critical, High, Low, Medium, Negligible};

/// The properties that all findings of a check share.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Stable id that policies refer to.
    pub id: &'static str,
    /// The clean-up rule that it verifies, if it is about a leftover.
    pub rule: Option<&'static str>,
    /// Severity, unless the check decides otherwise.
    pub severity: Severity,
    /// Description of the problem.
    pub title: &'static str,
    /// Instructions to fix it.
    pub mend: &'static str,
}

/// The remedy for every leftover.
const SEAL: &str = "let the build finish the image: set `[finish] rebuild = true`, and remove its `[[finish.keep]]`";

/// All checks: first those of the clean-up rules, in the same order.
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
        "the key that encrypts one machine's credentials",
    ),
    left(
        "cloud-init",
        "cloud-init-state",
        Medium,
        "state that cloud-init left in the build",
    ),
    left(
        "leases",
        "network-lease",
        Medium,
        "DHCP leases of the build's network",
    ),
    left("old-logs", "old-log", Low, "a log of the build"),
    left("logs", "log", Low, "a log file with entries of the build"),
    left(
        "apt",
        "apt-cache",
        Low,
        "package lists or packages that apt cached",
    ),
    left(
        "dnf",
        "dnf-cache",
        Low,
        "package lists or packages that dnf cached",
    ),
    left("caches", "cache", Negligible, "a cache that can be rebuilt"),
    left(
        "backups",
        "state-backup",
        Medium,
        "a backup of the state before the last change",
    ),
    left(
        "temporary",
        "temporary-file",
        Medium,
        "a temporary file of the build",
    ),
    left("run", "run-file", Low, "a file that belongs in memory"),
    left(
        "process-ids",
        "process-id",
        Negligible,
        "the PID file of a process that has ended",
    ),
    left("sockets", "socket", Negligible, "a stale socket"),
    left(
        "systemd-state",
        "systemd-state",
        Low,
        "timestamps of the build's machine",
    ),
    left(
        "update-stamp",
        "update-stamp",
        Negligible,
        "a timestamp of /usr that is out of date",
    ),
    left("histories", "history", High, "a shell history"),
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
        "a link to a certificate that must not exist",
    ),
    left(
        "shadow-days",
        "shadow-day",
        Negligible,
        "the date of the build in /etc/shadow",
    ),
    own(
        "authorized-keys",
        High,
        "an SSH key that can log in to every machine",
        "remove the file in a step of the template; cloud-init installs the keys of each machine",
    ),
    own(
        "private-key",
        High,
        "a private key that every machine would share",
        "remove it, and generate one on each machine at its first boot",
    ),
    own(
        "known-hosts",
        Low,
        "host keys of machines that the build connected to",
        "remove the file at the end of the step that created it",
    ),
    own(
        "rhosts-file",
        High,
        "logins are trusted by host name",
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
        "sshd accepts passwords",
        "set PasswordAuthentication and KbdInteractiveAuthentication to no",
    ),
    own(
        "sshd-empty-passwords",
        Critical,
        "sshd accepts empty passwords",
        "set PermitEmptyPasswords to no",
    ),
    own(
        "sshd-rhosts",
        High,
        "sshd trusts other hosts",
        "set HostbasedAuthentication to no and IgnoreRhosts to yes",
    ),
    own(
        "sshd-user-environment",
        Medium,
        "users may set the environment of their sessions, including libraries to load",
        "set PermitUserEnvironment to no",
    ),
    own(
        "sshd-strict-modes",
        Medium,
        "sshd accepts key files that others may write",
        "set StrictModes to yes",
    ),
    own(
        "sshd-weak-crypto",
        Medium,
        "sshd offers broken algorithms",
        "remove the algorithm from the list; the defaults of OpenSSH are safe",
    ),
    own(
        "no-host-key-generator",
        High,
        "machines would have no SSH host keys",
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
        "lock it with `passwd --lock`, and log in with keys",
    ),
    own(
        "weak-password-hash",
        High,
        "a password with a hash that can be cracked",
        "lock the account, or set the password again with yescrypt",
    ),
    own(
        "locked-password-hash",
        Medium,
        "the hash of a locked password",
        "replace it by `!`: `usermod --password '!'`",
    ),
    own(
        "group-password",
        Medium,
        "a group password lets anyone who knows it join the group",
        "remove it: `gpasswd --remove-password`",
    ),
    own(
        "password-in-passwd",
        High,
        "a password hash in the world-readable /etc/passwd",
        "run `pwconv`",
    ),
    own(
        "second-root",
        Critical,
        "a second account with the uid of root",
        "remove the account, or give it another uid",
    ),
    own(
        "shared-uid",
        Medium,
        "several accounts with the same uid",
        "give each account its own uid",
    ),
    own(
        "nis-entry",
        High,
        "accounts come from NIS",
        "remove the line",
    ),
    own(
        "shadow-readable",
        High,
        "password hashes are world-readable",
        "set mode 0640 and the group shadow",
    ),
    own(
        "account-backup",
        Medium,
        "a copy of an account file",
        "remove the file",
    ),
    own(
        "sudo-nopasswd",
        High,
        "root access without a password",
        "require a password, or allow only the command that needs it and accept the finding",
    ),
    own(
        "sudoers-writable",
        High,
        "users other than root may change who becomes root",
        "set mode 0440 and the owner root",
    ),
    own(
        "build-user",
        High,
        "the account of the build is still there",
        "remove it with `userdel --remove`; cloud-init creates the user of each machine",
    ),
    own(
        "untrusted-source",
        High,
        "an unsigned package source is trusted",
        "give the source a key: `signed-by`",
    ),
    own(
        "unauthenticated-packages",
        High,
        "packages are installed without a valid signature",
        "remove the setting",
    ),
    own(
        "source-credentials",
        High,
        "a password for a package source",
        "remove it; the `secrets` of a template exist during the build only",
    ),
    own(
        "build-proxy",
        Medium,
        "a proxy of the build's network",
        "remove the setting; the build has its own proxy",
    ),
    own(
        "package-index",
        Low,
        "language packages come from an index of the build's network",
        "remove the setting, and pass it to the step by environment",
    ),
    own(
        "added-authority",
        Medium,
        "an additional certificate authority that programs trust",
        "remove it, or declare it with `[[files]]` and accept the finding",
    ),
    own(
        "boot-secret",
        High,
        "a secret on the command line of the kernel",
        "move it to a file: every user can read /proc/cmdline",
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
        "a kernel protection is turned off",
        "remove the parameter, or accept the finding",
    ),
    own(
        "device-name",
        Medium,
        "a disk is identified by a device name, which depends on the machine",
        "identify it by UUID or label",
    ),
    own(
        "several-kernels",
        Low,
        "more than one kernel",
        "remove those that do not boot",
    ),
    own(
        "mount-password",
        High,
        "a password in /etc/fstab",
        "move it to a `credentials=` file that each machine gets",
    ),
    own(
        "legacy-service",
        High,
        "an obsolete network service without encryption",
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
        "a user is logged in without a password",
        "remove the unit or its drop-in",
    ),
    own(
        "world-writable-file",
        High,
        "a world-writable file",
        "run `chmod o-w`",
    ),
    own(
        "world-writable-directory",
        High,
        "a world-writable directory without the sticky bit",
        "run `chmod +t`",
    ),
    own(
        "path-writable",
        High,
        "users other than root may replace programs that root runs",
        "run `chown root:root` and `chmod go-w`",
    ),
    own(
        "orphan-owner",
        Medium,
        "a file whose owner does not exist",
        "change its owner to an existing account: the next new account may get the id",
    ),
    own("device-node", High, "a device outside /dev", "remove it"),
    own(
        "setuid-writable",
        Critical,
        "a setuid or setgid program that others may write",
        "run `chmod go-w`",
    ),
    own(
        "setuid-unpackaged",
        High,
        "a setuid or setgid program that belongs to no package",
        "run `chmod u-s,g-s`, or remove it",
    ),
    own(
        "cloud-user-data",
        High,
        "user data of the machine that built the image",
        "remove it; each machine gets its own",
    ),
    own(
        "installer-answers",
        Medium,
        "answers to the questions of an installer",
        "remove the file",
    ),
    own("shell-history", High, "a shell history", "remove the file"),
    own(
        "user-crontab",
        Medium,
        "a scheduled job that belongs to no package",
        "remove it, or declare it with `[[files]]` in /etc/cron.d",
    ),
    own("mail", Low, "mail of the build", "remove it"),
    own("crash-dump", High, "a core dump", "remove it"),
    own(
        "version-control",
        Low,
        "the version history of a source tree",
        "remove the directory",
    ),
    own(
        "bound-to-network-card",
        Medium,
        "a network configuration for one network card",
        "match the card by name or type instead of its address",
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

/// Returns the check with this id.
pub(super) fn by_id(id: &str) -> &'static Check {
    let check = CHECKS.iter().find(|check| check.id == id);
    check.expect("a test sees that every id in the code is in the table")
}

/// Returns the check for a clean-up rule.
pub(super) fn by_rule(rule: &str) -> &'static Check {
    let check = CHECKS.iter().find(|check| check.rule == Some(rule));
    check.expect("a test sees that every rule has a check")
}
