//! Files whose form says where the password is.

use super::password;
use crate::scan::secrets::rule::{Files, Rule};
use crate::scan::secrets::validators;

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

pub(super) const RULES: &[Rule] = &[
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
            &[],
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
                "wireless-key",
                "wep_key",
                "wep-key",
                "sae_password",
                "password",
            ],
            r#"^\s*(?:psk|wpa-psk|wpa_psk|wpa_passphrase|passphrase|presharedkey|PreSharedKey|Passphrase|sae_password|wep[_-]key[0-3]?|password|leap-password)\s*[=:]\s*"?([^"\n]{5,64})"?\s*$|^[ \t]*(?:wpa-psk|wpa-passphrase|wireless-key[0-3]?|wpa-password)[ \t]+"?([^"\n$]{5,64})"?\s*$"#,
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
            r#"chpasswd:[^\n]*\n(?:[ \t]+[^\n]*\n){0,4}?[ \t]+(?:list:\s*\|?[ \t]*\n\s+)?-?\s*[a-z_][a-z0-9_-]*:([^\s:]{3,130})|chpasswd[^\n]*<<-?\s*\\?["']?\w+["']?\s*\n\s*[a-z_][a-z0-9_-]*:([^\s:]{3,130})|chpasswd[^\n]*<<<\s*["']?[a-z_][a-z0-9_-]*:([^\s"']{3,130})|(?:echo|printf)\s+(?:-\S+\s+)*["']?[a-z_][a-z0-9_-]*:([^\s"']{3,100}?)(?:\\n)?["']?\s*\|\s*(?:sudo\s+)?(?:/usr/sbin/)?chpasswd"#,
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
        before: 8,
        files: Files::Named(&[
            "pypirc",
            "pip.conf",
            "uv.toml",
            "hgrc",
            "smbcred",
            "creds",
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
            &["pass"],
            r"^[ \t]*pass(?:word)?[ \t]*[=: \t][ \t]*\x22?(\S{3,300})",
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
            &["PSK \"", "PSK '", "PSK 0", "PSK\t"],
            r#"[\s:]PSK[ \t]+["']?([^"'\s][^"'\n]{3,200})"#,
        )
    },
    Rule {
        files: Files::Named(&["netrc", "auth.conf"]),
        ..password(
            "netrc-password",
            "a password for a host (netrc)",
            &[],
            r"(?:machine\s+\S+|^default)\s[\s\S]{0,200}?password\s+(\S+)",
        )
    },
    Rule {
        judge: validators::alone,
        files: Files::Named(&[
            "vault_pass",
            "vault-pass",
            ".vaultpass",
            "vault.pass",
            "master.key",
            "credentials.key",
            "production.key",
            "initialadminpassword",
            ".erlang.cookie",
            "password.txt",
            "passwd.txt",
            "passphrase.txt",
            "/run/secrets/",
            "/credstore/",
            "borg-passphrase",
            "restic-password",
            "restic_password",
            ".passphrase",
            "keyfile.txt",
        ]),
        ..password(
            "password-file",
            "a file that is a password",
            &[],
            r"\A\s*([^\s\x00-\x1f\x80-\xff]{6,512})\s*\z",
        )
    },
    Rule {
        judge: validators::alone,
        files: Files::Named(&["openvpn"]),
        ..password(
            "openvpn-password",
            "a user and password of OpenVPN",
            &[],
            r"\A\s*[A-Za-z0-9@._-]{2,64}\r?\n([^\s\x00-\x1f\x80-\xff]{6,128})\s*\z",
        )
    },
    Rule {
        files: Files::Named(&["sasl_passwd", "sasl-passwd", "smtp_auth", "passwd.client"]),
        ..password(
            "mail-password",
            "a password of a mail server",
            &[],
            r"^[^#\s:]\S*(?:[ \t]+|:)[^\s:]{1,100}:(\S{3,200})\s*$",
        )
    },
    password(
        "snmp-password",
        "a password of SNMP",
        &["createUser"],
        r#"^\s*createUser\s+\S+\s+(?:MD5|SHA\S*)\s+"?([^"\s]{6,128})"#,
    ),
];
