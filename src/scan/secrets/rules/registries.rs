//! Where packages and container images come from.

use super::{password, token};
use crate::scan::secrets::rule::{Files, Rule};
use crate::scan::secrets::validators;

pub(super) const RULES: &[Rule] = &[
    Rule {
        within: 48,
        judge: validators::checked,
        ..token(
            "npm-token",
            "a token of npm",
            &["npm_"],
            "(npm_[A-Za-z0-9]{36})(?:[^A-Za-z0-9]|$)",
        )
    },
    Rule {
        judge: validators::password,
        files: Files::Named(&["npmrc", "yarnrc", ".npm", "history", ".env", ".sh"]),
        before: 4,
        ..token(
            "npmrc-auth",
            "credentials of npm",
            &["_auth", "_password"],
            r#"(?::_authToken|:?_auth|:_password)\s*=\s*"?([A-Za-z0-9+/=_.-]{8,400})"#,
        )
    },
    Rule {
        judge: validators::mixed,
        ..token(
            "pypi-token",
            "a token of PyPI",
            &["pypi-AgE"],
            "(pypi-AgE[A-Za-z0-9_-]{50,400})",
        )
    },
    Rule {
        before: 2,
        within: 44,
        judge: validators::mixed,
        ..token(
            "crates-io-token",
            "a token of crates.io",
            &["cio"],
            "(?:^|[^A-Za-z0-9_])(cio[A-Za-z0-9]{32})(?:[^A-Za-z0-9]|$)",
        )
    },
    Rule {
        before: 8,
        files: Files::Named(&[".cargo/", "credentials"]),
        ..token(
            "cargo-token",
            "a token of a package registry",
            &["token"],
            r#"^\s*token\s*=\s*"([^"\s]{16,400})""#,
        )
    },
    token(
        "rubygems-key",
        "a key of RubyGems",
        &["rubygems_"],
        "(rubygems_[a-f0-9]{48})",
    ),
    Rule {
        judge: validators::mixed,
        ..token(
            "docker-token",
            "a token of Docker",
            &["dckr_pat_", "dckr_oat_"],
            "(dckr_[po]at_[A-Za-z0-9_-]{27,40})",
        )
    },
    Rule {
        judge: validators::basic,
        before: 4,
        within: 4200,
        ..password(
            "docker-auth",
            "credentials of a container registry",
            &["auth\"", "auth\\\""],
            r#"\\?"(?:auth)\\?"\s*:\s*\\?"([A-Za-z0-9+/]{6,4000}={0,2})"#,
        )
    },
    Rule {
        judge: validators::docker_config,
        within: 12000,
        ..password(
            "docker-config-base64",
            "credentials of a container registry in base64",
            &["eyJhdXRoc"],
            "(eyJhdXRoc[A-Za-z0-9+/]{20,}={0,2})",
        )
    },
    Rule {
        before: 4,
        within: 4200,
        ..token(
            "registry-token",
            "a token of a container registry",
            &["identitytoken", "registrytoken"],
            r#""(?:identitytoken|registrytoken)"\s*:\s*"([^"\s]{16,4000})""#,
        )
    },
    Rule {
        judge: validators::mixed,
        ..token(
            "artifactory-token",
            "a token of Artifactory",
            &["AKCp", "cmVmdGtuO"],
            "(?:^|[^A-Za-z0-9+/])(AKCp[A-Za-z0-9]{69}|cmVmdGtuO[A-Za-z0-9]{55})(?:[^A-Za-z0-9+/=]|$)",
        )
    },
];
