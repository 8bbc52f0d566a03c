//! The corpus of planted secrets in `tests/data/secrets.tsv`, and the tests that every rule passes on it.

use std::collections::HashSet;
use std::io::Write as _;

use data_encoding::{BASE64, BASE64URL_NOPAD};

use crate::scan::secrets::rules::RULES;
use crate::scan::secrets::search_files;
use crate::scan::secrets::validators::base62;
use crate::scan::testing::{Planted, table, unescape};
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

/// A rule, the path of a file, and its content.
type CorpusFile = (String, String, Vec<u8>);

/// Reads the corpus.
fn corpus() -> impl Iterator<Item = CorpusFile> {
    let rows = table::<3>("secrets.tsv").into_iter();
    rows.map(|[rule, path, content]| {
        let text = expand(&unescape(&content));
        let (rule, form) = rule.split_once(' ').unwrap_or((&rule, ""));
        let content = match form {
            "" => text.into_bytes(),
            "gzip" => gzip(text),
            "journal" => journal(&text),
            "sqlite" => sqlite(&text),
            "utf-16" => utf16(&format!("\u{feff}{text}")),
            form => panic!("{path}: unknown form {form}"),
        };
        (rule.to_owned(), path, content)
    })
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

/// Plants files in a tree, and searches it.
fn found_in<'a>(files: impl IntoIterator<Item = &'a CorpusFile>) -> Vec<Finding> {
    let files = files.into_iter();
    let tree = files.fold(Planted::default(), |tree, (_, path, content)| {
        tree.file(path, 0o600, content.clone())
    });
    search_files(&tree.root(), &HashSet::new()).unwrap()
}

/// Returns the paths that findings are about.
fn paths(findings: &[Finding]) -> HashSet<&str> {
    let paths = findings
        .iter()
        .filter_map(|finding| finding.path.as_deref());
    paths.collect()
}

/// Splits the corpus into files whose rule is given, files for any rule, and files without a secret.
fn groups() -> [Vec<CorpusFile>; 3] {
    let mut groups = [const { Vec::new() }; 3];
    for file in corpus() {
        let group = match file.0.as_str() {
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
    let findings = found_in(&planted);
    for (rule, path, content) in &planted {
        let id = format!("secret:{rule}:{path}");
        let found = findings.iter().find(|finding| finding.id == id);
        let others: Vec<_> = findings
            .iter()
            .filter(|other| other.path.as_ref() == Some(path))
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
    assert_eq!(paths(&findings).len(), planted.len(), "each file has one");
}

#[test]
fn no_form_of_a_secret_is_missed() {
    let [_, variants, _] = groups();
    let findings = found_in(&variants);
    let found = paths(&findings);
    let all = variants.iter().map(|(_, path, _)| path.as_str());
    let missed: Vec<_> = all.filter(|path| !found.contains(path)).collect();
    assert_eq!(missed, [""; 0], "of {}", variants.len());
}

#[test]
fn what_stands_in_place_of_a_secret_is_none() {
    let [.., clean] = groups();
    for file in &clean {
        assert_eq!(found_in([file]), [], "{}", file.1);
    }
}

#[test]
fn no_rule_is_without_a_secret_that_it_finds() {
    let [planted, variants, _] = groups();
    let findings = [found_in(&planted), found_in(&variants)].concat();
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
    let tree = Planted::default().file(
        "/root/.bash_history.gz",
        0o600,
        gzip(format!("mysql -u root -p{CHOSEN} app\n")),
    );
    let found = search_files(&tree.root(), &HashSet::new()).unwrap();
    assert_eq!(found.len(), 1);
}
