//! Private keys, whatever they are in.

use super::{master, token};
use crate::scan::secrets::rule::{Files, Rule};
use crate::scan::secrets::validators;

pub(super) const RULES: &[Rule] = &[
    Rule {
        judge: validators::pem,
        ..master(
            "private-key",
            "a private key",
            &["PRIVATE KEY-----", "PRIVATE KEY BLOCK-----"],
            "(-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)",
        )
    },
    Rule {
        within: 12000,
        judge: validators::pem_in_base64,
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
        before: 12,
        within: 80,
        judge: validators::mixed,
        ..master(
            "wireguard-key",
            "a private key of WireGuard",
            &["PrivateKey", "PresharedKey", "private-key"],
            r"^\s*(?:PrivateKey|PresharedKey|private-key)\s*=\s*([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)",
        )
    },
    master(
        "openvpn-key",
        "a static key of OpenVPN",
        &["BEGIN OpenVPN Static key"],
        r"-----BEGIN OpenVPN Static key V1-----\s+([0-9a-f]{32})",
    ),
    Rule {
        judge: validators::certain,
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
        within: 600,
        judge: validators::mixed,
        ..master(
            "signing-key",
            "a secret key of minisign or signify",
            &["comment: minisign", "comment: signify", "secret key"],
            r"comment: [^\n]*secret key[^\n]*\n(RW[A-Za-z0-9+/]{50,300}={0,2})",
        )
    },
    Rule {
        judge: validators::mixed,
        files: Files::Named(&["wireguard"]),
        ..master(
            "wireguard-key-file",
            "a key of WireGuard",
            &[],
            r"\A\s*([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)\s*\z",
        )
    },
    Rule {
        judge: validators::certain,
        files: Files::Named(&["keytab"]),
        ..master(
            "keytab",
            "a table of keys of Kerberos",
            &[],
            r"\A(\x05\x02\x00)",
        )
    },
];
