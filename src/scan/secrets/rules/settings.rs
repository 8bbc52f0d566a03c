//! What can stand in any file: URLs, headers, commands, variables, settings. The most general come last.

use super::{password, token};
use crate::scan::secrets::rule::{Files, Rule};
use crate::scan::secrets::validators;

pub(super) const RULES: &[Rule] = &[
    Rule {
        before: 24,
        within: 340,
        judge: validators::in_url,
        ..password(
            "url-password",
            "a password in a URL",
            &["://"],
            r#"(?:^|[^A-Za-z])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@"'<>?#\x00-\x1f\x80-\xff]{0,80}:([^\s/@'"<>\x00-\x1f\x80-\xff]{3,200})@[A-Za-z0-9\[_$%{-]"#,
        )
    },
    Rule {
        judge: validators::random,
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
        judge: validators::basic,
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
        judge: validators::assigned,
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
                "nmcli",
            ],
            r#"sshpass\s+-p\s*["']?([^\s"']{3,100})|(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump)(?:\s+-{1,2}[^\s]+|\s+[a-z0-9_.-]+){0,6}?\s+-p["']?([^\s"']{3,100})|curl\s(?:[^\n|;]{0,200}?\s)?(?:-u|--user)[\s=]+["']?[^\s:"']+:([^\s"']{3,100})|(?:docker|podman|helm|skopeo|oras|buildah)\s+(?:registry\s+)?login\s[^\n]{0,200}?(?:-p|--password)[\s=]+["']?([^\s"']{3,200})|\s--?(?:password|passwd|requirepass|http-password|ftp-password|proxy-password)[= ]["']?([^\s"'-][^\s"']{3,100})|(?:ldapsearch|ldapadd|ldapmodify|redis-cli)\s[^\n|]{0,120}?-[wa]\s+["']?([^\s"'-][^\s"']{3,100})|rabbitmqctl\s+(?:add_user|change_password)\s+\S+\s+(\S{3,100})|htpasswd\s+-[a-zA-Z]*b[a-zA-Z]*\s+(?:\S+\s+){1,2}(\S{3,100})|smbclient\s[^\n|]{0,120}?-U\s*["']?[^\s%"']+%([^\s"']{3,100})|nmcli\s[^\n|]{0,160}?\s(?:password|wifi-sec\.psk|802-11-wireless-security\.psk)\s+["']?([^\s"']{8,64})|-passw?(?:in|out|ord)?\s+pass:([^\s"']{3,100})"#,
        )
    },
    Rule {
        before: 70,
        within: 380,
        judge: validators::assigned,
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
            r#"(?:^|[\s;"'\x00,{(])(?:export\s+|ENV\s+|Environment=["']?)?[A-Z0-9_]{0,60}?(?:PASSWORD|PASSWD|_PASS|SECRET|TOKEN|API_?KEY|SECRET_KEY|ACCESS_KEY|PRIVATE_KEY|ENCRYPTION_KEY|SIGNING_KEY|MASTER_KEY|APP_KEY|AUTH_KEY|_PWD|CREDENTIALS?)(?:_[A-Z0-9]{1,12})?["']?[ \t]{0,2}[=:][ \t]{0,2}["']?([^\s"';,\x00-\x1f\x80-\xff]{6,300})|(?:^|[\s\x00])(?:PASSWORD|PASSWD|SECRET|TOKEN|SECRET_KEY|API_KEY|PGPASSWORD|MYSQL_PWD|REDISCLI_AUTH|APIKEY)=["']?([^\s"';,\x00-\x1f\x80-\xff]{6,300})"#,
        )
    },
    Rule {
        before: 0,
        within: 240,
        judge: validators::random,
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
        judge: validators::assigned,
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
        judge: validators::assigned,
        files: Files::Settings,
        ..password(
            "xml-password",
            "a password in a file of settings",
            &[
                "password>",
                "passwd>",
                "secret>",
                "token>",
                "secretkey>",
                "<pass",
                "password\" value",
                "secret\" value",
                "token\" value",
            ],
            r#"<(?i:[a-z]*password|passwd|pass(?: encoding="base64")?|secret|apitoken|token|secretkey)>([^<\s{][^<\s]{3,200})</|(?i:key|name)="[^"\n]{0,60}(?i:password|passwd|secret|token|apikey)"\s+value="([^"\s]{4,200})""#,
        )
    },
    Rule {
        judge: validators::assigned,
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
        judge: validators::assigned,
        files: Files::Settings,
        ..password(
            "sql-password",
            "a password in a statement of SQL",
            &["identified", "password '", "password E'"],
            r"(?i:identified\s+(?:with\s+\S+\s+)?(?:by|as)|password)\s+E?'([^'\n]{4,100})'",
        )
    },
    Rule {
        before: 40,
        within: 300,
        ..password(
            "php-define",
            "a secret of a PHP application",
            &["define("],
            r#"^[ \t]*define\(\s*['"][A-Z_]*(?:PASSWORD|SECRET|KEY|SALT|TOKEN)['"]\s*,\s*['"]([^'"\n]{4,200})['"]"#,
        )
    },
    Rule {
        judge: validators::in_program,
        files: Files::Own,
        chosen: true,
        ..token(
            "password-in-program",
            "a password in a program",
            &[
                "pass",
                "secret",
                "api_key",
                "apikey",
                "token",
                "private_key",
                "privatekey",
            ],
            r#"(?i:passw(?:or)?d|secret|api_?key|token|private_?key)[A-Za-z0-9_]{0,8}["']?\]?\s{0,3}(?:=>|[:=]{1,2})\s{0,3}[rbu]?["']([^"'`\s(){}<>$]{8,100})["']"#,
        )
    },
    Rule {
        judge: validators::random,
        before: 8,
        within: 540,
        files: Files::Settings,
        chosen: true,
        ..token(
            "token-setting",
            "a token in a file of settings",
            &["token"],
            r#"^[ \t]*(?:- )?["']?(?i:token)["']?[ \t]*[:=][ \t]*["']?([A-Za-z0-9_.~+/=-]{20,500})["']?[,;]?[ \t]*\r?$"#,
        )
    },
    Rule {
        judge: validators::phrase,
        files: Files::Own,
        within: 140,
        ..password(
            "phrase-in-program",
            "a password in a program",
            &["password"],
            r#"(?i:password)["']\]?\s{0,3}(?:=>|[:=])\s{0,3}["']([A-Za-z-]{8,60})["']"#,
        )
    },
    Rule {
        before: 120,
        within: 40,
        judge: validators::assigned,
        files: Files::Settings,
        ..password(
            "sudo-password",
            "a password given to sudo",
            &["sudo -"],
            r#"(?:echo|printf)\s+(?:-\S+\s+)*["']?([^\s"'|$]{4,100}?)(?:\\n)?["']?\s*\|\s*sudo\s+(?:-\S+\s+)*-S"#,
        )
    },
];
