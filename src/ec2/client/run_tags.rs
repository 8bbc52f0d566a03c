//! Tags that identify the resources of a run, so that a later run finds them even if karat was killed.

use std::time::Duration;

use super::ec2::Tags;
use crate::time::Timestamp;

/// Id of the run that created the resource.
pub const RUN: &str = "karat:run";
/// Time after which that run no longer exists, in RFC 3339.
pub const EXPIRES: &str = "karat:expires";
/// Name of the image.
pub const IMAGE: &str = "karat:image";
/// Id of the manifest.
pub const MANIFEST: &str = "karat:manifest";
/// Time of publication, in RFC 3339. A resource without it belongs to a run that has not ended, or was killed.
pub const PUBLISHED: &str = "karat:published";

/// Time since which the store no longer needs it, in RFC 3339.
pub const CONDEMNED: &str = "karat:condemned";

/// Longest run: resources that are older are left over.
const MAX_RUN: Duration = Duration::from_hours(6);

/// Run of karat, as the owner of resources at AWS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Unique id of sixteen hexadecimal digits.
    pub id: String,
    expires: Timestamp,
}

impl Run {
    /// Begins a run with a new id.
    pub fn begin() -> Self {
        Self {
            id: format!("{:016x}", fastrand::u64(..)),
            expires: after(MAX_RUN),
        }
    }

    /// Returns the tags of all resources that it creates.
    pub fn tags(&self, image: &str) -> Tags {
        Tags::from([
            ("Name".to_owned(), format!("karat {image}")),
            (RUN.to_owned(), self.id.clone()),
            (EXPIRES.to_owned(), self.expires.to_string()),
            (IMAGE.to_owned(), image.to_owned()),
        ])
    }
}

/// Returns whether a run is over, by the value of its tag [`EXPIRES`]. A missing or unreadable value counts as not over.
pub fn is_over(expires: Option<&str>) -> bool {
    let time = expires.and_then(|text| text.parse::<Timestamp>().ok());
    time.is_some_and(|time| time < Timestamp::now())
}

/// Returns the time `time` from now.
pub fn after(time: Duration) -> Timestamp {
    let now = u64::try_from(Timestamp::now().seconds()).unwrap_or_default();
    Timestamp::from_seconds(now.saturating_add(time.as_secs()))
}
