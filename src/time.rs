//! Points in time in records: RFC 3339, UTC, whole seconds.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// First second after the year 9999: later times need a fifth digit.
const END: u64 = 253_402_300_800;

/// Seconds since 1970, written like `2026-01-31T23:59:59Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(u64);

/// Text that is not a point in time.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not an RFC 3339 time in UTC, such as 2026-01-31T23:59:59Z")]
pub struct InvalidTime(String);

impl Timestamp {
    /// Current time by this machine's clock.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Converts seconds since 1970; later times than the year 9999 become its last second.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Self {
        Self(seconds.min(END - 1))
    }

    /// Returns the seconds since 1970, UTC.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.cast_signed()
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Timestamp {
    /// Parses a time in the form of mail and package archives, in UTC: `Sat, 31 Jan 2026 23:59:59 UTC`.
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
        // A clock before 1970 was never set.
        Self::from_seconds(since.map_or(0, |since| since.as_secs()))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        Self::UNIX_EPOCH + Duration::from_secs(time.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds((*self).into()).fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        humantime::parse_rfc3339(text)
            .ok()
            .map(Self::from)
            // humantime also accepts fractions and leap seconds, which are not written.
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
