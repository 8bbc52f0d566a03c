//! Events to show, independent of the screen.

use std::time::{Duration, SystemTime};

use serde::Serialize;

/// An event to show. As JSON it is one line of `--log-format json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Event<'a> {
    /// RFC 3339 in UTC, with milliseconds.
    pub time: String,
    /// `note`, `warning`, `error`, `detail`, `output`, `started`, `done`, `failed`; bars: `bar`, `advance`, `bar_end`.
    #[serde(rename = "event")]
    pub kind: &'static str,
    /// Image name of the template, if several build in parallel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<&'a str>,
    /// Sentence, line of output, or name of the phase.
    pub text: &'a str,
    /// Duration of a finished phase, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub took: Option<Duration>,
    /// Identifier of the phase or bar.
    #[serde(skip)]
    pub id: u64,
    /// Size of a bar, or its progress since the last event, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

impl<'a> Event<'a> {
    pub(super) fn new(kind: &'static str, job: Option<&'a str>, text: &'a str) -> Self {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        Self {
            time,
            kind,
            job,
            text,
            took: None,
            id: 0,
            total: None,
        }
    }

    /// Returns the text, after the job's name if there is one.
    pub(super) fn labelled(&self) -> String {
        match self.job {
            Some(job) => format!("[{job}] {}", self.text),
            None => self.text.to_owned(),
        }
    }
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn seconds<S: serde::Serializer>(
    took: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let seconds = took.unwrap_or_default().as_secs_f64();
    serializer.serialize_f64((seconds * 1000.0).round() / 1000.0)
}
