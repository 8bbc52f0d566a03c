//! Where things count as declared or not: one table.

/// Directories that programs are looked for in, without links: what root and services find there, they run.
pub const PATH: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/usr/games",
    "/usr/local/games",
    "/sbin",
    "/bin",
];

/// A place where nothing may be that nobody declares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The check that looks at it.
    pub check: &'static str,
    /// Directories with all that is below them, or single files.
    pub below: &'static [&'static str],
    /// What is there.
    pub what: &'static str,
}

/// All places; the first that has a path counts.
pub const PLACES: &[Place] = &[
    Place {
        check: "undeclared-program",
        below: PATH,
        what: "a program where everybody's shell finds it",
    },
    Place {
        check: "undeclared-unit",
        below: &[
            "/etc/systemd/system",
            "/etc/systemd/user",
            "/usr/local/lib/systemd",
            "/usr/lib/systemd/system",
            "/usr/lib/systemd/user",
            "/usr/lib/systemd/system-generators",
            "/etc/systemd/system-generators",
        ],
        what: "something that systemd starts",
    },
    Place {
        check: "undeclared-file",
        below: &["/opt", "/usr/local"],
        what: "a file beside the system's own",
    },
    Place {
        check: "undeclared-start",
        below: &[
            "/etc/cron.d",
            "/etc/cron.hourly",
            "/etc/cron.daily",
            "/etc/cron.weekly",
            "/etc/cron.monthly",
            "/etc/crontab",
            "/var/spool/cron",
            "/etc/init.d",
            "/etc/rc.local",
            "/etc/profile.d",
            "/etc/udev/rules.d",
            "/etc/modules-load.d",
            "/etc/ld.so.conf.d",
            "/etc/ld.so.preload",
            "/etc/xdg/autostart",
        ],
        what: "something that runs by itself",
    },
    Place {
        check: "undeclared-access",
        below: &[
            "/etc/sudoers.d",
            "/etc/polkit-1/rules.d",
            "/etc/ssh/sshd_config.d",
        ],
        what: "something that says who may do what",
    },
    Place {
        check: "undeclared-repository",
        below: &[
            "/etc/apt/sources.list",
            "/etc/apt/sources.list.d",
            "/etc/apt/keyrings",
            "/etc/apt/trusted.gpg",
            "/etc/apt/trusted.gpg.d",
            "/etc/apt/preferences.d",
            "/usr/share/keyrings",
            "/etc/yum.repos.d",
            "/etc/pki/rpm-gpg",
            "/etc/apk/repositories",
        ],
        what: "a source of packages, or a key that signs them",
    },
];

/// The place that a path without links is in.
#[must_use]
pub fn of(path: &[u8]) -> Option<&'static Place> {
    PLACES.iter().find(|place| {
        place.below.iter().any(|below| {
            let rest = path.strip_prefix(below.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    })
}
