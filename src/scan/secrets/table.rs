//! Every kind of secret that is looked for in files. Where two fit the same text, the first has it.

use super::judge;
use super::rule::{Files, Rule};
use crate::scan::Severity;

/// A key that a service made, known by its form.
const fn token(
    name: &'static str,
    what: &'static str,
    anchors: &'static [&'static str],
    pattern: &'static str,
) -> Rule {
    Rule {
        name,
        what,
        severity: Severity::High,
        anchors,
        before: 80,
        within: 512,
        pattern,
        judge: judge::key,
        files: Files::Any,
        chosen: false,
    }
}

/// A key that opens all that its owner has.
const fn master(
    name: &'static str,
    what: &'static str,
    anchors: &'static [&'static str],
    pattern: &'static str,
) -> Rule {
    Rule {
        severity: Severity::Critical,
        ..token(name, what, anchors, pattern)
    }
}

/// A password that a person may have chosen.
const fn password(
    name: &'static str,
    what: &'static str,
    anchors: &'static [&'static str],
    pattern: &'static str,
) -> Rule {
    Rule {
        judge: judge::password,
        chosen: true,
        ..token(name, what, anchors, pattern)
    }
}

/// Where passwords of wireless networks are.
const WIFI: Files = Files::Named(&[
    "wpa_supplicant",
    "wpa-supplicant",
    "networkmanager",
    "system-connections",
    "netplan",
    "hostapd",
    "iwd",
    "wireless",
    "wifi",
    "wlan",
    "interfaces",
    "connman",
    "network-config",
    ".nmconnection",
    "user-data",
]);

/// Where cloud-init and installers keep what they were told.
const INSTALL: Files = Files::Named(&[
    "cloud-init",
    "cloud.cfg",
    "/lib/cloud/",
    "user-data",
    "userdata",
    "user_data",
    "vendor-data",
    "cloud-config",
    "autoinstall",
    "preseed",
    "kickstart",
    "ks.cfg",
    "anaconda",
    "nocloud",
    "/seed/",
    "debconf",
    "ignition",
    ".ign",
]);

/// Every rule.
pub(super) static RULES: &[Rule] = &[
    Rule {
        judge: judge::pem,
        ..master(
            "gcp-service-account",
            "a key of a Google Cloud service account",
            &["private_key"],
            r#"private_key\\{0,2}"\s*:\s*\\{0,2}"(-----BEGIN (?:RSA )?PRIVATE KEY-----)"#,
        )
    },
    Rule {
        judge: judge::pem,
        ..master(
            "private-key",
            "a private key",
            &["PRIVATE KEY-----", "PRIVATE KEY BLOCK-----"],
            "(-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)",
        )
    },
    Rule {
        within: 12000,
        judge: judge::pem_in_base64,
        ..master(
            "private-key-base64",
            "a private key in base64",
            &["LS0tLS1CRUdJTi"],
            "(LS0tLS1CRUdJTi[A-Za-z0-9+/]{60,}={0,2})",
        )
    },
    Rule {
        within: 4096,
        ..master(
            "putty-key",
            "a private key of PuTTY",
            &["PuTTY-User-Key-File-"],
            r"PuTTY-User-Key-File-[23]:[^\n]+\n[\s\S]{1,3000}?Private-Lines: \d+\r?\n([A-Za-z0-9+/=]{32,})",
        )
    },
    master(
        "age-key",
        "a secret key of age",
        &["AGE-SECRET-KEY-1"],
        "(?i)(AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58})",
    ),
    Rule {
        within: 24,
        judge: judge::random,
        ..master(
            "aws-access-key",
            "an access key of AWS",
            &["AKIA", "ASIA", "ABIA", "ACCA"],
            r"(?:^|[^A-Za-z0-9+/]|\\[nrt])((?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})(?:[^A-Za-z0-9+/=]|$)",
        )
    },
    Rule {
        judge: judge::mixed,
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
        judge: judge::mixed,
        within: 2200,
        ..master(
            "aws-session-token",
            "a session token of AWS",
            &["session_token", "sessiontoken", "security_token"],
            r#"(?i:(?:session|security)_?token)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([A-Za-z0-9/+=]{100,2000})"#,
        )
    },
    Rule {
        judge: judge::mixed,
        ..master(
            "azure-storage-key",
            "a key of an Azure account",
            &[
                "AccountKey=",
                "SharedAccessKey=",
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
        judge: judge::mixed,
        ..master(
            "azure-client-secret",
            "a client secret of Azure",
            &["Q~"],
            "(?:^|[^A-Za-z0-9_~.-])([A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})(?:[^A-Za-z0-9_~.-]|$)",
        )
    },
    Rule {
        before: 320,
        judge: judge::mixed,
        ..token(
            "azure-sas",
            "a shared access signature of Azure",
            &["sig="],
            r#"(?:se|sp|sv|sr)=[^\s"']{1,300}[?&;]sig=([A-Za-z0-9%/+]{43,120}(?:%3[dD]|=))"#,
        )
    },
    Rule {
        judge: judge::mixed,
        within: 48,
        ..token(
            "google-api-key",
            "an API key of Google",
            &["AIza"],
            r"(?:^|[^A-Za-z0-9_-]|\\[nrt])(AIza[A-Za-z0-9_-]{35})(?:[^A-Za-z0-9_-]|$)",
        )
    },
    Rule {
        judge: judge::mixed,
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
        judge: judge::mixed,
        ..master(
            "alibaba-key",
            "an access key of Alibaba Cloud",
            &["LTAI"],
            "(?:^|[^A-Za-z0-9+/])(LTAI[A-Za-z0-9]{17,21})(?:[^A-Za-z0-9+/=]|$)",
        )
    },
    Rule {
        judge: judge::random,
        ..token(
            "cloudflare-token",
            "a token of Cloudflare",
            &["cloudflare", "CF_API", "v1.0-"],
            r#"(?i:cloudflare|cf_api)[a-z0-9_.-]{0,40}(?i:key|token)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([A-Za-z0-9_-]{40}|[a-f0-9]{37})(?:[^A-Za-z0-9_-]|$)|(v1\.0-[a-f0-9]{24}-[a-f0-9]{146})"#,
        )
    },
    Rule {
        judge: judge::random,
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
    Rule {
        within: 48,
        judge: judge::checked,
        ..master(
            "github-token",
            "a token of GitHub",
            &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
            "(gh[pousr]_[A-Za-z0-9]{36})(?:[^A-Za-z0-9]|$)",
        )
    },
    Rule {
        judge: judge::mixed,
        ..master(
            "github-fine-grained-token",
            "a token of GitHub",
            &["github_pat_"],
            "(github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})",
        )
    },
    Rule {
        judge: judge::mixed,
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
        judge: judge::mixed,
        ..token(
            "bitbucket-token",
            "a token of Atlassian",
            &["ATBB", "ATATT3", "ATCTT3"],
            r"(?:^|[^A-Za-z0-9+/]|\\[nrt])(ATBB[A-Za-z0-9]{32}|AT[AC]TT3[A-Za-z0-9_=-]{60,400})(?:[^A-Za-z0-9]|$)",
        )
    },
    Rule {
        judge: judge::random,
        ..token(
            "slack-webhook",
            "a webhook of Slack",
            &["hooks.slack.com/"],
            r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/_-]{20,120})",
        )
    },
    Rule {
        judge: judge::random,
        ..token(
            "slack-token",
            "a token of Slack",
            &[
                "xoxb-", "xoxa-", "xoxp-", "xoxo-", "xoxr-", "xoxs-", "xoxe", "xoxc-", "xoxd-",
                "xapp-",
            ],
            r"(xox[abcdoprs]-[A-Za-z0-9%/+_-]{20,300}|xoxe(?:\.xox[bp])?-[A-Za-z0-9-]{40,300}|xapp-\d-[A-Z0-9]+-\d+-[A-Za-z0-9]{32,})",
        )
    },
    Rule {
        judge: judge::mixed,
        ..token(
            "discord-webhook",
            "a webhook of Discord",
            &["discord.com/api/", "discordapp.com/api/"],
            r"(?i:discord(?:app)?\.com/api/(?:v\d+/)?webhooks/)(\d{16,20}/[A-Za-z0-9_-]{60,80})",
        )
    },
    Rule {
        before: 0,
        within: 240,
        judge: judge::discord,
        ..token(
            "discord-token",
            "a token of a Discord bot",
            &["discord", "token", "bot "],
            r"(?i:discord|token|bot )[^\n]{0,100}?[^A-Za-z0-9_.-]([MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40})(?:[^A-Za-z0-9_-]|$)",
        )
    },
    Rule {
        before: 14,
        within: 48,
        judge: judge::mixed,
        ..token(
            "telegram-token",
            "a token of a Telegram bot",
            &[":AA"],
            "(?:^|[^0-9A-Za-z]|bot)([0-9]{8,10}:AA[A-Za-z0-9_-]{33})(?:[^A-Za-z0-9_-]|$)",
        )
    },
    Rule {
        judge: judge::random,
        ..master(
            "stripe-key",
            "a secret key of Stripe",
            &["sk_live_", "rk_live_", "sk_test_", "rk_test_", "whsec_"],
            "([rs]k_(?:live|test)_[A-Za-z0-9]{20,250}|whsec_[A-Za-z0-9+/]{32,64}={0,2})",
        )
    },
    Rule {
        judge: judge::mixed,
        ..master(
            "square-token",
            "a token of Square",
            &["sq0atp-", "sq0csp-", "sq0idp-", "square"],
            r"(sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43})|(?i:square)[^\n]{0,40}[^A-Za-z0-9_-](EAAA[A-Za-z0-9_-]{60})(?:[^A-Za-z0-9_-]|$)",
        )
    },
    master(
        "braintree-token",
        "a token of PayPal",
        &["access_token$production$", "access_token$sandbox$"],
        r"(access_token\$(?:production|sandbox)\$[a-z0-9]{16}\$[a-f0-9]{32})",
    ),
    Rule {
        judge: judge::random,
        ..master(
            "paypal-secret",
            "a secret of PayPal or Braintree",
            &["paypal", "braintree"],
            r#"(?i:paypal|braintree)[A-Za-z0-9_.-]{0,20}(?i:secret|private_?key)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([A-Za-z0-9_-]{32,80})(?:[^A-Za-z0-9_-]|$)"#,
        )
    },
    token(
        "shopify-token",
        "a token of Shopify",
        &["shpat_", "shpca_", "shppa_", "shpss_"],
        "(shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32})",
    ),
    Rule {
        before: 2,
        within: 120,
        judge: judge::random,
        ..token(
            "twilio-key",
            "a key of Twilio",
            &["twilio", "SK"],
            r#"(?:^|[^A-Za-z0-9])(SK[0-9a-f]{32})(?:[^A-Za-z0-9]|$)|(?i:twilio)[A-Za-z0-9_.-]{0,20}(?i:token|secret|key)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([0-9a-f]{32})(?:[^A-Za-z0-9]|$)"#,
        )
    },
    Rule {
        within: 110,
        judge: judge::mixed,
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
        within: 48,
        judge: judge::checked,
        ..token(
            "npm-token",
            "a token of npm",
            &["npm_"],
            "(npm_[A-Za-z0-9]{36})(?:[^A-Za-z0-9]|$)",
        )
    },
    Rule {
        judge: judge::password,
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
        judge: judge::mixed,
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
        judge: judge::mixed,
        ..token(
            "crates-io-token",
            "a token of crates.io",
            &["cio"],
            "(?:^|[^A-Za-z0-9_])(cio[A-Za-z0-9]{32})(?:[^A-Za-z0-9]|$)",
        )
    },
    token(
        "rubygems-key",
        "a key of RubyGems",
        &["rubygems_"],
        "(rubygems_[a-f0-9]{48})",
    ),
    Rule {
        judge: judge::mixed,
        ..token(
            "docker-token",
            "a token of Docker",
            &["dckr_pat_", "dckr_oat_"],
            "(dckr_[po]at_[A-Za-z0-9_-]{27,40})",
        )
    },
    Rule {
        judge: judge::basic,
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
        judge: judge::mixed,
        ..token(
            "artifactory-token",
            "a token of Artifactory",
            &["AKCp", "cmVmdGtuO"],
            "(?:^|[^A-Za-z0-9+/])(AKCp[A-Za-z0-9]{69}|cmVmdGtuO[A-Za-z0-9]{55})(?:[^A-Za-z0-9+/=]|$)",
        )
    },
    Rule {
        before: 2,
        within: 320,
        judge: judge::mixed,
        ..master(
            "vault-token",
            "a token of Vault",
            &["hvs.", "hvb.", "hvr.", "s."],
            r#"(?:^|[^A-Za-z0-9_.])(hv[sbr]\.[A-Za-z0-9_-]{24,300})|(?:^|[\s"'=:])(s\.[A-Za-z0-9]{24})(?:[^A-Za-z0-9.(]|$)"#,
        )
    },
    Rule {
        before: 16,
        judge: judge::mixed,
        ..master(
            "terraform-token",
            "a token of Terraform Cloud",
            &[".atlasv1."],
            r"([A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70})",
        )
    },
    Rule {
        before: 12,
        judge: judge::random,
        ..token(
            "datadog-key",
            "a key of Datadog",
            &["datadog", "dd_a", "dd-a", "api_key"],
            r#"(?i:(?:datadog|dd)[A-Za-z0-9_.-]{0,20}key)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([0-9a-f]{40}|[0-9a-f]{32})(?:[^A-Za-z0-9]|$)|^\s*api_key:\s*["'\\]{0,2}([0-9a-f]{32})["'\\]{0,2}\s*$"#,
        )
    },
    Rule {
        judge: judge::random,
        ..token(
            "new-relic-key",
            "a key of New Relic",
            &[
                "NRAK-",
                "NRAL",
                "NRII-",
                "NRJS-",
                "license_key",
                "NEW_RELIC",
            ],
            r#"(NRAK-[A-Z0-9]{27}|NRII-[A-Za-z0-9_-]{32}|[0-9a-f]{36}NRAL)|(?i:license_key)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([0-9a-f]{40})(?:[^A-Za-z0-9]|$)"#,
        )
    },
    Rule {
        before: 2,
        within: 220,
        judge: judge::mixed,
        ..token(
            "openai-key",
            "a key of OpenAI",
            &["sk-", "T3BlbkFJ"],
            r"(?:^|[^A-Za-z0-9_-]|\\[nrt])(sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{40,200}|sk-[A-Za-z0-9]{40,64})(?:[^A-Za-z0-9_-]|$)",
        )
    },
    Rule {
        judge: judge::mixed,
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
        judge: judge::key,
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
        judge: judge::random,
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
        before: 48,
        judge: judge::hash,
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
        judge: judge::hash,
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
        before: 24,
        within: 340,
        judge: judge::in_url,
        ..password(
            "url-password",
            "a password in a URL",
            &["://"],
            r#"(?:^|[^A-Za-z])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@"'<>?#\x00-\x1f\x80-\xff]{0,80}:([^\s/@'"<>\x00-\x1f\x80-\xff]{3,200})@[A-Za-z0-9\[_$%{-]"#,
        )
    },
    Rule {
        before: 300,
        within: 200,
        ..password(
            "netrc",
            "a password for a host (netrc)",
            &["password", "passwd"],
            r"(?:machine[ \t\r\n]+\S+|^default)\s+(?:(?:login|account)\s+\S+\s+)+password\s+(\S+)",
        )
    },
    Rule {
        before: 129,
        within: 400,
        files: Files::Named(&["pgpass"]),
        ..password(
            "pgpass",
            "a password of PostgreSQL",
            &[":5432:", ":5433:", ":6432:", ":*:"],
            r"^[^:#\s]{1,128}:(?:\d{1,5}|\*):[^:\n]{1,64}:[^:\n]{1,64}:([^\n]{2,128})$",
        )
    },
    Rule {
        before: 40,
        within: 120,
        files: WIFI,
        ..password(
            "wifi-password",
            "the password of a wireless network",
            &[
                "psk",
                "passphrase",
                "wep_key",
                "wep-key",
                "sae_password",
                "password",
            ],
            r#"^\s*(?:psk|wpa-psk|wpa_psk|wpa_passphrase|passphrase|presharedkey|PreSharedKey|Passphrase|sae_password|wep[_-]key[0-3]?|password|leap-password)\s*(?:=|:|\s)\s*"?([^"\n]{5,64})"?\s*$"#,
        )
    },
    password(
        "cloud-init-password",
        "a password for cloud-init or an installer",
        &["_passwd", "rootpw", "password"],
        r#"(?:plain_text_passwd|hashed_passwd|plaintext_passwd)["'\\]{0,2}\s*:\s*["'\\]{0,2}([^\s"']{3,130})|^\s*rootpw\s+(?:--\S+\s+)*([^\s-]\S{2,130})|passwd/(?:root|user)-password(?:-crypted|-again)?\s+password\s+(\S{3,130})"#,
    ),
    Rule {
        files: INSTALL,
        before: 40,
        ..password(
            "installer-password",
            "a password for cloud-init or an installer",
            &["passwd", "password", "admin_pass"],
            r#"^\s*-?\s*\{?"?(?:passwd|password|default_password|admin_pass)"?\s*:\s*["']?([^\s"',}]{4,130})"#,
        )
    },
    Rule {
        before: 180,
        within: 400,
        ..password(
            "chpasswd",
            "a password given to chpasswd",
            &["chpasswd"],
            r#"chpasswd:[^\n]*\n(?:[ \t]+[^\n]*\n){0,4}?[ \t]+(?:list:\s*\|?[ \t]*\n\s+)?-?\s*[a-z_][a-z0-9_-]*:([^\s:]{3,130})|(?:echo|printf)\s+(?:-\S+\s+)*["']?[a-z_][a-z0-9_-]*:([^\s"']{3,100}?)(?:\\n)?["']?\s*\|\s*(?:sudo\s+)?(?:/usr/sbin/)?chpasswd"#,
        )
    },
    Rule {
        before: 12,
        within: 140,
        files: Files::Named(&["my.cnf", ".cnf", "mysql", "mariadb", "mylogin"]),
        ..password(
            "mysql-password",
            "a password of MySQL",
            &["password"],
            r#"^\s*password\s*=\s*["']?([^\s"'#]{3,100})"#,
        )
    },
    Rule {
        before: 12,
        within: 80,
        judge: judge::mixed,
        ..master(
            "wireguard-key",
            "a private key of WireGuard",
            &["PrivateKey", "PresharedKey", "private-key"],
            r"^\s*(?:PrivateKey|PresharedKey|private-key)\s*=\s*([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)",
        )
    },
    Rule {
        within: 4096,
        judge: judge::jwt,
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
        judge: judge::random,
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
        files: Files::Named(&[".cargo/", "credentials"]),
        ..token(
            "cargo-token",
            "a token of a package registry",
            &["token"],
            r#"^\s*token\s*=\s*"([^"\s]{16,400})""#,
        )
    },
    Rule {
        before: 8,
        files: Files::Named(&[
            "pypirc",
            "pip.conf",
            "uv.toml",
            "hgrc",
            "smbcred",
            "cifs",
            "credentials",
            "msmtprc",
            "sasl_passwd",
            "fetchmailrc",
            "auth.conf",
            "s3cfg",
            "rclone",
            "boto",
        ]),
        ..password(
            "credentials-file",
            "a password in a file of credentials",
            &["password"],
            r"^\s*password\s*[=:]\s*(\S{3,300})",
        )
    },
    Rule {
        judge: judge::random,
        before: 0,
        within: 2100,
        ..password(
            "authorization-header",
            "credentials in a header",
            &[
                "Authorization",
                "PRIVATE-TOKEN",
                "X-Api-Key",
                "X-Vault-Token",
                "X-Auth-Token",
            ],
            r#"(?i:authorization\\{0,2}["']?\s*[:=]\s*\\{0,2}["']?(?:bearer|token))\s+([A-Za-z0-9_.~+/=-]{16,2000})|(?i:PRIVATE-TOKEN|X-Api-Key|X-Vault-Token|X-Auth-Token)["']?\s*[:=]\s*["']?([A-Za-z0-9_.~+/=-]{16,500})"#,
        )
    },
    Rule {
        judge: judge::basic,
        before: 40,
        ..password(
            "basic-auth",
            "a user and password in a header",
            &["basic "],
            r#"(?i:authorization\\{0,2}["']?\s*[:=]\s*\\{0,2}["']?)(?i:basic)\s+([A-Za-z0-9+/]{8,400}={0,2})"#,
        )
    },
    Rule {
        before: 1,
        within: 420,
        judge: judge::assigned,
        files: Files::Settings,
        ..password(
            "command-line-password",
            "a password of a command",
            &[
                "sshpass",
                "mysql",
                "mariadb",
                "curl",
                "wget",
                "docker login",
                "podman login",
                "--password",
                "-passw",
                "ldap",
                "smbclient",
                "net user",
                "psql",
                "redis-cli",
                "--requirepass",
                "mongo",
                "rabbitmqctl",
                "htpasswd",
                "openssl",
            ],
            r#"sshpass\s+-p\s*["']?([^\s"']{3,100})|(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump)(?:\s+-{1,2}[^\s]+|\s+[a-z0-9_.-]+){0,6}?\s+-p["']?([^\s"']{3,100})|curl\s(?:[^\n|;]{0,200}?\s)?(?:-u|--user)[\s=]+["']?[^\s:"']+:([^\s"']{3,100})|(?:docker|podman|helm|skopeo|oras|buildah)\s+(?:registry\s+)?login\s[^\n]{0,200}?(?:-p|--password)[\s=]+["']?([^\s"']{3,200})|\s--?(?:password|passwd|requirepass|http-password|ftp-password|proxy-password)[= ]["']?([^\s"'-][^\s"']{3,100})|(?:ldapsearch|ldapadd|ldapmodify|redis-cli)\s[^\n|]{0,120}?-[wa]\s+["']?([^\s"'-][^\s"']{3,100})|rabbitmqctl\s+(?:add_user|change_password)\s+\S+\s+(\S{3,100})|htpasswd\s+-[a-zA-Z]*b[a-zA-Z]*\s+(?:\S+\s+){1,2}(\S{3,100})"#,
        )
    },
    Rule {
        before: 70,
        within: 380,
        judge: judge::assigned,
        files: Files::Settings,
        ..password(
            "variable",
            "a secret in a variable",
            &[
                "PASSWORD",
                "PASSWD",
                "_PASS",
                "SECRET",
                "TOKEN",
                "_KEY",
                "_PWD",
                "PGPASS",
                "CREDENTIAL",
                "APIKEY",
            ],
            r#"(?:^|[\s;"'\x00,{(])(?:export\s+|ENV\s+|Environment=["']?)?[A-Z][A-Z0-9_]{0,60}?(?:PASSWORD|PASSWD|_PASS|SECRET|TOKEN|API_?KEY|SECRET_KEY|ACCESS_KEY|PRIVATE_KEY|ENCRYPTION_KEY|SIGNING_KEY|MASTER_KEY|APP_KEY|AUTH_KEY|_PWD|CREDENTIALS?)(?:_[A-Z0-9]{1,12})?["']?[ \t]{0,2}[=:][ \t]{0,2}["']?([^\s"';,\x00-\x1f\x80-\xff]{6,300})|(?:^|[\s\x00])(?:PASSWORD|PASSWD|SECRET|TOKEN|SECRET_KEY|API_KEY|PGPASSWORD|MYSQL_PWD|REDISCLI_AUTH|APIKEY)=["']?([^\s"';,\x00-\x1f\x80-\xff]{6,300})"#,
        )
    },
    Rule {
        before: 0,
        within: 240,
        judge: judge::assigned,
        ..password(
            "secret-key-setting",
            "a secret key of an application",
            &["SECRET_KEY", "secret_key_base", "secret_key"],
            r#"(?i:secret_key(?:_base)?)["'\\]{0,2}\s*[:=]\s*["'\\]{0,2}([^\s"'\\]{24,200})"#,
        )
    },
    Rule {
        before: 64,
        within: 380,
        judge: judge::assigned,
        files: Files::Settings,
        ..password(
            "setting",
            "a password in a file of settings",
            &[
                "pass",
                "pwd",
                "authtok",
                "secret",
                "api_key",
                "apikey",
                "api-key",
                "token",
                "bindpw",
                "rootpw",
                "private_key",
                "privatekey",
                "access_key",
                "accesskey",
            ],
            r#"(?:^|[\s,{;(\[\x00=?&])[-"'\\]{0,2}[A-Za-z0-9_.-]{0,40}?(?i:password|passwd|passphrase|secret|api[_-]?key|apikey|auth_?token|access_?token|authtoken|_token|bindpw|rootpw|private_?key|_pass|dbpass|smtp_pass|secret_?key|access_?key|client_?secret|authtok|pass\b|pwd\b)[A-Za-z0-9_]{0,8}["'\\]{0,2}[ \t]{0,3}(?:=>|[=:])[ \t]{0,3}[urb]?["'\\]{0,2}([^\s"'\\;,<>\x00-\x1f\x80-\xff]{6,300})"#,
        )
    },
    Rule {
        before: 24,
        within: 240,
        judge: judge::assigned,
        files: Files::Settings,
        ..password(
            "xml-password",
            "a password in a file of settings",
            &["password>", "passwd>", "secret>", "apitoken>", "token>"],
            r"<(?i:[a-z]*password|passwd|secret|apitoken|token|secretkey)>([^<\s{][^<\s]{3,200})</",
        )
    },
    Rule {
        judge: judge::docker_config,
        within: 12000,
        ..password(
            "docker-config-base64",
            "credentials of a container registry in base64",
            &["eyJhdXRoc"],
            "(eyJhdXRoc[A-Za-z0-9+/]{20,}={0,2})",
        )
    },
    Rule {
        judge: judge::assigned,
        before: 8,
        files: Files::Settings,
        ..password(
            "spaced-setting",
            "a password in a file of settings",
            &[
                "requirepass",
                "masterauth",
                "bindpw",
                "rootpw",
                "password",
                "passwd",
                "authtok",
            ],
            r#"^[ \t]*(?i:requirepass|masterauth|bindpw|rootpw|password|passwd|ldap_default_authtok|olcrootpw:)[ \t]+["']?([^\s"']{6,200})["']?[ \t]*\r?$"#,
        )
    },
    Rule {
        before: 24,
        within: 300,
        judge: judge::assigned,
        files: Files::Settings,
        ..password(
            "sql-password",
            "a password in a statement of SQL",
            &["identified", "password '", "password E'"],
            r"(?i:identified\s+(?:with\s+\S+\s+)?(?:by|as)|password)\s+E?'([^'\n]{4,100})'",
        )
    },
    Rule {
        before: 8,
        within: 300,
        ..password(
            "php-define",
            "a secret of a PHP application",
            &["define("],
            r#"define\(\s*['"][A-Z_]*(?:PASSWORD|SECRET|KEY|SALT|TOKEN)['"]\s*,\s*['"]([^'"\n]{4,200})['"]"#,
        )
    },
    Rule {
        judge: judge::random,
        files: Files::Own,
        chosen: true,
        ..token(
            "password-in-program",
            "a password in a program",
            &["pass", "secret", "api_key", "apikey", "token"],
            r#"(?i:passw(?:or)?d|secret|api_?key|token)[A-Za-z0-9_]{0,8}["']?\]?\s{0,3}(?:=>|[:=]{1,2})\s{0,3}[rbu]?["'`]([^"'`\s(){}<>$]{8,100})["'`]"#,
        )
    },
    Rule {
        before: 64,
        files: Files::Named(&["chap-secrets", "pap-secrets"]),
        ..password(
            "ppp-password",
            "a password of a dial-up or VPN account",
            &[" * ", "\t*\t", "\t* ", " *\t"],
            r#"^[^#\s]\S*[ \t]+\*[ \t]+"?([^\s"]{3,100})"#,
        )
    },
    Rule {
        before: 4,
        ..password(
            "ipsec-psk",
            "a shared key of IPsec",
            &["PSK \""],
            r#"[\s:]PSK\s+"([^"\n]{4,200})""#,
        )
    },
    master(
        "openvpn-key",
        "a static key of OpenVPN",
        &["BEGIN OpenVPN Static key"],
        r"-----BEGIN OpenVPN Static key V1-----\s+([0-9a-f]{32})",
    ),
    Rule {
        judge: judge::certain,
        files: Files::Named(&["gnupg", "private-keys-v1", "secring", ".key"]),
        ..master(
            "gnupg-key",
            "a private key of GnuPG",
            &["11:private-key", "21:protected-private-key", "Key: (p"],
            r"(\(11:private-key|\(21:protected-private-key|^Key: \((?:protected-)?private-key)",
        )
    },
    Rule {
        before: 200,
        ..token(
            "one-time-password-seed",
            "the seed of one-time passwords",
            &["\" TOTP_AUTH", "\" HOTP_COUNTER"],
            r#"^([A-Z2-7]{16,64})\r?\n(?:" [^\n]*\n){0,6}?" [TH]OTP_"#,
        )
    },
    Rule {
        judge: judge::hash,
        within: 700,
        before: 4,
        ..password(
            "grub-password-hash",
            "the hash of a password",
            &["grub.pbkdf2."],
            r"(grub\.pbkdf2\.sha512\.\d+\.[0-9A-Fa-f]{32,}\.[0-9A-Fa-f]{64,})",
        )
    },
];
