//! Alpine versions, in the order of `apk version --test`.

use std::cmp::Ordering;

const BEFORE: [&str; 4] = ["alpha", "beta", "pre", "rc"];
const AFTER: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

/// Longest number that fits apk's integer.
const MAX_DIGITS: usize = 17;

/// Kind of the next part. The order is that of a version's parts, and decides if one version ends before the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum PartKind {
    /// After a dot: a leading zero makes it a fraction.
    Component,
    Digits,
    Letter,
    Suffix,
    SuffixNumber,
    Revision,
    End,
    /// Sorts after the end: an invalid part makes a version older.
    Invalid,
}

/// Compares two versions. Any text is accepted; an invalid part ends a version.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (Reader::new(left), Reader::new(right));
    let (mut one, mut other) = (0, 0);
    while left.next == right.next
        && !matches!(left.next, PartKind::End | PartKind::Invalid)
        && one == other
    {
        one = left.take();
        other = right.take();
    }
    if one != other {
        return one.cmp(&other);
    }
    // Equal up to where one ends. The longer one is newer, unless it continues with a pre-release suffix.
    if left.next != right.next {
        if left.next == PartKind::Suffix && left.clone().take() < 0 {
            return Ordering::Less;
        }
        if right.next == PartKind::Suffix && right.clone().take() < 0 {
            return Ordering::Greater;
        }
    }
    right.found().cmp(&left.found())
}

#[derive(Clone)]
struct Reader<'a> {
    rest: &'a [u8],
    next: PartKind,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text.as_bytes(),
            next: PartKind::Digits,
        }
    }

    /// Takes the value of the next part.
    fn take(&mut self) -> i64 {
        let Some(&first) = self.rest.first() else {
            self.next = PartKind::End;
            return 0;
        };
        let (value, length) = match self.next {
            PartKind::Component if first == b'0' => {
                let zeros = self.rest.iter().take_while(|&&byte| byte == b'0').count();
                self.rest = &self.rest[zeros..];
                self.next = if self.rest.is_empty() {
                    PartKind::End
                } else {
                    PartKind::Digits
                };
                return i64::try_from(zeros).map_or(i64::MIN, |zeros| -zeros);
            }
            PartKind::Component
            | PartKind::Digits
            | PartKind::SuffixNumber
            | PartKind::Revision => {
                let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit());
                let length = digits.clone().count();
                if length > MAX_DIGITS {
                    return self.fail();
                }
                let number = digits.fold(0, |value, byte| value * 10 + i64::from(byte - b'0'));
                (number, length)
            }
            PartKind::Letter => (i64::from(first), 1),
            PartKind::Suffix => match suffix(self.rest) {
                Some(found) => found,
                None => return self.fail(),
            },
            PartKind::Invalid | PartKind::End => return self.fail(),
        };
        self.rest = &self.rest[length..];
        self.advance();
        value
    }

    /// Returns the kind of the next part if the other version has another one: an announced number must follow.
    fn found(&self) -> PartKind {
        let announced = matches!(self.next, PartKind::Component | PartKind::Revision);
        match self.rest.first() {
            Some(byte) if announced && !byte.is_ascii_digit() => PartKind::Invalid,
            _ => self.next,
        }
    }

    fn fail(&mut self) -> i64 {
        self.next = PartKind::Invalid;
        -1
    }

    /// Determines the kind of the next part and skips its separator.
    fn advance(&mut self) {
        let Some(&first) = self.rest.first() else {
            self.next = PartKind::End;
            return;
        };
        let (next, length) = match (self.next, first) {
            (PartKind::Component | PartKind::Digits, b'a'..=b'z') => (PartKind::Letter, 0),
            (PartKind::Letter, b'0'..=b'9') => (PartKind::Digits, 0),
            (PartKind::Suffix, b'0'..=b'9') => (PartKind::SuffixNumber, 0),
            (_, b'.') => (PartKind::Component, 1),
            (_, b'_') => (PartKind::Suffix, 1),
            (_, b'-') if self.rest.get(1) == Some(&b'r') => (PartKind::Revision, 2),
            _ => (PartKind::Invalid, 1),
        };
        self.rest = &self.rest[length..];
        let back = matches!(
            (self.next, next),
            (PartKind::Digits, PartKind::Component)
                | (PartKind::SuffixNumber, PartKind::Suffix)
                | (PartKind::Letter, PartKind::Digits)
        );
        self.next = if next >= self.next || back {
            next
        } else {
            PartKind::Invalid
        };
    }
}

/// Returns the weight of a suffix, negative for a pre-release, and its length.
fn suffix(text: &[u8]) -> Option<(i64, usize)> {
    let before = BEFORE.iter().zip(-4..);
    before
        .chain(AFTER.iter().zip(0..))
        .find(|(name, _)| text.starts_with(name.as_bytes()))
        .map(|(name, weight)| (weight, name.len()))
}
