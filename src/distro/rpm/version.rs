//! RPM versions, in the order of `rpmvercmp`.

use std::cmp::Ordering;

/// `[epoch:]version[-release]`. Any text is valid. Versions are equal if RPM considers neither newer.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    epoch: u64,
    main: &'a str,
    release: Option<&'a str>,
}

impl<'a> Version<'a> {
    /// Splits a version. A prefix before a colon that is not a number belongs to the version.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let epoch = text.split_once(':').and_then(|(epoch, rest)| {
            let is_number = epoch.bytes().all(|byte| byte.is_ascii_digit());
            Some((epoch.parse().ok().filter(|_| is_number)?, rest))
        });
        let (epoch, rest) = epoch.unwrap_or((0, text));
        let (main, release) = match rest.rsplit_once('-') {
            Some((main, release)) => (main, Some(release)),
            None => (rest, None),
        };
        Self {
            epoch,
            main,
            release,
        }
    }
}

impl Ord for Version<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let release = || match (self.release, other.release) {
            (Some(left), Some(right)) => compare(left, right),
            (left, right) => left.is_some().cmp(&right.is_some()),
        };
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare(self.main, other.main))
            .then_with(release)
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

/// Compares segments of digits and of letters in turn. Other characters only separate them, except `~` and `^`.
fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    loop {
        (left, right) = (skip(left), skip(right));
        let order = rank(left).cmp(&rank(right));
        if order.is_ne() {
            return order;
        }
        match (left.first(), right.first()) {
            (None, _) | (_, None) => return Ordering::Equal,
            (Some(b'~' | b'^'), _) => (left, right) = (&left[1..], &right[1..]),
            (Some(one), Some(other)) => {
                let (number, other) = (one.is_ascii_digit(), other.is_ascii_digit());
                // A number is newer than letters.
                let order = number
                    .cmp(&other)
                    .then_with(|| segments(&mut left, &mut right, number));
                if order.is_ne() {
                    return order;
                }
            }
        }
    }
}

/// `~` sorts before everything, including the end; `^` sorts after the end and before everything else.
fn rank(rest: &[u8]) -> u8 {
    match rest.first() {
        Some(b'~') => 0,
        None => 1,
        Some(b'^') => 2,
        Some(_) => 3,
    }
}

fn skip(bytes: &[u8]) -> &[u8] {
    let parting = |byte: &&u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'~' | b'^');
    &bytes[bytes.iter().take_while(parting).count()..]
}

fn segments(left: &mut &[u8], right: &mut &[u8], number: bool) -> Ordering {
    let (left, right) = (segment(left, number), segment(right, number));
    if number {
        // Numbers have any length, so they are compared as text: without leading zeros, the longer one is greater.
        left.len().cmp(&right.len()).then_with(|| left.cmp(right))
    } else {
        left.cmp(right)
    }
}

fn segment<'a>(bytes: &mut &'a [u8], number: bool) -> &'a [u8] {
    let is_in = |byte: &&u8| byte.is_ascii_alphanumeric() && byte.is_ascii_digit() == number;
    let (segment, rest) = bytes.split_at(bytes.iter().take_while(is_in).count());
    *bytes = rest;
    let zeros = segment.iter().take_while(|byte| number && **byte == b'0');
    &segment[zeros.count()..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_have_the_order_of_rpm() {
        use Ordering::{Equal, Greater, Less};
        for (left, right, expected) in [
            ("1.0-1", "0:1.0-1", Equal),
            ("1.0", "1_0", Equal),
            ("1.0.", "1.0", Equal),
            ("1.05", "1.5", Equal),
            ("1.9", "1.10", Less),
            ("1.0a", "1.0", Greater),
            ("1.0a", "1.0.1", Less),
            ("1.0~rc1", "1.0", Less),
            ("1.0^git1", "1.0", Greater),
            ("1.0^git1", "1.0.1", Less),
            ("1.0^git1~pre", "1.0^git1", Less),
            ("1:0.1-1", "9-1", Greater),
            ("1-2.fc38", "1-10.fc38", Less),
            ("18446744073709551616", "18446744073709551617", Less),
        ] {
            let order = Version::new(left).cmp(&Version::new(right));
            assert_eq!(order, expected, "{left} against {right}");
            let order = Version::new(right).cmp(&Version::new(left));
            assert_eq!(order, expected.reverse(), "{right} against {left}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(texts in prop::array::uniform3("([0-9]:)?[0-9a-c.~^_]{1,6}(-[0-9a]{1,2})?")) {
            let [a, b, c] = texts.each_ref().map(|text| Version::new(text));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
