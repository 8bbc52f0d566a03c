//! Points in time as records write them: RFC 3339, UTC, whole seconds.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use thiserror::Error;

const DAY: u64 = 24 * 60 * 60;

/// The end of the year 9999, after which the text would have one more digit.
const END: u64 = 253_402_300_800;

/// Seconds since 1970, written like `2026-01-31T23:59:59Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(u64);

/// Text that is not a point in time.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a time like 2026-01-31T23:59:59Z")]
pub struct InvalidTime(String);

impl Timestamp {
    /// Now, by this machine's clock.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// So many seconds after 1970; the end of the year 9999 at the latest.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Self {
        Self(seconds.min(END - 1))
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> i64 {
        // The year 9999 is far below the limit.
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Timestamp {
    /// A time as mail and package archives write it, in UTC: `Sat, 31 Jan 2026 23:59:59 UTC`.
    #[must_use]
    pub fn from_rfc2822(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let mut day = words.next()?;
        if day.ends_with(',') {
            day = words.next()?;
        }
        let month = words.next()?;
        let month = MONTHS.iter().position(|name| *name == month)? + 1;
        let (year, clock) = (words.next()?, words.next()?);
        let utc = matches!(words.next()?, "UTC" | "GMT" | "Z" | "+0000" | "-0000");
        let text = format!("{year}-{month:02}-{day:0>2}T{clock:0>8}Z");
        text.parse().ok().filter(|_| utc && words.next().is_none())
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        // A clock before 1970 is a clock that was never set.
        Self(since.map_or(0, |since| since.as_secs()).min(END - 1))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        Self::UNIX_EPOCH + Duration::from_secs(time.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.0 / DAY);
        let second = self.0 % DAY;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let number = |at: usize, length: usize| text.get(at..at + length)?.parse::<u64>().ok();
        let read = || {
            let days = days_to(number(0, 4)?, number(5, 2)?, number(8, 2)?)?;
            Some(Self(
                days * DAY + number(11, 2)? * 3600 + number(14, 2)? * 60 + number(17, 2)?,
            ))
        };
        // Writing it again finds every other flaw: a month 13, a `+1`, a missing `Z`.
        read()
            .filter(|time| time.to_string() == text)
            .ok_or_else(|| InvalidTime(text.to_owned()))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTime;
    fn try_from(text: String) -> Result<Self, InvalidTime> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

/// Days from 1970 to a date, counted in years that begin in March, so that the leap day comes last.
fn days_to(year: u64, month: u64, day: u64) -> Option<u64> {
    let shifted = year.checked_sub(u64::from(month <= 2))?;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    (shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year)
        .checked_sub(MARCH_0_TO_1970)
}

/// Days from 1 March of the year 0 to 1 January 1970.
const MARCH_0_TO_1970: u64 = 719_468;

/// The inverse of [`days_to`]. 146,097 days are 400 years.
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + MARCH_0_TO_1970;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_what_date_says() {
        // From `date -u -d @N +%FT%TZ`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (END - 1, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp(seconds).to_string(), text);
        }
        for text in [
            "",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "1969-12-31T23:59:59Z",
            "+026-01-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn dates_of_archives_are_read() {
        for (text, time) in [
            (
                "Sat, 31 Jan 2026 23:59:59 UTC",
                Some("2026-01-31T23:59:59Z"),
            ),
            (
                "Thu, 5 Jun 2025 8:02:03 +0000",
                Some("2025-06-05T08:02:03Z"),
            ),
            ("29 Feb 2024 00:00:00 GMT", Some("2024-02-29T00:00:00Z")),
            ("Sat, 31 Jan 2026 23:59:59 +0200", None),
            ("Sat, 31 Jan 2026 23:59:59", None),
            ("Sat, 30 Feb 2026 23:59:59 UTC", None),
            ("2026-01-31T23:59:59Z", None),
            ("", None),
        ] {
            let read = Timestamp::from_rfc2822(text).map(|time| time.to_string());
            assert_eq!(read.as_deref(), time, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_reads_back(seconds in 0..END) {
            let time = Timestamp(seconds);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
