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
        /// Advice that contains a valid value.
        help: String,
    },
    /// An unknown unit, or no digits.
    #[error("{text:?} is not a {what}")]
    Malformed {
        text: String,
        what: &'static str,
        /// Advice that contains a valid value.
        help: String,
    },
    #[error("{text:?} is too large")]
    TooLarge { text: String },
}

impl InvalidQuantity {
    /// Returns advice for the user: the value that the text probably means, or an example.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::NoUnit { help, .. } | Self::Malformed { help, .. } => Some(help),
            Self::TooLarge { .. } => None,
        }
    }
}

/// Parses a size: a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`; less than 2^63 bytes.
pub fn parse_size(text: &str) -> Result<u64, InvalidQuantity> {
    let (number, unit) = split(text);
    let help = || advice(suggest_size(text), "4GiB");
    let bytes = scaled(text, number, unit, &SIZES, "size", help)?;
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
    let help = || advice(suggest_duration(text), "90s");
    if let Some(number) = text.strip_suffix("ms") {
        return scaled(text, number, "ms", &[("ms", 1)], "duration", help)
            .map(Duration::from_millis);
    }
    let (mut rest, mut total, mut allowed) = (text, 0_u64, &DURATIONS[..]);
    loop {
        let (number, after) = split(rest);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let part = scaled(text, number, &after[..unit_end], allowed, "duration", help)?;
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

/// Parses a duration; the text of the error contains the advice.
pub fn duration_argument(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| with_help(&error))
}

/// Parses a size; the text of the error contains the advice.
pub fn size_argument(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(|error| with_help(&error))
}

fn with_help(error: &InvalidQuantity) -> String {
    match error.help() {
        Some(help) => format!("{error}; {help}"),
        None => error.to_string(),
    }
}

fn advice(suggestion: Option<String>, example: &str) -> String {
    match suggestion {
        Some(value) => format!("write \"{value}\""),
        None => format!("write a number and a unit, as in \"{example}\""),
    }
}

/// Returns the size that wrong text probably means.
fn suggest_size(text: &str) -> Option<String> {
    let (part, rest) = LoosePart::read(text)?;
    if !rest.is_empty() {
        return None;
    }
    let unit = match part.unit {
        // Packer's `memory` and `disk_size` are MiB. A person who writes `4` or `60` means GiB, one who writes
        // `1073741824` means bytes.
        "" if part.whole < 256 => "GiB",
        "" if part.whole < 1 << 28 => "MiB",
        "" => "B",
        unit => guess(unit, &SIZES)?,
    };
    let size = match part.fraction {
        "" => format!("{}{unit}", part.whole),
        _ => show_size(part.times(factor_of(unit, &SIZES)?)?),
    };
    parse_size(&size).is_ok().then_some(size)
}

/// Returns the duration that wrong text probably means.
fn suggest_duration(text: &str) -> Option<String> {
    let (mut parts, mut total) = (Vec::new(), 0_u64);
    let mut rest = text;
    loop {
        let (part, after) = LoosePart::read(rest)?;
        let unit = part.unit.to_ascii_lowercase();
        let (count, unit) = match unit.as_str() {
            "" => (1, "s"),
            unit if unit.starts_with("mo") => return None,
            unit if unit == "ms" || unit.starts_with("mil") => (1, "ms"),
            unit if unit.starts_with('w') => (7, "d"),
            unit => (1, guess(unit, &DURATIONS)?),
        };
        let factor = factor_of(unit, &DURATIONS).unwrap_or(1) * count;
        total = total.checked_add(part.times(factor)?)?;
        parts.push((part.whole.checked_mul(count)?, part.fraction, unit));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let duration = match parts[..] {
        [(number, "", unit)] => format!("{number}{unit}"),
        _ => show_duration(Duration::from_millis(total)),
    };
    parse_duration(&duration).is_ok().then_some(duration)
}

/// A number and a unit as people write them: `1.5 GB`, `-1GiB`, `5 minutes`.
struct LoosePart<'a> {
    whole: u64,
    /// Digits behind the decimal point.
    fraction: &'a str,
    unit: &'a str,
}

impl<'a> LoosePart<'a> {
    /// Reads one part; returns the rest of the text too.
    fn read(text: &'a str) -> Option<(Self, &'a str)> {
        let (whole, rest) = split(text.trim_start_matches(['-', '+', ' ', '\t']));
        let (fraction, rest) = match rest.strip_prefix(['.', ',']) {
            Some(after) => split(after),
            None => ("", rest),
        };
        let rest = rest.trim();
        let unit_end = rest.find(|c: char| !c.is_ascii_alphabetic());
        let (unit, rest) = rest.split_at(unit_end.unwrap_or(rest.len()));
        let whole = whole.parse().ok()?;
        Some((
            Self {
                whole,
                fraction,
                unit,
            },
            rest.trim(),
        ))
    }

    fn times(&self, factor: u64) -> Option<u64> {
        let digits = self.fraction.get(..6).unwrap_or(self.fraction);
        let fraction = match digits {
            "" => 0,
            _ => {
                digits.parse::<u64>().ok()?.checked_mul(factor)?
                    / 10_u64.pow(u32::try_from(digits.len()).ok()?)
            }
        };
        self.whole.checked_mul(factor)?.checked_add(fraction)
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

fn factor_of(unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    let found = units.iter().find(|(name, _)| *name == unit);
    found.map(|(_, factor)| *factor)
}

fn scaled(
    text: &str,
    number: &str,
    unit: &str,
    units: &[(&str, u64)],
    what: &'static str,
    help: impl Fn() -> String,
) -> Result<u64, InvalidQuantity> {
    let owned = || text.to_owned();
    if !number.is_empty() && unit.is_empty() {
        return Err(InvalidQuantity::NoUnit {
            text: owned(),
            help: help(),
        });
    }
    let (Some(factor), false) = (
        factor_of(unit, units),
        number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()),
    ) else {
        return Err(InvalidQuantity::Malformed {
            text: owned(),
            what,
            help: help(),
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

    /// Returns the value that advice puts between quotes.
    fn quoted(help: &str) -> String {
        help.split('"').nth(1).unwrap().to_owned()
    }

    #[test]
    fn sizes_are_read_strictly() {
        for (text, expected) in [
            ("4GiB", Ok(4 << 30)),
            ("512MiB", Ok(512 << 20)),
            ("0B", Ok(0)),
            ("1TiB", Ok(1 << 40)),
            ("7KiB", Ok(7168)),
            ("4", Err(Some("4GiB"))),
            ("60", Err(Some("60GiB"))),
            ("512", Err(Some("512MiB"))),
            ("1024", Err(Some("1024MiB"))),
            ("40960", Err(Some("40960MiB"))),
            ("1073741824", Err(Some("1073741824B"))),
            ("12345x", Err(Some("4GiB"))),
            ("4G", Err(Some("4GiB"))),
            ("4MB", Err(Some("4MiB"))),
            ("1 gib", Err(Some("1GiB"))),
            ("1.5GiB", Err(Some("1536MiB"))),
            ("1,5 gb", Err(Some("1536MiB"))),
            ("GiB", Err(Some("4GiB"))),
            ("-1GiB", Err(Some("1GiB"))),
            (" 1GiB", Err(Some("1GiB"))),
            ("1GiB 2MiB", Err(Some("4GiB"))),
            ("4é", Err(Some("4GiB"))),
            ("", Err(Some("4GiB"))),
            ("99999999999TB", Err(Some("4GiB"))),
            ("99999999999TiB", Err(None)),
            ("99999999999999999999B", Err(None)),
            ("8388608TiB", Err(None)),
        ] {
            let got = parse_size(text).map_err(|error| error.help().map(quoted));
            let expected = expected.map_err(|value| value.map(str::to_owned));
            assert_eq!(got, expected, "reading {text:?}");
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
            ("90", Err(Some("90s"))),
            ("5sec", Err(Some("5s"))),
            ("30m1h", Err(Some("1h30m"))),
            ("1m1m", Err(Some("2m"))),
            ("5 minutes", Err(Some("5m"))),
            ("1h 30 min", Err(Some("1h30m"))),
            ("1.5h", Err(Some("1h30m"))),
            ("1 week", Err(Some("7d"))),
            ("2W", Err(Some("14d"))),
            ("-5m", Err(Some("5m"))),
            ("1 month", Err(Some("90s"))),
            ("20 millis", Err(Some("20ms"))),
            ("soon", Err(Some("90s"))),
            ("ms", Err(Some("90s"))),
            ("99999999999999999999s", Err(None)),
            ("18446744073709551615d", Err(None)),
        ] {
            let got = parse_duration(text)
                .map(|duration| duration.as_millis())
                .map_err(|error| error.help().map(quoted));
            let expected = expected.map_err(|value| value.map(str::to_owned));
            assert_eq!(got, expected, "reading {text:?}");
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
        fn the_advice_for_any_text_is_a_valid_value(text in "(.*|[-+]?[0-9]{0,22}[.,]?[0-9]{0,9} ?[a-zA-Z]{0,4}( ?[0-9]{1,3} ?[a-z]{0,3})?)") {
            if let Err(error) = parse_size(&text) && let Some(help) = error.help() {
                prop_assert!(parse_size(&quoted(help)).is_ok(), "{help}");
            }
            if let Err(error) = parse_duration(&text) && let Some(help) = error.help() {
                prop_assert!(parse_duration(&quoted(help)).is_ok(), "{help}");
            }
        }
    }
}
