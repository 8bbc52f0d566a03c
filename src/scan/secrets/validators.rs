//! A closer look at what a pattern matched: is it a secret, or does it only look like one?

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD};
use flate2::Crc;

use super::rule::innermost;

/// What a pattern matched.
pub(super) struct Match<'a> {
    /// The secret itself.
    pub(super) secret: &'a [u8],
    /// What follows, the secret included.
    pub(super) rest: &'a [u8],
    /// Some of what is in front of it.
    pub(super) before: &'a [u8],
    /// The file.
    pub(super) path: &'a [u8],
}

/// How sure a match is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Certainty {
    /// It has the form.
    Likely,
    /// It has the form and its checksum, or no other thing has this form.
    Certain,
}

/// Says whether a match is a secret.
pub(super) type Judge = fn(&Match) -> Option<Certainty>;

/// Words within what stands in place of a secret.
const PLACEHOLDERS: &[&str] = &[
    "example",
    "changeme",
    "change_me",
    "change-me",
    "placeholder",
    "your_",
    "your-",
    "yourp",
    "yours",
    "your ",
    "xxxx",
    "redacted",
    "dummy",
    "replace",
    "insert",
    "${",
    "#{",
    "eby8vdm02xnoc",
    "$(",
    "{{",
    "%(",
    "%s",
    "****",
    "....",
    "<secret",
    "notreal",
    "sample",
    "my_pass",
    "mypass",
    "my-secret",
    "secret_key_here",
    "todo",
    "_here",
];
/// Words that are no secret by themselves.
const WORDS: &[&str] = &[
    "changeit",
    "password",
    "passwd",
    "pass",
    "pwd",
    "secret",
    "token",
    "user",
    "username",
    "none",
    "null",
    "nil",
    "true",
    "false",
    "yes",
    "no",
    "prompt",
    "string",
    "foo",
    "bar",
    "foobar",
    "test",
    "ask",
    "undefined",
    "default",
    "required",
    "optional",
    "sufficient",
    "admin",
    "root",
    "key",
    "value",
    "empty",
    "disabled",
    "enabled",
    "enable",
    "disable",
    "on",
    "off",
    "pw",
    "passphrase",
    "credentials",
    "auto",
    "file",
    "env",
    "never",
    "always",
    "text",
    "hidden",
];

/// Whether it only stands in place of a secret.
pub(super) fn is_placeholder(secret: &[u8]) -> bool {
    let text = String::from_utf8_lossy(secret).to_ascii_lowercase();
    let bare = text.trim_matches(|c: char| "'\"*()[]{}<>$%,;:.".contains(c));
    let marks = ['<', '$', '%', '{', '['];
    let text = text.trim_matches(['\'', '"']);
    text.contains('\u{fffd}')
        || bare.is_empty()
        || WORDS.contains(&bare)
        || PLACEHOLDERS.iter().any(|word| text.contains(word))
        || (text.starts_with(marks) && text.ends_with(['>', '}', '%', ']', ')']))
        || (text.starts_with('$') && text[1..].chars().all(|c| c.is_alphanumeric() || c == '_'))
        || different(secret) < 3
}

fn different(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in bytes {
        seen[usize::from(*byte)] = true;
    }
    seen.iter().filter(|seen| **seen).count()
}

/// Shannon's entropy, in bits for each byte.
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

/// A key that a machine made.
pub(super) fn key(found: &Match) -> Option<Certainty> {
    let random = different(found.secret) >= 8.min(found.secret.len() / 2);
    let shown = is_placeholder(found.secret) || has_sequence(found.secret);
    (random && entropy(found.secret) >= 2.8 && !shown).then_some(Certainty::Likely)
}

/// `abcdefgh`, `12345678`: what somebody typed to show how long a key is.
fn has_sequence(bytes: &[u8]) -> bool {
    let follows = |pair: &[u8]| pair[0].checked_add(1) == Some(pair[1]);
    let windows = bytes.windows(8);
    windows
        .into_iter()
        .any(|window| window.windows(2).all(follows))
}

/// The older form of Vault's tokens, which looks like a method of a program.
pub(super) fn vault(found: &Match) -> Option<Certainty> {
    let digits = found.secret.iter().filter(|byte| byte.is_ascii_digit());
    (found.secret.starts_with(b"h") || digits.count() >= 2)
        .then(|| mixed(found))
        .flatten()
}

/// A password between quotes in a program.
pub(super) fn in_program(found: &Match) -> Option<Certainty> {
    let url = memchr::memmem::find(found.secret, b"://").is_some();
    (!url && !found.secret.starts_with(b"/"))
        .then(|| random(found))
        .flatten()
}

/// A key in a place where other things are, too: it must look random, with digits and letters.
pub(super) fn random(found: &Match) -> Option<Certainty> {
    let digit = found.secret.iter().any(u8::is_ascii_digit);
    let letter = found.secret.iter().any(u8::is_ascii_alphabetic);
    (digit && letter && entropy(found.secret) >= 3.0)
        .then(|| key(found))
        .flatten()
}

/// A long key in base64, with capital and small letters and a digit: no path and no word.
pub(super) fn mixed(found: &Match) -> Option<Certainty> {
    let upper = found.secret.iter().any(u8::is_ascii_uppercase);
    let lower = found.secret.iter().any(u8::is_ascii_lowercase);
    (upper && lower && entropy(found.secret) >= 3.7)
        .then(|| random(found))
        .flatten()
}

/// What a person chose as a password.
pub(super) fn password(found: &Match) -> Option<Certainty> {
    let text = found.secret.iter().all(|byte| !byte.is_ascii_control());
    (text && !is_placeholder(found.secret)).then_some(Certainty::Likely)
}

/// A password where programs and texts name variables, too.
pub(super) fn assigned(found: &Match) -> Option<Certainty> {
    let text = found.secret;
    let has = |kind: fn(&u8) -> bool| text.iter().any(kind);
    let letter = has(u8::is_ascii_alphabetic);
    let mixed =
        has(u8::is_ascii_digit) || has(|byte| b"!@#^&*?+~%$".contains(byte)) || is_phrase(found);
    let strange = has(|byte| b"()`|".contains(byte));
    let starts = [
        &b"/"[..],
        b"./",
        b"~/",
        b"$",
        b"%",
        b"@",
        b"&",
        b"*",
        b"<",
        b"{",
        b"[",
        b"http",
        b"file:",
        b"self.",
        b"!vault",
        b"!unsafe",
        b"!secret",
        b"!env",
        b"!Ref",
        b"!Sub",
    ];
    let path = starts.iter().any(|start| text.starts_with(start));
    let code = [&b"::"[..], b"->", b"==", b"]."]
        .iter()
        .any(|mark| memchr::memmem::find(text, mark).is_some());
    let names = [
        &b"_id"[..],
        b"_ID",
        b"Id",
        b"_name",
        b"_NAME",
        b"_file",
        b"_FILE",
        b"_path",
        b"_PATH",
        b"_url",
        b"_URL",
        b"_uri",
        b"_server",
    ];
    let between = |byte: &u8| b" \t:=\"'>\\".contains(byte);
    let end = found.before.iter().rposition(|byte| !between(byte));
    let before = &found.before[..end.map_or(0, |end| end + 1)];
    let other = names.iter().any(|end| before.ends_with(end));
    // The line of a test that passed.
    let passed = text.starts_with(b"Test") && text.contains(&b'/');
    let underscores = memchr::memchr_iter(b'_', text).count();
    let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let name = underscores >= 2 && text.iter().all(word);
    let fits = letter
        && mixed
        && !strange
        && !path
        && !code
        && !name
        && !passed
        && !other
        && entropy(text) >= 2.2;
    fits.then(|| password(found)).flatten()
}

/// Endings of files in which what is assigned is a value and no name of something.
const SETTINGS: [&str; 22] = [
    ".env",
    ".ini",
    ".conf",
    ".cnf",
    ".cfg",
    ".cf",
    ".config",
    ".toml",
    ".yaml",
    ".yml",
    ".properties",
    ".json",
    ".tfvars",
    ".tfstate",
    ".service",
    ".sh",
    ".xml",
    ".log",
    "history",
    ".credentials",
    ".hcl",
    ".cifs",
];
/// Parts of paths of files with what people are to read, or with the form of something.
const NO_SETTINGS: [&str; 10] = [
    "locale",
    "/lang",
    "i18n",
    "l10n",
    "translation",
    "schema",
    "openapi",
    "swagger",
    "/test",
    "messages",
];
/// Parts of words that are about secrets, and none themselves.
const ABOUT: [&str; 24] = [
    "passw",
    "secret",
    "token",
    "login",
    "enter",
    "forgot",
    "requir",
    "invalid",
    "reset",
    "string",
    "config",
    "default",
    "value",
    "false",
    "plugin",
    "module",
    "credential",
    "disabled",
    "enabled",
    "system",
    "private",
    "encrypt",
    "variable",
    "provider",
];

/// A password of letters only, where nothing else can be meant.
fn is_phrase(found: &Match) -> bool {
    let path = innermost(found.path).to_ascii_lowercase();
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let setting = SETTINGS.iter().any(|end| name.ends_with(end.as_bytes()))
        || !name.contains(&b'.')
        || name.starts_with(b".");
    let has = |part: &&str| memchr::memmem::find(&path, part.as_bytes()).is_some();
    let text = found.secret.to_ascii_lowercase();
    let about = |word: &&str| memchr::memmem::find(&text, word.as_bytes()).is_some();
    setting
        && !NO_SETTINGS.iter().any(has)
        && text.len() >= 8
        && text
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || *byte == b'-')
        && (!found.secret.iter().any(u8::is_ascii_uppercase) || is_jumbled(found.secret))
        && !is_sentence(found)
        && different(&text) >= 6
        && !ABOUT.iter().any(about)
}

/// Capital letters where no word begins: nobody wrote it, a generator did.
fn is_jumbled(text: &[u8]) -> bool {
    let capitals = text.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    let odd = text
        .windows(2)
        .filter(|pair| pair[0].is_ascii_uppercase() && pair[1].is_ascii_uppercase())
        .count();
    let alone = text.windows(3).filter(|three| {
        three[0].is_ascii_uppercase()
            && three[1].is_ascii_lowercase()
            && three[2].is_ascii_uppercase()
    });
    text.len() >= 10 && capitals >= 3 && odd + alone.count() >= 2 && entropy(text) >= 3.0
}

/// Whether it is the first word of several that say what something is: `password: anything you like`.
fn is_sentence(found: &Match) -> bool {
    let after = found.rest.get(found.secret.len()..).unwrap_or_default();
    matches!(after, [b' ', next, ..] if next.is_ascii_alphabetic())
        && [&b": "[..], b"= "]
            .iter()
            .any(|end| found.before.ends_with(end))
}

/// A password of letters only in the program of an application.
pub(super) fn phrase(found: &Match) -> Option<Certainty> {
    is_phrase(&Match {
        path: b"",
        ..*found
    })
    .then(|| password(found))
    .flatten()
}

/// A password on a line of its own, which is all that the file has.
pub(super) fn alone(found: &Match) -> Option<Certainty> {
    let shown = [&b"#"[..], b"//", b"<", b"{", b"["];
    let text = !shown.iter().any(|start| found.secret.starts_with(start));
    text.then(|| password(found)).flatten()
}

/// The password in `scheme://user:password@host`.
pub(super) fn in_url(found: &Match) -> Option<Certainty> {
    let word = found.secret.len() < 3 || is_placeholder(found.secret);
    let code = found
        .secret
        .iter()
        .any(|byte| b"{}()$`\\|*^[]".contains(byte));
    let host = found.rest.get(found.secret.len() + 1..).unwrap_or_default();
    let host = &host[..host.len().min(64)];
    let shown = [
        &b"example."[..],
        b"www.bogus",
        b"host",
        b"HOST",
        b"server",
        b"domain",
        b"your",
    ];
    let shown = shown.iter().any(|start| host.starts_with(start)) && found.secret.len() < 8;
    (!word && !code && !shown).then_some(Certainty::Likely)
}

/// Tokens of GitHub and npm end in the checksum of what is before it.
pub(super) fn checked(found: &Match) -> Option<Certainty> {
    let body = &found.secret[found.secret.len() - 36..];
    let (random, sum) = body.split_at(30);
    let mut crc = Crc::new();
    crc.update(random);
    if base62(crc.sum()) == sum {
        return Some(Certainty::Certain);
    }
    mixed(found)
}

/// Six digits, the least last.
pub(super) fn base62(mut number: u32) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 6];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    text
}

/// A private key in a PEM file, also as text of a JSON file: there is a body behind the header.
pub(super) fn pem(found: &Match) -> Option<Certainty> {
    let mut body = Vec::new();
    let mut rest = found.rest.get(found.secret.len()..).unwrap_or_default();
    let mut header = false;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            // `\n` as a string has it, escaped once or twice.
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
            // Quotes and commas between strings of a program's source, prefixes of a diff or comment.
            b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\'' | b',' | b'>' | b'#' | 0 => {}
            b'-' if header && !rest.starts_with(b"----") => {}
            _ => break,
        }
        if body.len() >= 8192 {
            break;
        }
    }
    if body.len() < 64 || different(&body) < 20 || is_placeholder(&body[..64]) {
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

/// Whether it is DER that says its own length, or OpenSSH's form.
fn is_key(body: &[u8]) -> bool {
    let whole = &body[..body.len() / 4 * 4];
    let Ok(bytes) = BASE64_NOPAD.decode(whole) else {
        return false;
    };
    let said = match bytes[..] {
        [0x30, 0x82, high, low, ..] => usize::from(high) * 256 + usize::from(low) + 4,
        [0x30, 0x81, length, ..] => usize::from(length) + 3,
        [0x30, length, ..] if length < 128 => usize::from(length) + 2,
        _ => return bytes.starts_with(b"openssh-key-v1\0"),
    };
    said.abs_diff(bytes.len()) <= 3
}

/// Base64 of a private key in PEM, as in a kubeconfig.
pub(super) fn pem_in_base64(found: &Match) -> Option<Certainty> {
    let text: Vec<u8> = found
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
    let start = memchr::memmem::find(&bytes, b"PRIVATE KEY-----")?;
    let rest = &bytes[start..];
    pem(&Match {
        secret: &rest[..16],
        rest,
        ..*found
    })
}

/// `user:password` in base64, as Docker and `Authorization: Basic` have it; but the one of the standard's own examples.
pub(super) fn basic(found: &Match) -> Option<Certainty> {
    let text = found.secret.trim_ascii();
    let bytes = BASE64
        .decode(text)
        .or_else(|_| BASE64_NOPAD.decode(text))
        .ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    let (user, secret) = text.split_once(':')?;
    let printable = text.chars().all(|c| !c.is_control());
    (printable
        && !user.is_empty()
        && secret.len() > 2
        && user != "s6BhdRkqt3"
        && !is_placeholder(secret.as_bytes()))
    .then_some(Certainty::Likely)
}

/// A JSON web token: its header says how it is signed.
pub(super) fn jwt(found: &Match) -> Option<Certainty> {
    let header = found.secret.split(|byte| *byte == b'.').next()?;
    let header = BASE64URL_NOPAD.decode(header).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    header.get("alg")?.as_str()?;
    let mut parts = found.secret.split(|byte| *byte == b'.').skip(1);
    let claims = BASE64URL_NOPAD.decode(parts.next()?).ok()?;
    // The claims of nearly every example.
    let shown = ["\"some\":\"payload\"", "John Doe", "\"foo\":", "\"a\":"];
    if shown
        .iter()
        .any(|text| memchr::memmem::find(&claims, text.as_bytes()).is_some())
    {
        return None;
    }
    Some(Certainty::Likely)
}

/// The hash of a password, in a copy of `shadow` or elsewhere; in `shadow` itself it is another check's.
pub(super) fn hash(found: &Match) -> Option<Certainty> {
    let own = [
        &b"/etc/shadow"[..],
        b"/etc/shadow-",
        b"/etc/gshadow",
        b"/etc/gshadow-",
    ];
    let fits = !own.contains(&found.path)
        && different(found.secret) >= 10
        && !is_placeholder(found.secret);
    fits.then_some(Certainty::Likely)
}

/// A bot's token of Discord: it begins with the bot's number in base64.
pub(super) fn discord(found: &Match) -> Option<Certainty> {
    let number = found.secret.split(|byte| *byte == b'.').next()?;
    let number = &number[..number.len() / 4 * 4];
    let number = BASE64URL_NOPAD.decode(number).ok()?;
    (number.len() >= 15 && number.iter().all(u8::is_ascii_digit)).then_some(Certainty::Likely)
}

/// The settings of Docker in base64, as a secret of Kubernetes has them.
pub(super) fn docker_config(found: &Match) -> Option<Certainty> {
    let end = found.secret.len() / 4 * 4;
    let bytes = BASE64
        .decode(&found.secret[..end])
        .or_else(|_| BASE64_NOPAD.decode(&found.secret[..end]))
        .ok()?;
    let has = |word: &str| memchr::memmem::find(&bytes, word.as_bytes()).is_some();
    (has("\"auth\"") || has("\"password\"")).then_some(Certainty::Likely)
}

/// What nothing else looks like, where it is complete.
pub(super) fn certain(found: &Match) -> Option<Certainty> {
    (found.rest.len() > found.secret.len()).then_some(Certainty::Certain)
}
