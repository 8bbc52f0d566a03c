//! The table of clean-up rules. The first rule that matches a path and changes it wins.
//!
//! Raise [`VERSION`] with every change, that of a reason included: the digest of the table is in the manifest.

use serde::Serialize;

pub(super) const VERSION: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Rule {
    /// Name in reports and manifests.
    pub id: &'static str,
    /// Globs of paths (`*` within a name, `**` across names, `[...]`, `{a,b}`).
    pub paths: &'static [&'static str],
    pub action: Action,
    pub reason: &'static str,
}

/// Effect of a rule on a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Removes the path and everything below it. Directories of packages are kept, empty.
    Remove,
    /// Removes a regular file; a link, which has no content of its own, is kept.
    RemoveFile,
    /// Truncates the file, and keeps its owner and mode.
    Empty,
    /// Removes a symbolic link whose target has this file name.
    Unlink(&'static str),
    RemoveSocket,
    /// Clamps the days of password changes to the epoch.
    ShadowDays,
    /// Sets systemd's timestamp of `/usr` to the time of `/usr`.
    UpdateStamp,
}

pub const RULES: &[Rule] = &[
    Rule {
        id: "machine-id",
        paths: &["/etc/machine-id"],
        action: Action::Empty,
        reason: "each machine gets its own at its first boot; \"uninitialized\" would reset its units too",
    },
    Rule {
        id: "dbus-machine-id",
        paths: &["/var/lib/dbus/machine-id"],
        action: Action::RemoveFile,
        reason: "a copy of the machine id",
    },
    Rule {
        id: "ssh-host-keys",
        paths: &[
            "/etc/ssh/ssh_host_*_key",
            "/etc/ssh/ssh_host_*_key.pub",
            "/etc/ssh/ssh_host_*_key-cert.pub",
        ],
        action: Action::Remove,
        reason: "machines that share a host key can impersonate each other",
    },
    Rule {
        id: "random-seed",
        paths: &[
            "/var/lib/systemd/random-seed",
            "/var/lib/urandom/random-seed",
            "/var/lib/random-seed",
            "/loader/random-seed",
            "/boot/loader/random-seed",
            "/boot/efi/loader/random-seed",
            "/efi/loader/random-seed",
        ],
        action: Action::Remove,
        reason: "machines that share a seed share their first random numbers",
    },
    Rule {
        id: "credential-secret",
        paths: &["/var/lib/systemd/credential.secret"],
        action: Action::Remove,
        reason: "the key of this one machine's credentials",
    },
    Rule {
        id: "cloud-init",
        paths: &[
            "/var/lib/cloud/*",
            "/etc/sudoers.d/90-cloud-init-users",
            "/etc/netplan/50-cloud-init.yaml",
            "/etc/network/interfaces.d/50-cloud-init",
            "/etc/systemd/network/10-cloud-init-*.network",
            "/etc/systemd/network/50-cloud-init.*",
            "/etc/NetworkManager/system-connections/cloud-init-*.nmconnection",
            "/etc/ssh/sshd_config.d/50-cloud-init.conf",
        ],
        action: Action::Remove,
        reason: "what cloud-init made of the build's seed; it runs anew in every machine",
    },
    Rule {
        id: "leases",
        paths: &[
            "/var/lib/{dhcp,dhcp3,dhclient}/*.{lease,leases,leases~}",
            "/var/lib/{dhcpcd,dhcpcd5}/*.lease*",
            "/var/lib/{dhcpcd,dhcpcd5}/{duid,secret}",
            "/var/db/dhcpcd/*",
            "/var/lib/NetworkManager/*.{lease,leases}",
            "/var/lib/misc/dnsmasq.leases",
            "/var/lib/misc/udhcpd.leases",
            "/var/lib/wicked/lease-*.xml",
            "/var/lib/NetworkManager/{secret_key,timestamps,seen-bssids}",
            "/var/lib/systemd/network/*",
            "/etc/udev/rules.d/70-persistent-net.rules",
        ],
        action: Action::Remove,
        reason: "addresses and cards of the build's network",
    },
    Rule {
        id: "old-logs",
        paths: &[
            "/var/log/journal/*",
            "/var/log/apt/*",
            "/var/log/installer",
            "/var/log/unattended-upgrades/*",
            "/var/log/cloud-init*.log",
            "/var/log/**/*.{gz,xz,bz2,zst,old}",
            "/var/log/**/*.[0-9]",
            "/var/lib/logrotate/status",
            "/var/lib/logrotate.status",
        ],
        action: Action::Remove,
        reason: "what happened in the build, and when",
    },
    Rule {
        id: "logs",
        paths: &["/var/log/**"],
        action: Action::Empty,
        reason: "programs expect their log files, not what the build wrote into them",
    },
    Rule {
        id: "apt",
        paths: &[
            "/var/lib/apt/lists/*",
            "/var/lib/apt/lists/{partial,auxfiles}/*",
            "/var/cache/apt/*.bin",
            "/var/cache/apt/archives/*.deb",
            "/var/cache/apt/archives/partial/*",
            "/var/lib/apt/periodic/*",
            "/var/lib/apt/mirrors/*",
            "/var/lib/apt/{daily_lock,listchanges.db}",
        ],
        action: Action::Remove,
        reason: "lists and caches of the day of the build",
    },
    Rule {
        id: "dnf",
        paths: &[
            "/var/cache/{dnf,yum,libdnf5}/*",
            "/var/lib/dnf/history.*",
            "/var/lib/dnf/countme.*",
            "/var/lib/rpm/__db.*",
        ],
        action: Action::Remove,
        reason: "lists and caches of the day of the build",
    },
    Rule {
        id: "caches",
        paths: &[
            "/var/cache/ldconfig/aux-cache",
            "/var/cache/fontconfig/*",
            "/var/cache/man/*",
            "/var/lib/{mlocate,plocate}/*.db",
            "/root/.cache",
            "/home/*/.cache",
        ],
        action: Action::Remove,
        reason: "made again where needed, and never twice the same",
    },
    Rule {
        id: "backups",
        paths: &[
            "/etc/{passwd,group,shadow,gshadow,subuid,subgid}-",
            "/etc/.pwd.lock",
            "/var/cache/debconf/*-old",
            "/var/lib/dpkg/*-old",
            "/var/lib/ucf/*.[0-9]",
            "/var/backups/*",
        ],
        action: Action::Remove,
        reason: "the state before the last change, secrets included",
    },
    Rule {
        id: "temporary",
        paths: &["/tmp/*", "/tmp/.*", "/var/tmp/*", "/var/tmp/.*"],
        action: Action::Remove,
        reason: "left-overs of programs that have ended",
    },
    Rule {
        id: "run",
        paths: &["/run/*", "/run/.*", "/var/run/*", "/var/lock/*"],
        action: Action::Remove,
        reason: "belongs in memory",
    },
    Rule {
        id: "process-ids",
        paths: &[
            "/var/lib/**/*.pid",
            "/var/cache/**/*.pid",
            "/var/spool/**/*.pid",
        ],
        action: Action::Remove,
        reason: "processes of the build",
    },
    Rule {
        id: "sockets",
        paths: &["/**"],
        action: Action::RemoveSocket,
        reason: "nobody listens any more",
    },
    Rule {
        id: "systemd-state",
        paths: &[
            "/var/lib/systemd/timers/*",
            "/var/lib/private/systemd/timesync/*",
            "/var/lib/systemd/timesync/*",
            "/var/lib/systemd/{coredump,pstore,backlight,rfkill}/*",
            "/var/crash/*",
        ],
        action: Action::Remove,
        reason: "when the build's machine did something last",
    },
    Rule {
        id: "update-stamp",
        paths: &["/etc/.updated", "/var/.updated"],
        action: Action::UpdateStamp,
        reason: "has the age of /usr, which is clamped",
    },
    Rule {
        id: "histories",
        paths: &[
            "/root/.{*_history,lesshst,viminfo,wget-hsts}",
            "/home/*/.{*_history,lesshst,viminfo,wget-hsts}",
        ],
        action: Action::Remove,
        reason: "what somebody typed",
    },
    Rule {
        id: "snake-oil",
        paths: &[
            "/etc/ssl/certs/ssl-cert-snakeoil.pem",
            "/etc/ssl/private/ssl-cert-snakeoil.key",
        ],
        action: Action::Remove,
        reason: "machines that share a private key can read each other's traffic",
    },
    Rule {
        id: "snake-oil-links",
        paths: &["/etc/ssl/certs/*"],
        action: Action::Unlink("ssl-cert-snakeoil.pem"),
        reason: "lead to the certificate that is gone",
    },
    Rule {
        id: "shadow-days",
        paths: &["/etc/shadow"],
        action: Action::ShadowDays,
        reason: "the day of the build is no part of an image",
    },
];
