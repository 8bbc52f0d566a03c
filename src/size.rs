//! Byte sizes (`4GiB`) and durations (`90s`): parsed strictly, formatted the same way.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serializer;
use thiserror::Error;

/// Unit of the sizes of volumes at AWS.
pub const GIB: u64 = 1 << 30;
const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", GIB),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];
const DURATIONS: [(&str, u64); 4] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
];

/// Text that is not a size or a duration.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidQuantity {
    /// A number without a unit.
    #[error("{text:?} has no unit")]
    NoUnit {
        text: String,
        /// The number with the most likely unit.
        hint: String,
    },
    /// An unknown unit, or no digits.
    #[error("{text:?} is not a {what}")]
    Malformed {
        text: String,
        what: &'static str,
        /// A valid value close to it.
        hint: String,
    },
    #[error("{text:?} is too large")]
    TooLarge { text: String },
}

impl InvalidQuantity {
    /// Returns the hint for the user.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoUnit { hint, .. } | Self::Malformed { hint, .. } => {
                Some(format!("write \"{hint}\""))
            }
            Self::TooLarge { .. } => None,
        }
    }
}

/// Parses a size: a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`; less than 2^63 bytes.
pub fn parse_size(text: &str) -> Result<u64, InvalidQuantity> {
    let (number, unit) = split(text);
    let hint = || match (number, guess(unit, &SIZES)) {
        ("", _) => "4GiB".to_owned(),
        (number, Some(unit)) => format!("{number}{unit}"),
        (number, None) if unit.is_empty() => format!("{number}GiB"),
        _ => "4GiB".to_owned(),
    };
    let bytes = scaled(text, number, unit, &SIZES, "size", hint)?;
    if i64::try_from(bytes).is_err() {
        return Err(InvalidQuantity::TooLarge {
            text: text.to_owned(),
        });
    }
    Ok(bytes)
}

/// Parses a duration: whole numbers with `d`, `h`, `m` or `s`, largest unit first, as in `90s` or `1h30m`; or one number
/// with `ms`.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidQuantity> {
    if let Some(number) = text.strip_suffix("ms") {
        return scaled(text, number, "ms", &[("ms", 1)], "duration", || {
            "500ms".to_owned()
        })
        .map(Duration::from_millis);
    }
    let (mut rest, mut total, mut allowed) = (text, 0_u64, &DURATIONS[..]);
    loop {
        let (number, after) = split(rest);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let unit = after[..unit_end].trim();
        let hint = || match number {
            "" => "90s".to_owned(),
            number => format!("{number}{}", guess(unit, &DURATIONS).unwrap_or("s")),
        };
        let part = scaled(text, number, &after[..unit_end], allowed, "duration", hint)?;
        total = total
            .checked_add(part)
            .ok_or_else(|| InvalidQuantity::TooLarge {
                text: text.to_owned(),
            })?;
        rest = &after[unit_end..];
        if rest.is_empty() {
            return Ok(Duration::from_millis(total));
        }
        let used = allowed
            .iter()
            .position(|(name, _)| *name == &after[..unit_end])
            .unwrap_or(0);
        allowed = &allowed[used + 1..];
    }
}

/// Formats a size with the largest unit that divides it: `4GiB`, `1536MiB`.
pub fn show_size(bytes: u64) -> String {
    let (unit, factor) = SIZES
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// Formats a duration for [`parse_duration`]: `1h30m`, `0s`; `90s` becomes `1m30s`.
pub fn show_duration(duration: Duration) -> String {
    let Ok(mut rest) = u64::try_from(duration.as_millis()) else {
        return format!("{}s", duration.as_secs());
    };
    if rest % 1000 != 0 {
        return format!("{rest}ms");
    }
    let mut text = String::new();
    for (unit, factor) in &DURATIONS[1..] {
        if rest >= *factor {
            // Writing to a String cannot fail.
            let _ = write!(text, "{}{unit}", rest / factor);
            rest %= factor;
        }
    }
    if text.is_empty() {
        return "0s".to_owned();
    }
    text
}

/// Serializes a duration as text, for `#[serde(serialize_with)]`.
pub fn serialize_duration<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&show_duration(*duration))
}

/// Splits off the leading digits.
fn split(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// Returns the unit that starts with the same letter: `GiB` for `GB`, `m` for `minutes`.
fn guess(unit: &str, units: &[(&'static str, u64)]) -> Option<&'static str> {
    let first = unit.chars().next()?;
    let near = units
        .iter()
        .find(|(name, _)| name[..1].eq_ignore_ascii_case(first.encode_utf8(&mut [0; 4])));
    near.map(|(name, _)| *name)
}

fn scaled(
    text: &str,
    number: &str,
    unit: &str,
    units: &[(&str, u64)],
    what: &'static str,
    hint: impl Fn() -> String,
) -> Result<u64, InvalidQuantity> {
    let owned = || text.to_owned();
    if !number.is_empty() && unit.is_empty() {
        return Err(InvalidQuantity::NoUnit {
            text: owned(),
            hint: hint(),
        });
    }
    let factor = units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| *factor);
    let (Some(factor), false) = (
        factor,
        number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()),
    ) else {
        return Err(InvalidQuantity::Malformed {
            text: owned(),
            what,
            hint: hint(),
        });
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| InvalidQuantity::TooLarge { text: owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_strictly() {
        for (text, expected) in [
            ("4GiB", Ok(4 << 30)),
            ("512MiB", Ok(512 << 20)),
            ("0B", Ok(0)),
            ("1TiB", Ok(1 << 40)),
            ("7KiB", Ok(7168)),
            ("4", Err(Some("write \"4GiB\""))),
            ("12345x", Err(Some("write \"4GiB\""))),
            ("4G", Err(Some("write \"4GiB\""))),
            ("4MB", Err(Some("write \"4MiB\""))),
            ("1.5GiB", Err(Some("write \"4GiB\""))),
            ("GiB", Err(Some("write \"4GiB\""))),
            ("-1GiB", Err(Some("write \"4GiB\""))),
            (" 1GiB", Err(Some("write \"4GiB\""))),
            ("4é", Err(Some("write \"4GiB\""))),
            ("", Err(Some("write \"4GiB\""))),
            ("99999999999TiB", Err(None)),
            ("99999999999999999999B", Err(None)),
            ("8388608TiB", Err(None)),
        ] {
            let got = parse_size(text).map_err(|error| error.help());
            assert_eq!(
                got,
                expected.map_err(|help| help.map(str::to_owned)),
                "reading {text:?}"
            );
        }
    }

    #[test]
    fn durations_are_read_strictly() {
        for (text, expected) in [
            ("90s", Ok(90_000)),
            ("10m", Ok(600_000)),
            ("1h30m", Ok(5_400_000)),
            ("2d", Ok(172_800_000)),
            ("500ms", Ok(500)),
            ("0s", Ok(0)),
            ("90", Err(Some("write \"90s\""))),
            ("5sec", Err(Some("write \"5s\""))),
            ("30m1h", Err(Some("write \"1h\""))),
            ("1m1m", Err(Some("write \"1m\""))),
            ("5 minutes", Err(Some("write \"5m\""))),
            ("soon", Err(Some("write \"90s\""))),
            ("ms", Err(Some("write \"500ms\""))),
            ("99999999999999999999s", Err(None)),
            ("18446744073709551615d", Err(None)),
        ] {
            let got = parse_duration(text)
                .map(|d| d.as_millis())
                .map_err(|error| error.help());
            assert_eq!(
                got,
                expected.map_err(|help| help.map(str::to_owned)),
                "reading {text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_size_survives_being_shown(bytes in 0..=i64::MAX.unsigned_abs()) {
            prop_assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn a_duration_survives_being_shown(millis in 0..u64::from(u32::MAX)) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            let _ = (parse_size(&text), parse_duration(&text));
        }
    }
}
