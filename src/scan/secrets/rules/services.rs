//! Everything else that hands out tokens.

use super::{master, password, token};
use crate::scan::secrets::rule::{Files, Rule};
use crate::scan::secrets::validators;

pub(super) const RULES: &[Rule] = &[
    Rule {
        before: 6,
        within: 320,
        judge: validators::vault,
        ..master(
            "vault-token",
            "a token of Vault",
            &["hvs.", "hvb.", "hvr.", "s."],
            r#"(?:^|[^A-Za-z0-9_.])(hv[sbr]\.[A-Za-z0-9_-]{24,300})|(?:\A|["'=:]|[=:]\s|login\s)(s\.[A-Za-z0-9]{24})(?:[^A-Za-z0-9.(]|$)"#,
        )
    },
    Rule {
        before: 16,
        judge: validators::mixed,
        ..master(
            "terraform-token",
            "a token of Terraform Cloud",
            &[".atlasv1."],
            r"([A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70})",
        )
    },
    Rule {
        before: 12,
        judge: validators::random,
        ..token(
            "datadog-key",
            "a key of Datadog",
            &["datadog", "dd_a", "dd-a"],
            r#"(?i:(?:datadog|dd)[A-Za-z0-9_.-]{0,20}key)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([0-9a-f]{40}|[0-9a-f]{32})(?:[^A-Za-z0-9]|$)"#,
        )
    },
    Rule {
        judge: validators::random,
        ..token(
            "new-relic-key",
            "a key of New Relic",
            &[
                "NRAK-",
                "NRAL",
                "NRII-",
                "NRJS-",
                "license_key",
                "license",
                "NEW_RELIC",
            ],
            r#"(NRAK-[A-Z0-9]{27}|NRII-[A-Za-z0-9_-]{32}|[0-9a-f]{36}NRAL)|(?i:license_key|newrelic[._]license)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([0-9a-f]{40})(?:[^A-Za-z0-9]|$)"#,
        )
    },
    Rule {
        before: 2,
        within: 120,
        judge: validators::random,
        ..token(
            "twilio-key",
            "a key of Twilio",
            &["twilio", "SK"],
            r#"(?:^|[^A-Za-z0-9])(SK[0-9a-f]{32})(?:[^A-Za-z0-9]|$)|(?i:twilio)[A-Za-z0-9_.-]{0,20}(?i:token|secret|key)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([0-9a-f]{32})(?:[^A-Za-z0-9]|$)"#,
        )
    },
    Rule {
        within: 110,
        judge: validators::mixed,
        ..token(
            "sendgrid-key",
            "a key of SendGrid",
            &["SG."],
            r"(?:^|[^A-Za-z0-9_]|\\[nrt])(SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64})(?:[^A-Za-z0-9_-]|$)",
        )
    },
    Rule {
        before: 2,
        within: 140,
        ..token(
            "mailgun-key",
            "a key of Mailgun",
            &["key-", "mailgun"],
            r#"(?:^|[^A-Za-z0-9_-])(key-[0-9a-f]{32})(?:[^A-Za-z0-9]|$)|(?i:mailgun)[A-Za-z0-9_.-]{0,24}["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8})"#,
        )
    },
    Rule {
        before: 36,
        within: 8,
        ..token(
            "mailchimp-key",
            "a key of Mailchimp",
            &["-us"],
            "(?:^|[^A-Za-z0-9])([0-9a-f]{32}-us[0-9]{1,2})(?:[^A-Za-z0-9-]|$)",
        )
    },
    token(
        "brevo-key",
        "a key of Brevo",
        &["xkeysib-", "xsmtpsib-"],
        "(x(?:key|smtp)sib-[a-f0-9]{64}-[A-Za-z0-9]{16})",
    ),
    Rule {
        before: 2,
        within: 220,
        judge: validators::mixed,
        ..token(
            "openai-key",
            "a key of OpenAI",
            &["sk-", "T3BlbkFJ"],
            r"(?:^|[^A-Za-z0-9_-]|\\[nrt])(sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{40,200}|sk-[A-Za-z0-9]{40,64})(?:[^A-Za-z0-9_-]|$)",
        )
    },
    Rule {
        judge: validators::mixed,
        ..token(
            "anthropic-key",
            "a key of Anthropic",
            &["sk-ant-"],
            r"(sk-ant-[a-z]{2,6}\d{2}-[A-Za-z0-9_-]{60,120})",
        )
    },
    Rule {
        before: 2,
        within: 48,
        judge: validators::key,
        ..token(
            "hugging-face-token",
            "a token of Hugging Face",
            &["hf_", "api_org_"],
            "(?:^|[^A-Za-z0-9_])((?:hf|api_org)_[A-Za-z0-9]{34})(?:[^A-Za-z0-9]|$)",
        )
    },
    Rule {
        before: 2,
        within: 600,
        judge: validators::random,
        ..token(
            "service-token",
            "a token of a service",
            &[
                "tskey-", "lin_api_", "ntn_", "PMAK-", "dp.pt.", "dp.st.", "dp.ct.", "dp.sa.",
                "pul-", "glsa_", "glc_eyJ", "sntrys_", "sntryu_", "dapi", "ops_eyJ", "gsk_", "r8_",
                "dt0c01.", "sbp_", "secret_", "CFPAT-", "EAAC", "lsv2_", "xai-", "pplx-", "figd_",
                "nfp_", "sgp_", "CLOJARS_",
            ],
            r"(?:^|[^A-Za-z0-9_-]|\\[nrt])(tskey-[a-z]+-[A-Za-z0-9]+-[A-Za-z0-9]{24,}|lin_api_[A-Za-z0-9]{40}|ntn_[A-Za-z0-9]{46}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}|dp\.(?:pt|st|ct|sa)\.(?:[a-z0-9_-]+\.)?[A-Za-z0-9]{40,44}|pul-[a-f0-9]{40}|glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}|glc_eyJ[A-Za-z0-9+/=]{40,}|sntry[su]_[A-Za-z0-9+/=_]{40,300}|dapi[a-f0-9]{32}|ops_eyJ[A-Za-z0-9+/=_-]{100,}|gsk_[A-Za-z0-9]{52}|r8_[A-Za-z0-9]{37}|dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}|sbp_[a-f0-9]{40}|secret_[A-Za-z0-9]{43}|CFPAT-[A-Za-z0-9_-]{43}|EAAC[A-Za-z0-9]{80,300}|lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}|xai-[A-Za-z0-9]{80}|pplx-[A-Za-z0-9]{48}|figd_[A-Za-z0-9_-]{40}|nfp_[A-Za-z0-9]{36}|sgp_(?:[a-f0-9]{16}_)?[a-f0-9]{40}|CLOJARS_[a-z0-9]{60})",
        )
    },
    Rule {
        within: 4096,
        judge: validators::jwt,
        before: 2,
        ..token(
            "jwt",
            "a JSON web token",
            &["eyJ"],
            r"(?:^|[^A-Za-z0-9_-]|\\[nrt])(eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,})",
        )
    },
    Rule {
        before: 8,
        within: 2100,
        judge: validators::random,
        files: Files::Named(&["kube", "k3s", "rke2", "k8s"]),
        ..password(
            "kube-token",
            "credentials of Kubernetes",
            &["token"],
            r#"^\s*(?:- )?token:\s*["']?([a-z0-9]{6}\.[a-z0-9]{16}|[A-Za-z0-9_.-]{24,2000})["']?\s*$"#,
        )
    },
    Rule {
        before: 70,
        ..token(
            "k3s-token",
            "a token to join a cluster",
            &["::server:", "::node:"],
            "(K10[a-f0-9]{64}::(?:server|node):[A-Za-z0-9]{16,})",
        )
    },
    Rule {
        before: 8,
        judge: validators::random,
        files: Files::Named(&["datadog", "dd-agent"]),
        ..token(
            "datadog-agent-key",
            "a key of Datadog",
            &["api_key", "app_key"],
            r#"^\s*(?:api|app)_key:\s*["'\\]{0,2}([0-9a-f]{40}|[0-9a-f]{32})["'\\]{0,2}\s*$"#,
        )
    },
];
