//! Debian versions, in exactly dpkg's order.

use std::cmp::Ordering;

use thiserror::Error;

/// `[epoch:]upstream[-revision]`. Versions are equal if dpkg considers neither newer, as `1.0` and `0:1.0-0`.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    epoch: u32,
    upstream: &'a str,
    revision: &'a str,
}

/// A version that dpkg rejects.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("invalid Debian version {text:?}: {why}")]
pub struct InvalidVersion {
    text: String,
    why: &'static str,
}

impl<'a> Version<'a> {
    /// Parses a version as leniently as dpkg does in its status file, where unusual characters are accepted.
    pub fn parse(text: &'a str) -> Result<Self, InvalidVersion> {
        Self::read(text).map_err(|why| InvalidVersion {
            text: text.to_owned(),
            why,
        })
    }

    fn read(text: &'a str) -> Result<Self, &'static str> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err("empty version");
        }
        if text.contains(|character: char| character.is_ascii_whitespace()) {
            return Err("embedded spaces");
        }
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (read_epoch(epoch)?, rest),
            None => (0, text),
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            Some((_, "")) => return Err("empty revision"),
            Some(parts) => parts,
            None => (rest, ""),
        };
        if upstream.is_empty() {
            return Err("empty upstream version");
        }
        Ok(Self {
            epoch,
            upstream,
            revision,
        })
    }
}

/// dpkg stores the epoch in an `int`.
fn read_epoch(text: &str) -> Result<u32, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("epoch is not a number");
    }
    match text.parse() {
        Ok(epoch) if epoch <= i32::MAX.unsigned_abs() => Ok(epoch),
        _ => Err("epoch is too large"),
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare(self.upstream, other.upstream))
            .then_with(|| compare(self.revision, other.revision))
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version<'_> {}

/// Compares runs of non-digits and runs of digits in turn, up to the first difference.
fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        let order = words(&mut left, &mut right).then_with(|| numbers(&mut left, &mut right));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn words(left: &mut &[u8], right: &mut &[u8]) -> Ordering {
    let in_word = |bytes: &[u8]| bytes.first().is_some_and(|byte| !byte.is_ascii_digit());
    while in_word(left) || in_word(right) {
        let order = weight(left.first()).cmp(&weight(right.first()));
        if order.is_ne() {
            return order;
        }
        *left = left.get(1..).unwrap_or_default();
        *right = right.get(1..).unwrap_or_default();
    }
    Ordering::Equal
}

/// `~` sorts before the end, the end (or a digit) before letters, and letters before everything else.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None | Some(b'0'..=b'9') => 0,
        Some(b'~') => -1,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

/// Numbers have any length, so they are compared as text: without leading zeros, the longer one is greater.
fn numbers(left: &mut &[u8], right: &mut &[u8]) -> Ordering {
    let (left, right) = (number(left), number(right));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

fn number<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    let (number, rest) = bytes.split_at(digits.count());
    *bytes = rest;
    let zeros = number.iter().take_while(|digit| **digit == b'0');
    &number[zeros.count()..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(left: &str, right: &str) -> Ordering {
        Version::parse(left)
            .unwrap()
            .cmp(&Version::parse(right).unwrap())
    }

    #[test]
    fn versions_have_the_order_of_dpkg() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, expected) in [
            ("1.0", "1.0", Equal),
            ("1.0", "0:1.0-0", Equal),
            ("1.0-1", "1.0-01", Equal),
            ("1.0~rc1", "1.0", Less),
            ("1.0~~", "1.0~", Less),
            ("1.0~~a", "1.0~", Less),
            ("1.0a", "1.0+", Less),
            ("1.0Z", "1.0a", Less),
            ("1.2", "1.10", Less),
            ("1:0.1", "9", Greater),
            ("1.0-1+deb12u1", "1.0-1", Greater),
            ("7.88.1-10+deb12u12", "7.88.1-10+deb12u5", Greater),
            ("1-2-3", "1-2-4", Less),
            ("18446744073709551616", "18446744073709551617", Less),
            (" 2.1 ", "2.1", Equal),
        ] {
            assert_eq!(order(left, right), expected, "{left} against {right}");
            assert_eq!(
                order(right, left),
                expected.reverse(),
                "{right} against {left}"
            );
        }
    }

    #[test]
    fn what_dpkg_rejects_is_rejected() {
        for (text, why) in [
            ("", "empty version"),
            ("1 2", "embedded spaces"),
            (":1", "epoch is not a number"),
            ("a:1", "epoch is not a number"),
            ("2147483648:1", "epoch is too large"),
            ("0:", "empty upstream version"),
            ("-1", "empty upstream version"),
            ("1.0-", "empty revision"),
        ] {
            let error = Version::parse(text).unwrap_err();
            assert_eq!(error.why, why, "reading {text:?}");
        }
    }

    #[test]
    fn versions_are_accepted_and_rejected_as_by_dpkg() {
        let table = include_str!("../../../tests/data/versions/debian-validity.tsv");
        for (verdict, text) in table.lines().filter_map(|row| row.split_once('\t')) {
            let is_valid = Version::parse(text).is_ok();
            assert_eq!(is_valid, verdict == "accept", "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(texts in prop::array::uniform3("[0-9]{1,2}[a-c0-9.~+-]{0,6}[a1]")) {
            let [a, b, c] = texts.each_ref().map(|text| Version::parse(text).unwrap());
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
