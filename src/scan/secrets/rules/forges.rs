//! Where source is kept.

use super::{master, token};
use crate::scan::secrets::rule::Rule;
use crate::scan::secrets::validators;

pub(super) const RULES: &[Rule] = &[
    Rule {
        within: 48,
        judge: validators::checked,
        ..master(
            "github-token",
            "a token of GitHub",
            &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
            "(gh[pousr]_[A-Za-z0-9]{36})(?:[^A-Za-z0-9]|$)",
        )
    },
    Rule {
        judge: validators::mixed,
        ..master(
            "github-fine-grained-token",
            "a token of GitHub",
            &["github_pat_"],
            "(github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})",
        )
    },
    Rule {
        judge: validators::mixed,
        ..master(
            "gitlab-token",
            "a token of GitLab",
            &[
                "glpat-",
                "gldt-",
                "glrt-",
                "glptt-",
                "glcbt-",
                "glft-",
                "glsoat-",
                "glagent-",
                "glimt-",
                "gloas-",
                "GR1348941",
            ],
            "(gl(?:pat|dt|rt|ptt|cbt|ft|soat|agent|imt|oas)-[A-Za-z0-9_.-]{20,300}|GR1348941[A-Za-z0-9_-]{20})",
        )
    },
    Rule {
        judge: validators::mixed,
        ..token(
            "bitbucket-token",
            "a token of Atlassian",
            &["ATBB", "ATATT3", "ATCTT3"],
            r"(?:^|[^A-Za-z0-9+/]|\\[nrt])(ATBB[A-Za-z0-9]{32}|AT[AC]TT3[A-Za-z0-9_=-]{60,400})(?:[^A-Za-z0-9]|$)",
        )
    },
];
