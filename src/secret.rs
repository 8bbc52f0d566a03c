//! Secret values: text that refers to them, and the filter that removes them from all output.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use aho_corasick::AhoCorasick;
use data_encoding::{BASE64, BASE64URL, Encoding};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

/// A string of a template in which secrets are still names, so that it is safe to show and to record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text(Vec<TextPart>);

/// A piece of [`Text`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TextPart {
    /// Text as the template has it.
    Literal(String),
    /// Name of the secret whose value goes here.
    Secret(String),
}

/// The values of a build's secrets, by name.
#[derive(Clone, Default)]
pub struct Secrets(std::collections::BTreeMap<String, SecretString>);

impl Secrets {
    /// Sets the value of a secret.
    pub fn insert(&mut self, name: String, value: SecretString) {
        self.0.insert(name, value);
    }

    /// Returns the name and value of each secret, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}

/// Shorter lines of a secret are not hidden: they would blot out ordinary words, and reveal little.
const MIN_LINE_CHARS: usize = 4;
/// Fewer characters of base64 would be found in unrelated data.
const MIN_BASE64_CHARS: usize = 6;
/// Characters to percent-encode: all but the unreserved ones of RFC 3986, 2.3.
pub(crate) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Replaces the values of secrets in everything that is shown, verbatim or encoded: base64, percent-encoding, quoting for
/// a shell or for JSON. Lines of a value are replaced on their own, too.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Finds every pattern in one pass.
    patterns: Option<AhoCorasick>,
    /// The text shown in place of each pattern.
    replacements: Vec<String>,
    /// Bytes of the longest pattern.
    longest: usize,
}

impl Redactor {
    /// Returns a redactor for these secrets.
    ///
    /// # Panics
    /// If the secrets are larger than 2 GiB.
    #[must_use]
    pub fn new(secrets: &Secrets) -> Self {
        let (mut patterns, mut replacements) = (Vec::new(), Vec::new());
        for (name, value) in secrets.iter() {
            let lines = value.lines().map(str::trim);
            let lines = lines.filter(|line| line.chars().count() >= MIN_LINE_CHARS);
            let values = std::iter::once(value).chain(lines);
            patterns.extend(values.flat_map(disguises).collect::<BTreeSet<_>>());
            replacements.resize(patterns.len(), format!("<secret {name}>"));
        }
        let longest = patterns.iter().map(String::len).max();
        let build = || AhoCorasick::new(&patterns).expect("secrets are smaller than 2 GiB");
        Self {
            patterns: (!patterns.is_empty()).then(build),
            replacements,
            longest: longest.unwrap_or_default(),
        }
    }

    /// Returns the size of the longest text that is hidden, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Returns the text with every secret replaced by its name. Where secrets overlap, the longest gives the name.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let matches = self.patterns.iter().flat_map(|patterns| {
            let matches = patterns.find_overlapping_iter(text);
            matches.map(|found| (found.range(), found.pattern().as_usize()))
        });
        let matches = merge_overlaps(matches.collect());
        if matches.is_empty() {
            return Cow::Borrowed(text);
        }
        let (mut redacted, mut done) = (String::new(), 0);
        for (range, pattern) in matches {
            redacted.push_str(&text[done..range.start]);
            redacted.push_str(&self.replacements[pattern]);
            done = range.end;
        }
        redacted.push_str(&text[done..]);
        Cow::Owned(redacted)
    }
}

/// Merges overlapping matches into one, which keeps the pattern of the longest; sorts them by position.
fn merge_overlaps(mut matches: Vec<(Range<usize>, usize)>) -> Vec<(Range<usize>, usize)> {
    matches.sort_by_key(|(range, pattern)| (range.start, std::cmp::Reverse(range.end), *pattern));
    let mut merged: Vec<(Range<usize>, usize)> = Vec::new();
    let mut longest = 0;
    for (range, pattern) in matches {
        match merged.last_mut() {
            Some((before, named)) if range.start < before.end => {
                before.end = before.end.max(range.end);
                if range.len() > longest {
                    (*named, longest) = (pattern, range.len());
                }
            }
            _ => {
                longest = range.len();
                merged.push((range, pattern));
            }
        }
    }
    merged
}

/// Returns the forms in which a value may appear in text.
pub(crate) fn disguises(value: &str) -> Vec<String> {
    if value.is_empty() {
        return Vec::new();
    }
    let mut forms = vec![value.to_owned(), value.trim_end_matches('\n').to_owned()];
    if value.chars().count() >= MIN_LINE_CHARS {
        for encoding in [BASE64, BASE64URL] {
            forms.extend(in_base64(&encoding, value.as_bytes()));
            // `echo "$TOKEN" | base64` encodes a newline too.
            forms.extend(in_base64(&encoding, format!("{value}\n").as_bytes()));
        }
    }
    let percent = utf8_percent_encode(value, UNRESERVED).to_string();
    forms.extend([
        lower_case_escapes(&percent),
        percent.replace("%20", "+"),
        percent,
        value.replace('\'', r"'\''"),
        value.replace('\'', r#"'"'"'"#),
        // `printf %q` in a shell.
        backslashed(value, |c| !c.is_alphanumeric() && !"_-./:=@%+,".contains(c)),
        // Between double quotes in a shell.
        backslashed(value, |c| "\\\"$`".contains(c)),
    ]);
    forms.extend(shlex::try_quote(value).map(Cow::into_owned));
    if let Ok(json) = serde_json::to_string(value) {
        forms.push(json[1..json.len() - 1].to_owned());
    }
    forms.retain(|form| !form.is_empty());
    forms
}

/// Returns the value in base64 on its own, and for each of the three alignments of its bytes with base64's groups of three
/// the part that does not depend on the neighbouring bytes.
fn in_base64(encoding: &Encoding, bytes: &[u8]) -> Vec<String> {
    let whole = encoding.encode(bytes);
    let mut forms = vec![whole.trim_end_matches('=').to_owned(), whole];
    for before in 0..3 {
        let encoded = encoding.encode(&[&[0; 2][..before], bytes].concat());
        // Characters that hold bits of a neighbour differ from text to text.
        let start = (before * 8).div_ceil(6);
        let end = (before + bytes.len()) * 8 / 6;
        if end >= start + MIN_BASE64_CHARS {
            forms.push(encoded[start..end].to_owned());
        }
    }
    forms
}

/// Turns percent escapes such as `%2F` into lower case.
fn lower_case_escapes(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut lower = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at(2);
        lower.extend(["%", &code.to_lowercase(), rest]);
    }
    lower
}

/// Puts a backslash in front of the characters that are `special`.
fn backslashed(value: &str, special: impl Fn(char) -> bool) -> String {
    let escape = |c| special(c).then_some('\\').into_iter().chain([c]);
    value.chars().flat_map(escape).collect()
}

impl Text {
    /// Returns the text that consists of these parts.
    #[must_use]
    pub fn new(parts: Vec<TextPart>) -> Self {
        Self(parts)
    }

    /// Returns a text that refers to no secret.
    #[must_use]
    pub fn literal(text: impl Into<String>) -> Self {
        Self(vec![TextPart::Literal(text.into())])
    }

    /// Returns the text with the values of its secrets. A secret without a value is a bug: `build` reads all that the plan
    /// names.
    #[must_use]
    pub fn reveal(&self, secrets: &Secrets) -> String {
        self.0
            .iter()
            .map(|part| match part {
                TextPart::Literal(text) => text.as_str(),
                TextPart::Secret(name) => secrets.0[name].expose_secret(),
            })
            .collect()
    }

    /// Returns the text with a variable of a shell in place of each secret: a word whose value is unknown.
    pub(crate) fn for_shell(&self) -> String {
        let parts = self.0.iter().map(|part| match part {
            TextPart::Literal(text) => text.clone(),
            TextPart::Secret(name) => format!("${{{name}}}"),
        });
        parts.collect()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            TextPart::Literal(text) => f.write_str(text),
            TextPart::Secret(name) => write!(f, "<secret {name}>"),
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

    #[test]
    fn overlapping_secrets_are_hidden_as_one() {
        let redactor = redactor(&[("a", "abcdefgh"), ("b", "efghijklm"), ("c", "fghi")]);
        for (text, expected) in [
            ("<abcdefghijklm>", "<<secret b>>"),
            ("abcdefghijkl", "<secret a>jkl"),
            ("abcdefghabcdefgh", "<secret a><secret a>"),
            ("xefghijklmabcdefgh", "x<secret b><secret a>"),
            ("ähm fghi", "ähm <secret c>"),
        ] {
            assert_eq!(redactor.redact(text), expected, "redacting {text:?}");
        }
        assert_eq!(Redactor::default().redact("abcdefgh"), "abcdefgh");
    }

    #[test]
    fn the_markers_of_other_programs_are_left_alone() {
        let redactor = redactor(&[("a", "0"), ("b", "value")]);
        let text = "\u{FDD0}1\u{FDD1} value 0";
        let expected = "\u{FDD0}1\u{FDD1} <secret b> <secret a>";
        assert_eq!(redactor.redact(text), expected);
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
