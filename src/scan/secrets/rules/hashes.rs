//! Hashes of passwords: whoever has them can search for the password.

use super::password;
use crate::scan::secrets::rule::{Files, Rule};
use crate::scan::secrets::validators;

pub(super) const RULES: &[Rule] = &[
    Rule {
        before: 48,
        judge: validators::hash,
        ..password(
            "shadow-hash",
            "a line of a copy of `shadow`",
            &[
                "$1$", "$apr1$", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$", "$gy$", "$7$",
            ],
            r"^[a-z_][A-Za-z0-9_.-]{0,31}:!{0,2}(\$(?:1\$[^:$\s]{0,16}\$[./0-9A-Za-z]{22}|apr1\$[^:$\s]{1,16}\$[./0-9A-Za-z]{22}|2[abxy]\$\d\d\$[./0-9A-Za-z]{53}|[56]\$(?:rounds=\d+\$)?[^:$\s]{1,16}\$[./0-9A-Za-z]{43,86}|g?y\$[./0-9A-Za-z]+\$[./0-9A-Za-z]{1,86}\$[./0-9A-Za-z]{43}|7\$[./0-9A-Za-z]{11,97}\$[./0-9A-Za-z]{43})):\d*:",
        )
    },
    Rule {
        before: 2,
        within: 200,
        judge: validators::hash,
        ..password(
            "password-hash",
            "the hash of a password",
            &[
                "$1$", "$apr1$", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$y$", "$gy$", "$7$",
            ],
            r"(?:^|[^A-Za-z0-9./])(\$(?:1\$[^:$\s]{0,16}\$[./0-9A-Za-z]{22}|apr1\$[^:$\s]{1,16}\$[./0-9A-Za-z]{22}|2[abxy]\$\d\d\$[./0-9A-Za-z]{53}|[56]\$(?:rounds=\d+\$)?[^:$\s]{1,16}\$[./0-9A-Za-z]{43,86}|g?y\$[./0-9A-Za-z]+\$[./0-9A-Za-z]{1,86}\$[./0-9A-Za-z]{43}|7\$[./0-9A-Za-z]{11,97}\$[./0-9A-Za-z]{43}))(?:[^A-Za-z0-9./]|$)",
        )
    },
    Rule {
        judge: validators::hash,
        within: 700,
        before: 4,
        ..password(
            "grub-password-hash",
            "the hash of a password",
            &["grub.pbkdf2."],
            r"(grub\.pbkdf2\.sha512\.\d+\.[0-9A-Fa-f]{32,}\.[0-9A-Fa-f]{64,})",
        )
    },
    Rule {
        before: 80,
        within: 16,
        judge: validators::hash,
        ..password(
            "shadow-des-hash",
            "a line of a copy of `shadow`",
            &[":99999:"],
            r"^[a-z_][A-Za-z0-9_.-]{0,31}:([./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19}):\d*:\d*:99999:",
        )
    },
    Rule {
        before: 2,
        within: 120,
        judge: validators::hash,
        ..password(
            "ldap-hash",
            "the hash of a password",
            &[
                "{SHA}",
                "{SSHA}",
                "{SHA256}",
                "{SSHA256}",
                "{SHA512}",
                "{SSHA512}",
                "{SMD5}",
            ],
            r"(?:^|[\s:=\x22'])(\{S(?:SHA|HA|MD5|HA256|SHA256|HA512|SHA512)\}[A-Za-z0-9+/]{20,100}={0,2})",
        )
    },
    Rule {
        judge: validators::hash,
        files: Files::Named(&["htpasswd"]),
        ..password(
            "htpasswd-hash",
            "the hash of a password",
            &[],
            r"^[^:\s#]{1,64}:([./0-9A-Za-z]{13})\s*$",
        )
    },
];
