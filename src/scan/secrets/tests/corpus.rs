//! The corpus of planted secrets in `tests/data/secrets.tsv`, and the tests that every rule passes on it.

use std::collections::HashSet;
use std::io::Write as _;

use data_encoding::{BASE64, BASE64URL_NOPAD};

use crate::scan::secrets::rules::RULES;
use crate::scan::secrets::search_files;
use crate::scan::secrets::validators::base62;
use crate::scan::testing::Planted;
use crate::scan::{Finding, Severity};

/// A password as a person or a generator makes it.
const CHOSEN: &str = "Tr4vel-Light!92";

pub(in crate::scan::secrets) const ALNUM: &[u8] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const HEX: &[u8] = b"0123456789abcdef";
pub(in crate::scan::secrets) const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters as random as a key's, the same in every run.
pub(in crate::scan::secrets) fn some(letters: &[u8], count: usize) -> String {
    let mut state = 0x2545_f491_u64 + count as u64 * 77;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(letters[usize::try_from(state >> 33).unwrap() % letters.len()])
    };
    (0..count).map(|_| next()).collect()
}

/// A token of GitHub's or npm's form, with its checksum.
pub(in crate::scan::secrets) fn checked(prefix: &str) -> String {
    let random = some(ALNUM, 30);
    let mut crc = flate2::Crc::new();
    crc.update(random.as_bytes());
    format!(
        "{prefix}{random}{}",
        String::from_utf8_lossy(&base62(crc.sum()))
    )
}

/// A key in PEM: DER that says its length.
fn pem(kind: &str) -> String {
    let mut der = vec![0x30, 0x82, 0x02, 0x00];
    der.extend(some(ALNUM, 512).into_bytes());
    let body = BASE64.encode(&der);
    let lines: Vec<_> = body
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN {kind}PRIV{}-----\n{}\n-----END {kind}PRIV{0}-----\n",
        "ATE KEY",
        lines.join("\n")
    )
}

fn jwt() -> String {
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    format!(
        "{}.{}.{}",
        part(r#"{"alg":"HS256","typ":"JWT"}"#),
        part(r#"{"sub":"42","admin":true}"#),
        some(ALNUM, 43)
    )
}

pub(in crate::scan::secrets) fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// Returns the rule, path and content of each line of the corpus.
fn corpus() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    const TABLE: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/secrets.tsv"
    ));
    let lines = TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let file = |line: &'static str| match line.split('\t').collect::<Vec<_>>()[..] {
        [rule, path, content] => (rule, path, expand(&unescape(content)).into_bytes()),
        _ => panic!("not three columns: {line}"),
    };
    lines.map(file).collect()
}

fn unescape(text: &str) -> String {
    let mut rest = text.chars();
    let mut plain = String::new();
    while let Some(letter) = rest.next() {
        let escaped = if letter == '\\' { rest.next() } else { None };
        plain.push(match escaped {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('0') => '\0',
            Some('x') => {
                let digits: String = rest.by_ref().take(2).collect();
                char::from(u8::from_str_radix(&digits, 16).unwrap())
            }
            escaped => escaped.unwrap_or(letter),
        });
    }
    plain
}

/// Replaces the placeholders of the table, innermost first.
fn expand(text: &str) -> String {
    let Some(end) = text.find('›') else {
        return text.to_owned();
    };
    let start = text[..end].rfind('‹').expect("a placeholder begins with ‹");
    let (before, placeholder) = text[..end].split_at(start);
    let placeholder = placeholder.trim_start_matches('‹');
    let (kind, argument) = placeholder.split_once(' ').unwrap_or((placeholder, ""));
    let some = |letters: &[u8]| some(letters, argument.parse().unwrap());
    let value = match kind {
        "" => String::new(),
        "chosen" => CHOSEN.to_owned(),
        "words" => "correcthorsebattery".to_owned(),
        "alnum" => some(ALNUM),
        "hex" => some(HEX),
        "HEX" => some(b"0123456789ABCDEF"),
        "upper" => some(UPPER),
        "base64" => some(BASE),
        "bech32" => some(b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
        "lower" => some(b"0123456789abcdefghijk"),
        "letters" => some(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"),
        "django" => some(b"abcdefghijklmnop0123456789!@#$%^&*(-_=+)"),
        "checked" => checked(argument),
        "jwt" => jwt(),
        "pem" if argument.is_empty() => pem(""),
        "pem" => pem(&format!("{argument} ")),
        "pgp" => pem("PGP ")
            .replace("ATE KEY-", "ATE KEY BLOCK-")
            .replace("BLOCK-----\n", "BLOCK-----\nVersion: x\n\n"),
        "encode" => BASE64.encode(argument.as_bytes()),
        "encode-url" => BASE64URL_NOPAD.encode(argument.as_bytes()),
        "json" => format!("{argument:?}"),
        "indent" => argument.replace('\n', "\n    "),
        "escape" => argument.replace('\n', "\\n"),
        "crlf" => argument.replace('\n', "\r\n"),
        "dashes" => argument.replace('_', "-"),
        _ => panic!("unknown placeholder {kind}"),
    };
    expand(&format!("{before}{value}{}", &text[end + '›'.len_utf8()..]))
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A journal with one message that is long enough to be compressed.
fn journal(message: &str) -> Vec<u8> {
    let field = format!("MESSAGE={}{message}", "starting unit number 1; ".repeat(40));
    let mut file = b"LPKSHHRH\0\0\0\0".to_vec();
    file.extend([0; 200]);
    file.extend(zstd::bulk::compress(field.as_bytes(), 3).unwrap());
    file.extend([0; 100]);
    file
}

/// `SQLite` as it lies on the disk: rows with nothing between them.
fn sqlite(value: &str) -> Vec<u8> {
    [
        b"SQLite format 3\0\x10\0",
        &[0; 200][..],
        b"\x0b\x03\x17admin",
        value.as_bytes(),
        b"\x01\x02ok",
    ]
    .concat()
}

/// Returns path, content and rule of files that are not text.
fn binary_files() -> [(&'static str, &'static str, Vec<u8>); 6] {
    let github = checked("ghp_");
    let core = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0\0DB_PASSWORD=gr33n-Apples-7\0";
    [
        (
            "github-token",
            "/var/log/app.log.1.gz",
            gzip(format!("GET /\ntoken {github}\n")),
        ),
        (
            "github-token",
            "/var/log/journal/1/system.journal",
            journal(&format!("login with {github}")),
        ),
        ("github-token", "/var/lib/app/app.db", sqlite(&github)),
        (
            "github-token",
            "/root/export.reg",
            utf16(&format!("\u{feff}key={github}\r\n")),
        ),
        (
            "variable",
            "/root/environ",
            b"PATH=/bin\0DB_PASSWORD=gr33n-Apples-7\0HOME=/\0".to_vec(),
        ),
        (
            "variable",
            "/var/lib/systemd/coredump/core.1",
            core.to_vec(),
        ),
    ]
}

/// Plants files in a tree, and searches it.
fn found_in<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<Finding> {
    let mut tree = Planted::default();
    for (path, content) in files {
        tree = tree.file(path, 0o600, content);
    }
    search_files(&tree.root(), &HashSet::new()).unwrap()
}

/// Splits the corpus into files whose rule is given, files for any rule, and files without a secret.
fn groups() -> [Vec<(&'static str, &'static str, Vec<u8>)>; 3] {
    let mut groups = [binary_files().to_vec(), Vec::new(), Vec::new()];
    for file in corpus() {
        let group = match file.0 {
            "any" => 1,
            "none" => 2,
            _ => 0,
        };
        groups[group].push(file);
    }
    assert_eq!(groups.each_ref().map(Vec::len), [78, 221, 28]);
    groups
}

#[test]
fn every_planted_secret_is_found_by_its_rule_and_never_shown() {
    let [planted, ..] = groups();
    let findings = found_in(
        planted
            .iter()
            .map(|(_, path, content)| (*path, content.clone())),
    );
    for (rule, path, content) in &planted {
        let id = format!("secret:{rule}:{path}");
        let found = findings.iter().find(|finding| finding.id == id);
        let others: Vec<_> = findings
            .iter()
            .filter(|other| other.path.as_deref() == Some(path))
            .map(|other| &other.id)
            .collect();
        let found = found.unwrap_or_else(|| panic!("{id} is missing; there is {others:?}"));
        assert!(found.severity >= Severity::High, "{id}");
        assert!(!found.fix.is_empty() && found.accept.contains(&id), "{id}");
        // The evidence has no long run of the file's characters; the public prefixes of keys are shorter.
        let content = String::from_utf8_lossy(content).replace('\0', "");
        for window in content
            .as_bytes()
            .windows(16)
            .filter(|window| window.iter().all(u8::is_ascii_alphanumeric))
        {
            let window = String::from_utf8_lossy(window);
            assert!(
                !found.evidence.contains(window.as_ref()),
                "{id} shows {window}"
            );
        }
    }
    let paths: HashSet<_> = findings
        .iter()
        .filter_map(|finding| finding.path.as_deref())
        .collect();
    assert_eq!(paths.len(), planted.len(), "each file has one");
}

#[test]
fn no_form_of_a_secret_is_missed() {
    let [_, variants, _] = groups();
    let findings = found_in(
        variants
            .iter()
            .map(|(_, path, content)| (*path, content.clone())),
    );
    let found: HashSet<_> = findings
        .iter()
        .filter_map(|finding| finding.path.as_deref())
        .collect();
    let paths = variants.iter().map(|(_, path, _)| *path);
    let missed: Vec<_> = paths.filter(|path| !found.contains(path)).collect();
    assert_eq!(missed, [""; 0], "of {}", variants.len());
}

#[test]
fn what_stands_in_place_of_a_secret_is_none() {
    let [.., clean] = groups();
    for (_, path, content) in clean {
        assert_eq!(found_in([(path, content)]), [], "{path}");
    }
}

#[test]
fn no_rule_is_without_a_secret_that_it_finds() {
    let [planted, variants, _] = groups();
    let findings: Vec<_> = [planted, variants]
        .into_iter()
        .flat_map(|files| found_in(files.into_iter().map(|(_, path, content)| (path, content))))
        .collect();
    let names = RULES.iter().map(|rule| &rule.name);
    let idle: Vec<_> = names
        .filter(|name| {
            let id = format!("secret:{name}:");
            !findings.iter().any(|finding| finding.id.starts_with(&id))
        })
        .collect();
    assert_eq!(idle, [""; 0]);
}

#[test]
fn hidden_forms_are_seen_where_the_named_rules_need_the_path_within() {
    let content = gzip(format!("mysql -u root -p{CHOSEN} app\n"));
    assert_eq!(found_in([("/root/.bash_history.gz", content)]).len(), 1);
}
