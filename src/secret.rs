//! Secret values: text that holds them, and the filter that keeps them out of everything shown.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use data_encoding::{BASE64, BASE64URL, Encoding};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

/// A string of a template in which secrets are still names, so that it can be shown and recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text(Vec<Part>);

/// A piece of [`Text`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// Plain text.
    Literal(String),
    /// The value of a secret, by name.
    Secret(String),
}

/// The values of a build's secrets, by name.
#[derive(Clone, Default)]
pub struct Secrets(std::collections::BTreeMap<String, SecretString>);

impl Secrets {
    /// Gives a secret its value.
    pub fn insert(&mut self, name: String, value: SecretString) {
        self.0.insert(name, value);
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}

/// Shorter pieces of a secret are not hidden: they would blot out ordinary words, and tell little.
const SHORTEST_LINE: usize = 4;

/// Fewer characters of base64 would be found in unrelated data.
const SHORTEST_BASE64: usize = 6;
/// What RFC 3986 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Hides the values of secrets in everything that is shown: as they are, in base64, percent-encoded, quoted for a
/// shell or for JSON, and line by line.
#[derive(Clone, Default)]
pub struct Redactor(Vec<Hidden>);

#[derive(Clone)]
struct Hidden {
    pattern: SecretString,
    shown: String,
}

impl Redactor {
    /// A redactor for these secrets.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        let mut hidden = Vec::new();
        for (name, value) in secrets.iter() {
            let lines = value.lines().map(str::trim);
            let lines = lines.filter(|line| line.chars().count() >= SHORTEST_LINE);
            let values = std::iter::once(value).chain(lines);
            let patterns: BTreeSet<String> = values.flat_map(disguises).collect();
            hidden.extend(patterns.into_iter().map(|pattern| Hidden {
                pattern: SecretString::from(pattern),
                shown: format!("<secret {name}>"),
            }));
        }
        // The longest first: where one pattern holds another, all of it goes.
        hidden.sort_by_key(|hidden| std::cmp::Reverse(hidden.pattern.expose_secret().len()));
        Self(hidden)
    }

    /// The text with every secret replaced by its name.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        // A marker is put in first, so that a secret that is part of a name is not looked for in what is shown.
        let marker = |index: usize| format!("\u{FDD0}{index}\u{FDD1}");
        let mut found = Vec::new();
        for (index, Hidden { pattern, .. }) in self.0.iter().enumerate() {
            let pattern = pattern.expose_secret();
            if text.contains(pattern) {
                text = Cow::Owned(replace_outside_markers(&text, pattern, &marker(index)));
                found.push(index);
            }
        }
        for index in found {
            text = Cow::Owned(text.replace(&marker(index), &self.0[index].shown));
        }
        text
    }
}

/// Replaces `pattern`, but not in the digits of a marker that is there already.
fn replace_outside_markers(text: &str, pattern: &str, marker: &str) -> String {
    text.split_inclusive('\u{FDD1}')
        .map(|part| {
            let (plain, rest) = match part.rfind('\u{FDD0}') {
                Some(start) if part.ends_with('\u{FDD1}') => part.split_at(start),
                _ => (part, ""),
            };
            plain.replace(pattern, marker) + rest
        })
        .collect()
}

/// The ways in which a value may turn up.
pub(crate) fn disguises(value: &str) -> Vec<String> {
    if value.is_empty() {
        return Vec::new();
    }
    let mut ways = vec![value.to_owned(), value.trim_end_matches('\n').to_owned()];
    if value.chars().count() >= SHORTEST_LINE {
        for encoding in [BASE64, BASE64URL] {
            ways.extend(in_base64(&encoding, value.as_bytes()));
            // `echo "$TOKEN" | base64` encodes a newline too.
            ways.extend(in_base64(&encoding, format!("{value}\n").as_bytes()));
        }
    }
    let percent = utf8_percent_encode(value, UNRESERVED).to_string();
    ways.push(percent_in_lower_case(&percent));
    ways.push(percent.replace("%20", "+"));
    ways.push(percent);
    ways.push(value.replace('\'', r"'\''"));
    ways.push(value.replace('\'', r#"'"'"'"#));
    ways.push(backslashed(value));
    ways.push(in_double_quotes(value));
    ways.extend(shlex::try_quote(value).map(Cow::into_owned));
    if let Ok(json) = serde_json::to_string(value) {
        ways.push(json[1..json.len() - 1].to_owned());
    }
    ways.retain(|way| !way.is_empty());
    ways
}

/// The value in base64 on its own, and what of it is the same whatever stands before and after it, for each of the
/// three ways in which its bytes can meet base64's groups of three.
fn in_base64(encoding: &Encoding, bytes: &[u8]) -> Vec<String> {
    let whole = encoding.encode(bytes);
    let mut ways = vec![whole.trim_end_matches('=').to_owned(), whole];
    for before in 0..3 {
        let mut padded = vec![0; before];
        padded.extend(bytes);
        let encoded = encoding.encode(&padded);
        // Characters that hold bits of a neighbour differ from text to text.
        let start = (before * 8).div_ceil(6);
        let end = padded.len() * 8 / 6;
        if end >= start + SHORTEST_BASE64 {
            ways.push(encoded[start..end].to_owned());
        }
    }
    ways
}

/// `%2f` for `%2F`.
fn percent_in_lower_case(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut lower = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at(2);
        lower.push('%');
        lower.push_str(&code.to_lowercase());
        lower.push_str(rest);
    }
    lower
}

/// As `printf %q` writes it.
fn backslashed(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:=@%+,".contains(c);
    let escape = |c| {
        if plain(c) {
            String::from(c)
        } else {
            format!("\\{c}")
        }
    };
    value.chars().map(escape).collect()
}

/// As it stands between double quotes of a shell.
fn in_double_quotes(value: &str) -> String {
    let special = |c: char| "\\\"$`".contains(c);
    let escape = |c| {
        if special(c) {
            format!("\\{c}")
        } else {
            String::from(c)
        }
    };
    value.chars().map(escape).collect()
}

impl Text {
    /// Text made of parts.
    #[must_use]
    pub fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    /// Text without secrets.
    #[must_use]
    pub fn literal(text: impl Into<String>) -> Self {
        Self(vec![Part::Literal(text.into())])
    }

    /// The text with its secrets in place. A secret without a value is a bug: `build` reads all that the plan names.
    #[must_use]
    pub fn reveal(&self, secrets: &Secrets) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.as_str(),
                Part::Secret(name) => secrets.0[name].expose_secret(),
            })
            .collect()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Secret(name) => write!(f, "<secret {name}>"),
        })
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor(pairs: &[(&str, &str)]) -> Redactor {
        let mut secrets = Secrets::default();
        for (name, value) in pairs {
            secrets.insert((*name).to_owned(), SecretString::from(*value));
        }
        Redactor::new(&secrets)
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_written() {
        let redactor = redactor(&[
            ("token", "s3cr/t 'q\"$x"),
            ("pem", "-----BEGIN-----\nAbCdEfGh\nxyz\n-----END-----"),
            ("long", "hunter2hunter2"),
            ("short", "hunter2"),
        ]);
        for (text, expected) in [
            ("nothing here", "nothing here"),
            ("is s3cr/t 'q\"$x!", "is <secret token>!"),
            ("b64 czNjci90ICdxIiR4.", "b64 <secret token>."),
            ("b64 czNjci90ICdxIiR4Cg==.", "b64 <secret token>."),
            ("u?t=s3cr%2Ft%20%27q%22%24x&", "u?t=<secret token>&"),
            ("u?t=s3cr%2ft%20%27q%22%24x&", "u?t=<secret token>&"),
            ("u?t=s3cr%2Ft+%27q%22%24x&", "u?t=<secret token>&"),
            (r#"'s3cr/t '\''q"$x'"#, "'<secret token>'"),
            (r#""s3cr/t 'q\"\$x""#, "\"<secret token>\""),
            (r#"s3cr/t\ \'q\"\$x"#, "<secret token>"),
            (r#"{"v":"s3cr/t 'q\"$x"}"#, r#"{"v":"<secret token>"}"#),
            ("line AbCdEfGh", "line <secret pem>"),
            ("line QWJDZEVmR2g=", "line <secret pem>"),
            ("xyz is too short a line", "xyz is too short a line"),
            ("hunter2hunter2 hunter2", "<secret long> <secret short>"),
        ] {
            assert_eq!(redactor.redact(text), expected, "redacting {text:?}");
        }
    }

    #[test]
    fn a_secret_is_hidden_within_base64_of_something_longer() {
        let redactor = redactor(&[("token", "correct-horse-battery")]);
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "z", "zz"] {
                let text =
                    BASE64.encode(format!("{before}correct-horse-battery{after}").as_bytes());
                let hidden = redactor.redact(&text);
                assert!(
                    hidden.contains("<secret token>"),
                    "{before:?} {after:?}: {hidden}"
                );
                assert!(hidden.len() < 14 + 16, "{before:?} {after:?}: {hidden}");
            }
        }
    }

    #[test]
    fn a_secret_that_is_part_of_a_name_or_a_digit_does_no_harm() {
        let redactor = redactor(&[("a", "secret"), ("b", "0"), ("c", "1")]);
        assert_eq!(
            redactor.redact("secret 0 1"),
            "<secret a> <secret b> <secret c>"
        );
    }

    proptest! {
        #[test]
        fn no_value_survives(value in "\\PC{8,40}", before in "\\PC{0,9}", after in "\\PC{0,9}") {
            // The name is made of nothing that a value of eight characters can be found in.
            let redactor = redactor(&[("n", &value)]);
            let text = format!("{before}{value}{after}");
            let hidden = redactor.redact(&text);
            prop_assert!(hidden.contains("<secret n>"));
        }
    }
}
