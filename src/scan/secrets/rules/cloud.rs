//! Accounts of clouds and of hosting.

use super::{master, token};
use crate::scan::secrets::rule::Rule;
use crate::scan::secrets::validators;

pub(super) const RULES: &[Rule] = &[
    Rule {
        judge: validators::pem,
        ..master(
            "gcp-service-account",
            "a key of a Google Cloud service account",
            &["private_key"],
            r#"private_key\\{0,2}"\s*:\s*\\{0,2}"(-----BEGIN (?:RSA )?PRIVATE KEY-----)"#,
        )
    },
    Rule {
        within: 24,
        judge: validators::random,
        ..master(
            "aws-access-key",
            "an access key of AWS",
            &["AKIA", "ASIA", "ABIA", "ACCA"],
            r"(?:^|[^A-Za-z0-9+/]|\\[nrt])((?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})(?:[^A-Za-z0-9+/=]|$)",
        )
    },
    Rule {
        judge: validators::mixed,
        within: 160,
        ..master(
            "aws-secret-key",
            "a secret access key of AWS",
            &[
                "secret_key",
                "secretkey",
                "secret-key",
                "access_key",
                "accesskey",
                "access-key",
                "aws_secret",
                "aws-secret",
            ],
            r#"(?i:(?:aws|secret)[a-z0-9_.-]{0,24}key)["'\\]{0,2}(?:\s|:|=|>|,|"|'|\\){1,8}([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)"#,
        )
    },
    Rule {
        judge: validators::mixed,
        within: 2200,
        ..master(
            "aws-session-token",
            "a session token of AWS",
            &["session_token", "sessiontoken", "security_token"],
            r#"(?i:(?:session|security)_?token)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([A-Za-z0-9/+=]{100,2000})"#,
        )
    },
    Rule {
        judge: validators::mixed,
        ..master(
            "azure-storage-key",
            "a key of an Azure account",
            &[
                "AccountKey",
                "SharedAccessKey",
                "account_key",
                "storage_key",
                "AZURE_STORAGE",
            ],
            r#"(?i:AccountKey|SharedAccessKey|account_?key|storage_?(?:access_)?key)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([A-Za-z0-9+/]{86}==|[A-Za-z0-9+/]{43}=)"#,
        )
    },
    Rule {
        before: 8,
        within: 64,
        judge: validators::mixed,
        ..master(
            "azure-client-secret",
            "a client secret of Azure",
            &["Q~"],
            "(?:^|[^A-Za-z0-9_~.-])([A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})(?:[^A-Za-z0-9_~.-]|$)",
        )
    },
    Rule {
        before: 320,
        judge: validators::mixed,
        ..token(
            "azure-sas",
            "a shared access signature of Azure",
            &["sig="],
            r#"(?:se|sp|sv|sr)=[^\s"']{1,300}[?&;]sig=([A-Za-z0-9%/+]{43,120}(?:%3[dD]|=))"#,
        )
    },
    Rule {
        judge: validators::mixed,
        within: 48,
        ..token(
            "google-api-key",
            "an API key of Google",
            &["AIza"],
            r"(?:^|[^A-Za-z0-9_-]|\\[nrt])(AIza[A-Za-z0-9_-]{35})(?:[^A-Za-z0-9_-]|$)",
        )
    },
    Rule {
        judge: validators::mixed,
        ..token(
            "google-oauth-secret",
            "an OAuth secret of Google",
            &["GOCSPX-", "ya29."],
            r"(GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{60,})",
        )
    },
    master(
        "digitalocean-token",
        "a token of DigitalOcean",
        &["dop_v1_", "doo_v1_", "dor_v1_"],
        "(do[opr]_v1_[a-f0-9]{64})",
    ),
    Rule {
        within: 40,
        judge: validators::mixed,
        ..master(
            "alibaba-key",
            "an access key of Alibaba Cloud",
            &["LTAI"],
            "(?:^|[^A-Za-z0-9+/])(LTAI[A-Za-z0-9]{17,21})(?:[^A-Za-z0-9+/=]|$)",
        )
    },
    Rule {
        judge: validators::random,
        ..token(
            "cloudflare-token",
            "a token of Cloudflare",
            &["cloudflare", "CF_API", "v1.0-"],
            r#"(?i:cloudflare|cf_api)[a-z0-9_.-]{0,40}(?i:key|token)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([A-Za-z0-9_-]{40}|[a-f0-9]{37})(?:[^A-Za-z0-9_-]|$)|(v1\.0-[a-f0-9]{24}-[a-f0-9]{146})"#,
        )
    },
    Rule {
        judge: validators::random,
        within: 600,
        ..token(
            "hosting-token",
            "a token of a hosting service",
            &[
                "hcloud",
                "heroku",
                "linode",
                "vultr",
                "scaleway",
                "scw_secret",
                "HRKU-",
                "FlyV1",
            ],
            r#"(HRKU-[A-Za-z0-9_-]{36,60}|(?i:FlyV1) fm[12][a-z]?_[A-Za-z0-9+/=,_]{80,500})|(?i:hcloud|heroku|linode|vultr|scaleway|scw)[A-Za-z0-9_.-]{0,20}(?i:key|token)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([A-Za-z0-9-]{36,64})(?:[^A-Za-z0-9_-]|$)"#,
        )
    },
];
