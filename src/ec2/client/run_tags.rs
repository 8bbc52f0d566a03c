//! Tags by which what karat makes is found again, whatever became of the karat that made it.

use std::time::Duration;

use super::ec2::Tags;
use crate::time::Timestamp;

/// The run that made it.
pub const RUN: &str = "karat:run";
/// When that run is over, dead or alive, in RFC 3339.
pub const EXPIRES: &str = "karat:expires";
/// The image's name.
pub const IMAGE: &str = "karat:image";
/// The id of the manifest.
pub const MANIFEST: &str = "karat:manifest";
/// When it was ready for others, in RFC 3339. Without it, it is of a run that has not ended, or was killed.
pub const PUBLISHED: &str = "karat:published";

/// Since when nothing holds it, in RFC 3339.
pub const CONDEMNED: &str = "karat:condemned";

/// No run takes longer.
const LONGEST: Duration = Duration::from_hours(6);

/// One run of karat, for all that it makes at AWS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Sixteen digits that no other run has.
    pub id: String,
    expires: Timestamp,
}

impl Run {
    /// A run that begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            id: format!("{:016x}", fastrand::u64(..)),
            expires: after(LONGEST),
        }
    }

    /// What everything that it makes is tagged with.
    #[must_use]
    pub fn tags(&self, image: &str) -> Tags {
        Tags::from([
            ("Name".to_owned(), format!("karat {image}")),
            (RUN.to_owned(), self.id.clone()),
            (EXPIRES.to_owned(), self.expires.to_string()),
            (IMAGE.to_owned(), image.to_owned()),
        ])
    }
}

/// Whether the run whose tag [`EXPIRES`] has this value is over; unreadable ones are not known to be.
#[must_use]
pub fn is_over(expires: Option<&str>) -> bool {
    let time = expires.and_then(|text| text.parse::<Timestamp>().ok());
    time.is_some_and(|time| time < Timestamp::now())
}

/// The time so long from now.
#[must_use]
pub fn after(time: Duration) -> Timestamp {
    let now = u64::try_from(Timestamp::now().seconds()).unwrap_or_default();
    Timestamp::from_seconds(now.saturating_add(time.as_secs()))
}
