//! Byte sizes (`4GiB`) and durations (`90s`): parsed strictly, formatted the same way.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serializer;
use thiserror::Error;

use suggestion::{suggest_duration, suggest_size};

mod suggestion;

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

/// Use of a size. Decides what a number without a unit means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SizeUse {
    /// Memory or a disk. Packer writes these in MiB.
    Machine,
    /// A volume at AWS, in whole GiB.
    Volume,
}

/// Use of a duration. Decides what a number without a unit means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DurationUse {
    /// A time to wait, in seconds.
    Wait,
    /// A time limit, in seconds. Not zero.
    Limit,
    /// An age or a time to keep something, in days.
    Age,
}

impl DurationUse {
    fn example(self) -> &'static str {
        match self {
            Self::Wait | Self::Limit => "90s",
            Self::Age => "30d",
        }
    }
}

/// Text that is not a size or a duration.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidQuantity {
    /// A number without a unit.
    #[error("{text:?} has no unit")]
    NoUnit { text: String, help: String },
    /// An unknown unit, or no digits.
    #[error("{text:?} is not a {what}")]
    Malformed {
        text: String,
        what: &'static str,
        help: String,
    },
    #[error("{text:?} is zero")]
    Zero { text: String, help: String },
    #[error("{text:?} is too large")]
    TooLarge { text: String, help: String },
}

impl InvalidQuantity {
    /// Returns advice for the user. It has a valid value in quotes: the one that the text probably means, or an example.
    pub fn help(&self) -> &str {
        match self {
            Self::NoUnit { help, .. }
            | Self::Malformed { help, .. }
            | Self::Zero { help, .. }
            | Self::TooLarge { help, .. } => help,
        }
    }
}

/// Parses a size: a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`; more than zero and less than 2^63 bytes.
pub fn parse_size(text: &str, usage: SizeUse) -> Result<u64, InvalidQuantity> {
    let example = "4GiB";
    let (number, unit) = split(text);
    let help = || advice(suggest_size(text, usage), example);
    match scaled(text, number, unit, &SIZES, "size", example, help)? {
        0 => Err(InvalidQuantity::Zero {
            text: text.to_owned(),
            help: format!("write a size above zero, as in \"{example}\""),
        }),
        bytes if i64::try_from(bytes).is_err() => Err(too_large(text, example)),
        bytes => Ok(bytes),
    }
}

/// Parses a duration: whole numbers with `d`, `h`, `m` or `s`, largest unit first, as in `90s` or `1h30m`; or one number
/// with `ms`.
pub fn parse_duration(text: &str, usage: DurationUse) -> Result<Duration, InvalidQuantity> {
    let example = usage.example();
    match millis(text, usage)? {
        0 if usage == DurationUse::Limit => Err(InvalidQuantity::Zero {
            text: text.to_owned(),
            help: format!("leave it out for the default, or write a limit, as in \"{example}\""),
        }),
        millis => Ok(Duration::from_millis(millis)),
    }
}

fn millis(text: &str, usage: DurationUse) -> Result<u64, InvalidQuantity> {
    let example = usage.example();
    let help = || advice(suggest_duration(text, usage), example);
    if let Some(number) = text.strip_suffix("ms") {
        return scaled(text, number, "ms", &[("ms", 1)], "duration", example, help);
    }
    let (mut rest, mut total, mut allowed) = (text, 0_u64, &DURATIONS[..]);
    loop {
        let (number, after) = split(rest);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let part = scaled(text, number, unit, allowed, "duration", example, help)?;
        total = total
            .checked_add(part)
            .ok_or_else(|| too_large(text, example))?;
        rest = after;
        if rest.is_empty() {
            return Ok(total);
        }
        let used = allowed.iter().position(|(name, _)| *name == unit);
        allowed = &allowed[used.unwrap_or(0) + 1..];
    }
}

/// Parses the time to wait of an option; the text of the error contains the advice.
pub fn wait_argument(text: &str) -> Result<Duration, String> {
    parse_duration(text, DurationUse::Wait).map_err(|error| with_help(&error))
}

/// Parses an age, such as a retention; the text of the error contains the advice.
pub fn age_argument(text: &str) -> Result<Duration, String> {
    parse_duration(text, DurationUse::Age).map_err(|error| with_help(&error))
}

/// Parses the size of a machine's memory; the text of the error contains the advice.
pub fn size_argument(text: &str) -> Result<u64, String> {
    parse_size(text, SizeUse::Machine).map_err(|error| with_help(&error))
}

fn with_help(error: &InvalidQuantity) -> String {
    format!("{error}; {}", error.help())
}

fn advice(suggestion: Option<String>, example: &str) -> String {
    match suggestion {
        Some(value) => format!("write \"{value}\""),
        None => format!("write a number and a unit, as in \"{example}\""),
    }
}

fn too_large(text: &str, example: &str) -> InvalidQuantity {
    InvalidQuantity::TooLarge {
        text: text.to_owned(),
        help: format!("write a smaller value, as in \"{example}\""),
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
    example: &str,
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
        .ok_or_else(|| too_large(text, example))
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
            ("1TiB", Ok(1 << 40)),
            ("7KiB", Ok(7168)),
            ("4", Err("4GiB")),
            ("60", Err("60GiB")),
            ("512", Err("512MiB")),
            ("1024", Err("1024MiB")),
            ("40960", Err("40960MiB")),
            ("1073741824", Err("1073741824B")),
            ("12345x", Err("4GiB")),
            ("4G", Err("4GiB")),
            ("4MB", Err("4MiB")),
            ("1 gib", Err("1GiB")),
            ("1.5", Err("1536MiB")),
            ("1.5GiB", Err("1536MiB")),
            ("1,5 gb", Err("1536MiB")),
            ("GiB", Err("4GiB")),
            ("-1GiB", Err("1GiB")),
            (" 1GiB", Err("1GiB")),
            ("1GiB 2MiB", Err("4GiB")),
            ("4é", Err("4GiB")),
            ("", Err("4GiB")),
            ("0", Err("4GiB")),
            ("0B", Err("4GiB")),
            ("0.0 GB", Err("4GiB")),
            ("99999999999TB", Err("4GiB")),
            ("99999999999TiB", Err("4GiB")),
            ("99999999999999999999B", Err("4GiB")),
            ("8388608TiB", Err("4GiB")),
        ] {
            let got = parse_size(text, SizeUse::Machine).map_err(|error| quoted(error.help()));
            assert_eq!(got, expected.map_err(str::to_owned), "reading {text:?}");
        }
        for (text, expected) in [("8", "8GiB"), ("512", "512GiB"), ("512 MB", "1GiB")] {
            let error = parse_size(text, SizeUse::Volume).unwrap_err();
            assert_eq!(quoted(error.help()), expected, "reading {text:?}");
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
            ("0s", Err("90s")),
            ("0", Err("90s")),
            ("90", Err("90s")),
            ("5sec", Err("5s")),
            ("30m1h", Err("1h30m")),
            ("1m1m", Err("2m")),
            ("5 minutes", Err("5m")),
            ("5 Minutes", Err("5m")),
            ("5M", Err("90s")),
            ("1h 30 min", Err("1h30m")),
            ("1h30", Err("90s")),
            ("1.5h", Err("1h30m")),
            ("1 week", Err("7d")),
            ("2W", Err("14d")),
            ("-5m", Err("5m")),
            ("1 month", Err("30d")),
            ("1 decade", Err("90s")),
            ("20 millis", Err("20ms")),
            ("soon", Err("90s")),
            ("ms", Err("90s")),
            ("99999999999999999999s", Err("90s")),
            ("18446744073709551615d", Err("90s")),
        ] {
            let got = parse_duration(text, DurationUse::Limit)
                .map(|duration| duration.as_millis())
                .map_err(|error| quoted(error.help()));
            assert_eq!(got, expected.map_err(str::to_owned), "reading {text:?}");
        }
    }

    #[test]
    fn ages_are_days() {
        for (text, expected) in [
            ("30", "30d"),
            ("0", "0d"),
            ("1.5", "36h"),
            ("1M", "30d"),
            ("6M", "180d"),
            ("6 m", "30d"),
            ("1 month", "30d"),
            ("6 months", "180d"),
            ("1mo", "30d"),
            ("1y", "365d"),
            ("1 year", "365d"),
            ("1 year 6 months", "545d"),
            ("2 Wks", "14d"),
            ("48 hours", "48h"),
            ("a while", "30d"),
        ] {
            let error = parse_duration(text, DurationUse::Age).unwrap_err();
            assert_eq!(quoted(error.help()), expected, "reading {text:?}");
        }
    }

    const DURATION_USES: [DurationUse; 3] =
        [DurationUse::Wait, DurationUse::Limit, DurationUse::Age];

    proptest! {
        #[test]
        fn a_size_survives_being_shown(bytes in 1..=i64::MAX.unsigned_abs()) {
            prop_assert_eq!(parse_size(&show_size(bytes), SizeUse::Machine), Ok(bytes));
        }

        #[test]
        fn a_duration_survives_being_shown(millis in 0..u64::from(u32::MAX)) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration), DurationUse::Wait), Ok(duration));
        }

        #[test]
        fn the_advice_for_any_text_is_a_valid_value(text in "(.*|[-+]?[0-9]{0,22}[.,]?[0-9]{0,9} ?[a-zA-Z]{0,6}( ?[0-9]{1,3} ?[a-z]{0,3})?)") {
            for usage in [SizeUse::Machine, SizeUse::Volume] {
                if let Err(error) = parse_size(&text, usage) {
                    prop_assert!(parse_size(&quoted(error.help()), usage).is_ok(), "{error:?}");
                }
            }
            for usage in DURATION_USES {
                if let Err(error) = parse_duration(&text, usage) {
                    prop_assert!(parse_duration(&quoted(error.help()), usage).is_ok(), "{error:?}");
                }
            }
        }
    }
}
