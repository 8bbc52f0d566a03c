//! Values that wrong sizes and durations probably mean.

use std::time::Duration;

use super::{
    DURATIONS, DurationUse, GIB, SIZES, SizeUse, factor_of, parse_duration, parse_size,
    show_duration, show_size, split,
};

/// Units of durations as people write them: each with the number and unit that karat has for it.
const LOOSE_DURATIONS: [(&[&str], u64, &str); 8] = [
    (&["ms", "msec", "milli", "millisecond"], 1, "ms"),
    (&["s", "sec", "second"], 1, "s"),
    (&["m", "min", "minute"], 1, "m"),
    (&["h", "hr", "hour"], 1, "h"),
    (&["d", "day"], 1, "d"),
    (&["w", "wk", "week"], 7, "d"),
    (&["mo", "mon", "month"], 30, "d"),
    (&["y", "yr", "year"], 365, "d"),
];

/// Returns the size that wrong text probably means.
pub(super) fn suggest_size(text: &str, usage: SizeUse) -> Option<String> {
    let (part, rest) = LoosePart::read(text)?;
    if !rest.is_empty() {
        return None;
    }
    let unit = match part.unit {
        "" if usage == SizeUse::Volume => "GiB",
        // Packer's `memory` and `disk_size` are MiB. A person who writes `4` or `60` means GiB, one who writes
        // `1073741824` means bytes.
        "" if part.whole < 256 => "GiB",
        "" if part.whole < 1 << 28 => "MiB",
        "" => "B",
        unit => guess(unit, &SIZES)?,
    };
    let bytes = part.times(factor_of(unit, &SIZES)?)?;
    let size = match (part.fraction, usage) {
        (_, SizeUse::Volume) => format!("{}GiB", bytes.div_ceil(GIB)),
        ("", _) => format!("{}{unit}", part.whole),
        _ => show_size(bytes),
    };
    parse_size(&size, usage).is_ok().then_some(size)
}

/// Returns the duration that wrong text probably means.
pub(super) fn suggest_duration(text: &str, usage: DurationUse) -> Option<String> {
    let (mut parts, mut total) = (Vec::new(), 0_u64);
    let mut rest = text;
    loop {
        let (part, after) = LoosePart::read(rest)?;
        let (count, unit) = loose_unit(part.unit, usage)?;
        // `1h30` has no unit that is sure enough.
        if part.unit.is_empty() && !parts.is_empty() {
            return None;
        }
        let factor = factor_of(unit, &DURATIONS).unwrap_or(1) * count;
        total = total.checked_add(part.times(factor)?)?;
        parts.push((part.whole.checked_mul(count)?, part.fraction, unit));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let day = DURATIONS[0].1;
    let duration = match parts[..] {
        [(number, "", unit)] => format!("{number}{unit}"),
        _ if total >= day && total.is_multiple_of(day) => format!("{}d", total / day),
        _ => show_duration(Duration::from_millis(total)),
    };
    parse_duration(&duration, usage).is_ok().then_some(duration)
}

/// Returns the number and the unit that a unit as people write it stands for.
fn loose_unit(unit: &str, usage: DurationUse) -> Option<(u64, &'static str)> {
    match (unit, usage) {
        ("", DurationUse::Age) => return Some((1, "d")),
        ("", _) => return Some((1, "s")),
        ("M", DurationUse::Age) => return Some((30, "d")),
        // Months or minutes: a guess would be dangerous.
        ("M", _) | ("m", DurationUse::Age) => return None,
        _ => {}
    }
    let unit = unit.to_ascii_lowercase();
    let singular = unit.strip_suffix('s').unwrap_or(&unit);
    let is_meant = |words: &[&str]| words.contains(&unit.as_str()) || words.contains(&singular);
    let meant = LOOSE_DURATIONS.iter().find(|(words, _, _)| is_meant(words));
    meant.map(|(_, count, unit)| (*count, *unit))
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

/// Returns the unit that starts with the same letter: `GiB` for `GB`.
fn guess(unit: &str, units: &[(&'static str, u64)]) -> Option<&'static str> {
    let first = unit.chars().next()?;
    let near = units
        .iter()
        .find(|(name, _)| name[..1].eq_ignore_ascii_case(first.encode_utf8(&mut [0; 4])));
    near.map(|(name, _)| *name)
}
