//! The places that are watched for undeclared files.

/// Directories, without links, where shells and services look for programs.
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

/// A place where everything has to be declared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchedPlace {
    /// Name of the check for this place.
    pub check: &'static str,
    /// Directories with everything below them, or single files.
    pub below: &'static [&'static str],
    /// Description of a file in this place.
    pub what: &'static str,
}

/// All places. A path belongs to the first that contains it.
pub const PLACES: &[WatchedPlace] = &[
    WatchedPlace {
        check: "undeclared-program",
        below: PATH,
        what: "program in the search path",
    },
    WatchedPlace {
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
        what: "systemd unit",
    },
    WatchedPlace {
        check: "undeclared-file",
        below: &["/opt", "/usr/local"],
        what: "file in /opt or /usr/local",
    },
    WatchedPlace {
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
        what: "file that is run or loaded automatically",
    },
    WatchedPlace {
        check: "undeclared-access",
        below: &[
            "/etc/sudoers.d",
            "/etc/polkit-1/rules.d",
            "/etc/ssh/sshd_config.d",
        ],
        what: "access rule",
    },
    WatchedPlace {
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
        what: "package source or signing key",
    },
];

/// Returns the place that a path without links belongs to.
#[must_use]
pub fn place_of(path: &[u8]) -> Option<&'static WatchedPlace> {
    PLACES.iter().find(|place| {
        place.below.iter().any(|below| {
            let rest = path.strip_prefix(below.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    })
}
