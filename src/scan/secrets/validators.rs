//! Validators: each decides whether the match of a pattern is a secret or only looks like one.
//!
//! The corpus in `tests/data/secrets.tsv` is the measure for the lists and thresholds: no form of a secret there may be
//! missed, and no text that only looks like one may be accepted. The lists hold what is common in the sources and manuals of
//! libraries; a rare placeholder that is reported does less harm than a password that is missed.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD};
use flate2::Crc;
use memchr::memmem;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer};

use super::lists::LISTS;
use super::rule::innermost;

/// A match of a rule's pattern.
pub(super) struct Candidate<'a> {
    pub(super) secret: &'a [u8],
    /// The text from the secret on.
    pub(super) rest: &'a [u8],
    /// Some of the text before the secret.
    pub(super) before: &'a [u8],
    /// Path of the file.
    pub(super) path: &'a [u8],
}

/// Confidence in a match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Certainty {
    /// It has the format of a secret.
    Likely,
    /// Its checksum is right, or nothing else has its format.
    Certain,
}

/// Returns how certain it is that a match is a secret, or `None` if it is not one.
pub(super) type Validator = fn(&Candidate) -> Option<Certainty>;

/// Returns the validator of a rule that names none.
pub(super) fn default() -> Validator {
    key
}

/// Reads the name of a validator in the table of rules.
pub(super) fn named<'de, D: Deserializer<'de>>(from: D) -> Result<Validator, D::Error> {
    let name = String::deserialize(from)?;
    Ok(match name.as_str() {
        "alone" => alone,
        "assigned" => assigned,
        "basic" => basic,
        "certain" => certain,
        "checked" => checked,
        "discord" => discord,
        "docker_config" => docker_config,
        "hash" => hash,
        "in_program" => in_program,
        "in_url" => in_url,
        "jwt" => jwt,
        "key" => key,
        "mixed" => mixed,
        "password" => password,
        "pem" => pem,
        "pem_in_base64" => pem_in_base64,
        "phrase" => phrase,
        "random" => random,
        "vault" => vault,
        _ => return Err(D::Error::custom(format!("no validator is called `{name}`"))),
    })
}

/// Bits per byte that a generated key has at least. Of 20,000 random strings of 32 hex digits, the shortest such keys in
/// the table, one has fewer; identifiers such as `V1SecretReference` and `aws_sigv4` have 2.9.
const MIN_KEY_ENTROPY: f64 = 3.0;
/// The same for a key in base64, which must differ from an identifier in camel case. Of random strings of 24 letters and
/// digits 0.05 % have fewer.
const MIN_BASE64_ENTROPY: f64 = 3.7;
/// Different characters that a password has at least.
const MIN_DIFFERENT: usize = 3;

/// Returns whether a text contains one of the parts.
pub(super) fn contains_any(text: &[u8], parts: &[impl AsRef<str>]) -> bool {
    let mut parts = parts.iter();
    parts.any(|part| memmem::find(text, part.as_ref().as_bytes()).is_some())
}

/// Returns whether a text stands in place of a secret, or refers to one.
pub(super) fn is_placeholder(secret: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(secret) else {
        return true;
    };
    let text = text.to_ascii_lowercase();
    let bare = text.trim_matches(|c: char| "'\"*()[]{}<>$%,;:.".contains(c));
    let text = text.trim_matches(['\'', '"']);
    let is_name = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_');
    // `${`, `#{`, `$(`, `{{` and `%(` of templates.
    let interpolated = |pair: &[u8]| b"$#{%".contains(&pair[0]) && b"{(".contains(&pair[1]);
    bare.is_empty()
        || LISTS.words.contains(&bare)
        || contains_any(text.as_bytes(), &LISTS.placeholders)
        || text.as_bytes().windows(2).any(interpolated)
        || (text.starts_with(['<', '%', '[', '{']) && text.ends_with(['>', '%', ']', '}']))
        || text.strip_prefix('$').is_some_and(is_name)
        || count_different(secret) < MIN_DIFFERENT
}

fn count_different(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in bytes {
        seen[usize::from(*byte)] = true;
    }
    seen.iter().filter(|seen| **seen).count()
}

/// Returns Shannon's entropy, in bits per byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    // A secret has fewer bytes than either type can count.
    let length = f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let shares = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / length);
    shares.map(|share| -share * share.log2()).sum()
}

/// Returns [`Certainty::Likely`] if the condition holds.
fn likely(condition: bool) -> Option<Certainty> {
    condition.then_some(Certainty::Likely)
}

/// Accepts a key that a machine generated.
pub(super) fn key(candidate: &Candidate) -> Option<Certainty> {
    let secret = candidate.secret;
    likely(entropy(secret) >= MIN_KEY_ENTROPY && !is_placeholder(secret) && !has_sequence(secret))
}

/// Returns whether there are eight characters in sequence, as in `abcdefgh` and `12345678`, which show the length of a key.
fn has_sequence(bytes: &[u8]) -> bool {
    let follows = |pair: &[u8]| pair[0].checked_add(1) == Some(pair[1]);
    let mut windows = bytes.windows(8);
    windows.any(|window| window.windows(2).all(follows))
}

/// Accepts a token of Vault. Its older form looks like a method call in a program.
pub(super) fn vault(candidate: &Candidate) -> Option<Certainty> {
    let secret = candidate.secret;
    let digits = secret.iter().filter(|byte| byte.is_ascii_digit()).count();
    if secret.starts_with(b"h") || digits >= 2 {
        return mixed(candidate);
    }
    None
}

/// Accepts a password between quotes in a program.
pub(super) fn in_program(candidate: &Candidate) -> Option<Certainty> {
    if candidate.secret.starts_with(b"/") || memmem::find(candidate.secret, b"://").is_some() {
        return None;
    }
    random(candidate)
}

/// Accepts a key where other text is possible, too: it must have digits and letters.
pub(super) fn random(candidate: &Candidate) -> Option<Certainty> {
    let has = |kind: fn(&u8) -> bool| candidate.secret.iter().any(kind);
    if has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) {
        return key(candidate);
    }
    None
}

/// Accepts a long key in base64, with upper and lower case and a digit, which is neither a path nor a word.
pub(super) fn mixed(candidate: &Candidate) -> Option<Certainty> {
    let has = |kind: fn(&u8) -> bool| candidate.secret.iter().any(kind);
    let both = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    if both && entropy(candidate.secret) >= MIN_BASE64_ENTROPY {
        return random(candidate);
    }
    None
}

/// Accepts a password that a person chose.
pub(super) fn password(candidate: &Candidate) -> Option<Certainty> {
    let control = candidate.secret.iter().any(u8::is_ascii_control);
    likely(!control && !is_placeholder(candidate.secret))
}

/// Accepts a password where programs and documentation name variables, too.
pub(super) fn assigned(candidate: &Candidate) -> Option<Certainty> {
    let text = candidate.secret;
    let has = |kind: fn(&u8) -> bool| text.iter().any(kind);
    let like_password =
        has(|byte| byte.is_ascii_digit() || b"!@#^&*?+~%$".contains(byte)) || is_phrase(candidate);
    if like_password
        && has(u8::is_ascii_alphabetic)
        && !is_reference(text)
        && !names_other(candidate)
    {
        return password(candidate);
    }
    None
}

/// Returns whether a text is a path, a URL, a tag of YAML, an identifier or code.
fn is_reference(text: &[u8]) -> bool {
    let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let underscores = memchr::memchr_iter(b'_', text).count();
    // `./x`, `~/x`, `&anchor`, `*alias`, `@file`, `%i`; `!vault` and other tags.
    text.starts_with(b"./")
        || text.starts_with(b"~/")
        || b"/$%@&*<{[".contains(&text[0])
        || (text[0] == b'!' && text[1..].iter().all(u8::is_ascii_alphabetic))
        || contains_any(text, &[":/", "::", "->", "==", "].", "self.", "(", ")", "`", "|"])
        || (underscores >= 2 && text.iter().all(word))
        // Go prints `--- PASS: TestName/case` for a test.
        || (text.starts_with(b"Test") && text.contains(&b'/'))
}

/// Returns whether the name in front of a value says that it is not the secret itself: `token_file = x1`.
fn names_other(candidate: &Candidate) -> bool {
    const SUFFIXES: [&str; 6] = ["_id", "_name", "_file", "_path", "_url", "_server"];
    let between = |byte: &u8| b" \t:=\"'>\\".contains(byte);
    let end = candidate.before.iter().rposition(|byte| !between(byte));
    let before = &candidate.before[..end.map_or(0, |end| end + 1)];
    let lower = before.to_ascii_lowercase();
    let mut suffixes = SUFFIXES.iter();
    before.ends_with(b"Id") || suffixes.any(|suffix| lower.ends_with(suffix.as_bytes()))
}

/// Returns whether a value of letters only is a password in a file of settings.
fn is_phrase(candidate: &Candidate) -> bool {
    let path = innermost(candidate.path).to_ascii_lowercase();
    let secret = candidate.secret;
    let lower = secret.to_ascii_lowercase();
    secret.len() >= 8
        && count_different(&lower) >= 6
        && lower
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || *byte == b'-')
        && (*secret == lower || is_jumbled(secret))
        && !contains_any(&lower, &LISTS.about)
        && !contains_any(&path, &LISTS.no_settings)
        && !is_sentence(candidate)
}

/// Returns whether capital letters are where no word begins, as a generator puts them.
fn is_jumbled(text: &[u8]) -> bool {
    let upper = u8::is_ascii_uppercase;
    let pairs = text.windows(2).filter(|pair| pair.iter().all(upper));
    let single = |three: &&[u8]| upper(&three[0]) && !upper(&three[1]) && upper(&three[2]);
    pairs.count() + text.windows(3).filter(single).count() >= 2
}

/// Returns whether a value is the first word of a description: `password: anything you like`.
fn is_sentence(candidate: &Candidate) -> bool {
    let after = candidate
        .rest
        .get(candidate.secret.len()..)
        .unwrap_or_default();
    let described = candidate.before.ends_with(b": ") || candidate.before.ends_with(b"= ");
    described && matches!(after, [b' ', next, ..] if next.is_ascii_alphabetic())
}

/// Accepts a password of letters only in the program of an application.
pub(super) fn phrase(candidate: &Candidate) -> Option<Certainty> {
    let anywhere = Candidate {
        path: b"",
        ..*candidate
    };
    if is_phrase(&anywhere) {
        return password(candidate);
    }
    None
}

/// Accepts a password on a line of its own, which is all that the file has.
pub(super) fn alone(candidate: &Candidate) -> Option<Certainty> {
    let starts: [&[u8]; 5] = [b"#", b"//", b"<", b"{", b"["];
    if starts
        .iter()
        .any(|start| candidate.secret.starts_with(start))
    {
        return None;
    }
    password(candidate)
}

/// Accepts the password in `scheme://user:password@host`.
pub(super) fn in_url(candidate: &Candidate) -> Option<Certainty> {
    const EXAMPLE_HOSTS: [&[u8]; 5] = [b"example.", b"host", b"server", b"domain", b"your"];
    let secret = candidate.secret;
    let code = secret.iter().any(|byte| b"{}()$`\\|*^[]".contains(byte));
    let host = candidate.rest.get(secret.len() + 1..).unwrap_or_default();
    let host = host[..host.len().min(64)].to_ascii_lowercase();
    let mut hosts = EXAMPLE_HOSTS.iter();
    // A long password is likely real even where the host is not.
    let example = secret.len() < 8 && hosts.any(|example| host.starts_with(example));
    likely(!code && !example && !is_placeholder(secret))
}

/// Accepts a token of GitHub or npm, which ends in a checksum of the 30 characters before it.
pub(super) fn checked(candidate: &Candidate) -> Option<Certainty> {
    let body = &candidate.secret[candidate.secret.len() - 36..];
    let (random, sum) = body.split_at(30);
    let mut crc = Crc::new();
    crc.update(random);
    if base62(crc.sum()) == sum {
        return Some(Certainty::Certain);
    }
    mixed(candidate)
}

/// Writes a number with six digits, as in such checksums.
pub(super) fn base62(mut number: u32) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 6];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    text
}

/// Number of base64 characters that are looked at: an RSA key of 8,192 bits has about 6,300.
const MAX_PEM_BYTES: usize = 8192;
/// Base64 of a key has at least this length: an Ed25519 key in PKCS #8 has 64 characters.
const MIN_PEM_BYTES: usize = 64;
/// Different characters in it: 64 random ones of base64 have 40 on average.
const MIN_PEM_DIFFERENT: usize = 20;

/// Accepts a private key in PEM with a body after its header, also in a string of JSON or of a program.
pub(super) fn pem(candidate: &Candidate) -> Option<Certainty> {
    let mut body = Vec::new();
    let mut rest = candidate
        .rest
        .get(candidate.secret.len()..)
        .unwrap_or_default();
    let mut header = false;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            // `\n` in a string, escaped once or twice.
            b'\\' => {
                rest = rest
                    .strip_prefix(b"\\")
                    .unwrap_or(rest)
                    .get(1..)
                    .unwrap_or_default();
            }
            b':' => {
                header = true;
                body.clear();
                rest = skip_line(rest);
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => body.push(byte),
            // Quotes and commas between strings of a program, prefixes of a diff or comment.
            b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\'' | b',' | b'>' | b'#' | 0 => {}
            b'-' if header && !rest.starts_with(b"----") => {}
            _ => break,
        }
        if body.len() >= MAX_PEM_BYTES {
            break;
        }
    }
    if body.len() < MIN_PEM_BYTES
        || count_different(&body) < MIN_PEM_DIFFERENT
        || is_placeholder(&body[..MIN_PEM_BYTES])
    {
        return None;
    }
    Some(if is_key(&body) {
        Certainty::Certain
    } else {
        Certainty::Likely
    })
}

fn skip_line(text: &[u8]) -> &[u8] {
    let end = text
        .iter()
        .position(|byte| *byte == b'\n' || *byte == b'\\');
    &text[end.unwrap_or(text.len())..]
}

/// Returns whether the body is DER of the length that it states itself, or has the format of OpenSSH.
fn is_key(body: &[u8]) -> bool {
    let whole = &body[..body.len() / 4 * 4];
    let Ok(bytes) = BASE64_NOPAD.decode(whole) else {
        return false;
    };
    let stated = match bytes[..] {
        [0x30, 0x82, high, low, ..] => usize::from(high) * 256 + usize::from(low) + 4,
        [0x30, 0x81, length, ..] => usize::from(length) + 3,
        [0x30, length, ..] if length < 128 => usize::from(length) + 2,
        _ => return bytes.starts_with(b"openssh-key-v1\0"),
    };
    stated.abs_diff(bytes.len()) <= 3
}

/// Accepts the base64 of a private key in PEM, as in a kubeconfig.
pub(super) fn pem_in_base64(candidate: &Candidate) -> Option<Certainty> {
    let text: Vec<u8> = candidate
        .rest
        .iter()
        .copied()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
        .collect();
    let text = text.trim_ascii();
    let end = text
        .iter()
        .position(|byte| *byte == b'=')
        .unwrap_or(text.len())
        / 4
        * 4;
    let bytes = BASE64_NOPAD.decode(&text[..end]).ok()?;
    let start = memmem::find(&bytes, b"PRIVATE KEY-----")?;
    let rest = &bytes[start..];
    pem(&Candidate {
        secret: &rest[..16],
        rest,
        ..*candidate
    })
}

/// Accepts `user:password` in base64, as in the settings of Docker and in `Authorization: Basic`.
pub(super) fn basic(candidate: &Candidate) -> Option<Certainty> {
    let text = candidate.secret.trim_ascii();
    let bytes = BASE64
        .decode(text)
        .or_else(|_| BASE64_NOPAD.decode(text))
        .ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    let (user, secret) = text.split_once(':')?;
    let printable = text.chars().all(|c| !c.is_control());
    // The client in the examples of OAuth 2.0 (RFC 6749).
    let example = user == "s6BhdRkqt3";
    let placeholder = is_placeholder(secret.as_bytes());
    likely(printable && !user.is_empty() && !example && !placeholder)
}

/// Accepts a JSON web token whose header names an algorithm, unless its claims are those of common examples.
pub(super) fn jwt(candidate: &Candidate) -> Option<Certainty> {
    const EXAMPLES: [&str; 4] = ["\"some\":\"payload\"", "John Doe", "\"foo\":", "\"a\":"];
    let mut parts = candidate.secret.split(|byte| *byte == b'.');
    let header = BASE64URL_NOPAD.decode(parts.next()?).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    header.get("alg")?.as_str()?;
    let claims = BASE64URL_NOPAD.decode(parts.next()?).ok()?;
    likely(!contains_any(&claims, &EXAMPLES))
}

/// Accepts the hash of a password in a copy of `shadow` or elsewhere; another check covers `shadow` itself.
pub(super) fn hash(candidate: &Candidate) -> Option<Certainty> {
    // The shortest hash, by DES, has 13 characters, of which 12 are different on average.
    const MIN_DIFFERENT: usize = 10;
    let own: [&[u8]; 4] = [
        b"/etc/shadow",
        b"/etc/shadow-",
        b"/etc/gshadow",
        b"/etc/gshadow-",
    ];
    likely(
        !own.contains(&candidate.path)
            && count_different(candidate.secret) >= MIN_DIFFERENT
            && !is_placeholder(candidate.secret),
    )
}

/// Accepts the token of a Discord bot, which begins with the bot's number in base64.
pub(super) fn discord(candidate: &Candidate) -> Option<Certainty> {
    let number = candidate.secret.split(|byte| *byte == b'.').next()?;
    let number = &number[..number.len() / 4 * 4];
    let number = BASE64URL_NOPAD.decode(number).ok()?;
    // Discord's ids of 2015 and later have 18 digits or more; incomplete groups of base64 are cut off.
    likely(number.len() >= 15 && number.iter().all(u8::is_ascii_digit))
}

/// Accepts the settings of Docker in base64, as a secret of Kubernetes has them.
pub(super) fn docker_config(candidate: &Candidate) -> Option<Certainty> {
    let end = candidate.secret.len() / 4 * 4;
    let bytes = BASE64
        .decode(&candidate.secret[..end])
        .or_else(|_| BASE64_NOPAD.decode(&candidate.secret[..end]))
        .ok()?;
    likely(contains_any(&bytes, &["\"auth\"", "\"password\""]))
}

/// Accepts what nothing else looks like, unless the file ends with it.
pub(super) fn certain(candidate: &Candidate) -> Option<Certainty> {
    (candidate.rest.len() > candidate.secret.len()).then_some(Certainty::Certain)
}
