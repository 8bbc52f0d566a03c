//! Events to show, independent of the screen. `docs/reference/json-events.md` documents their JSON form.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::report::Report;
use super::text::human_duration;

/// The time of a shorter failed build is not shown.
const MIN_SHOWN_TIME: Duration = Duration::from_secs(1);

/// Kind of an event; its name in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Build,
    Started,
    Done,
    Failed,
    Cancelled,
    Output,
    Progress,
    #[default]
    Note,
    Detail,
    Warning,
    Retry,
    Error,
    Result,
    Exit,
    /// Start of a progress bar. In JSON the events of bars become `progress`.
    Bar,
    Advance,
    BarEnd,
    /// Line that stands below a running phase until the next one; for terminals only.
    Status,
    /// Line of the guest's console; for the log only.
    Console,
}

/// An event to show. As JSON it is one line of `--log-format json`.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Event<'a> {
    /// RFC 3339 in UTC, with milliseconds.
    pub time: String,
    #[serde(rename = "event")]
    pub kind: Kind,
    /// Id of the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<&'a str>,
    /// Image name of the template, if several build in parallel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<&'a str>,
    /// Ties the events of a phase or a bar together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Sentence, line of output, or name of the phase.
    pub text: &'a str,
    #[serde(flatten)]
    pub part: Option<Part>,
    /// Usual duration of the phase, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub usual: Option<Duration>,
    /// Duration of a finished phase or build, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub took: Option<Duration>,
    /// Bytes that a bar has done; of `Advance`, the bytes since the last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Size of a bar in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    #[serde(flatten)]
    pub report: Option<&'a Report>,
    #[serde(flatten)]
    pub info: Option<&'a BuildInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// Id of the image that was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<&'a str>,
    /// Log of the build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<&'a Path>,
}

/// Position of a phase in a numbered sequence: `step 2 of 5`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Part {
    /// `step`, `test` or `on_error`.
    #[serde(rename = "part")]
    pub kind: &'static str,
    /// Counts from 1.
    pub number: usize,
    pub of: usize,
}

impl Part {
    /// Returns each item with its number, counted from 1.
    pub(crate) fn numbered<'a, T>(
        kind: &'static str,
        items: &'a [T],
    ) -> impl Iterator<Item = (Self, &'a T)> {
        let of = items.len();
        let numbered = items.iter().enumerate();
        numbered.map(move |(index, item)| {
            let number = index + 1;
            (Self { kind, number, of }, item)
        })
    }
}

/// Verb, image and template of a build.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct BuildInfo<'a> {
    pub verb: &'static str,
    pub image: &'a str,
    pub template: &'a Path,
}

impl<'a> Event<'a> {
    pub(super) fn new(kind: Kind, text: &'a str) -> Self {
        Self {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            kind,
            text,
            ..Self::default()
        }
    }

    /// Returns the text, after the job's name if there is one.
    pub(super) fn labelled(&self) -> String {
        let job = self.job.map_or_else(String::new, |job| format!("[{job}] "));
        match self.part {
            Some(Part { kind, number, of }) => {
                format!("{job}{kind} {number} of {of}: {}", self.text)
            }
            None => format!("{job}{}", self.text),
        }
    }

    /// Returns the event as plain text, which may have several lines; `None` if it is not shown as text.
    pub(super) fn plain(&self) -> Option<String> {
        let text = self.labelled();
        let took = self.took.unwrap_or_default();
        // The summary of a good build has its time, and that of a short one is not worth a line.
        if self.kind == Kind::Result && (self.code == Some(0) || took < MIN_SHOWN_TIME) {
            return None;
        }
        let took = human_duration(took);
        Some(match self.kind {
            Kind::Started => format!("==> {text}"),
            Kind::Done => format!("    {text}: done in {took}"),
            Kind::Failed => format!("    {text}: failed after {took}"),
            Kind::Cancelled => format!("    {text}: cancelled after {took}"),
            Kind::Output => format!("    | {text}"),
            Kind::Warning | Kind::Retry => format!("warning: {}", self.explained()),
            Kind::Error => format!("error: {}", self.explained()),
            Kind::Note | Kind::Detail | Kind::Result => text,
            Kind::Build
            | Kind::Progress
            | Kind::Exit
            | Kind::Bar
            | Kind::Advance
            | Kind::BarEnd
            | Kind::Status
            | Kind::Console => return None,
        })
    }

    /// Returns the text of the event in the log of its build.
    pub(super) fn logged(&self) -> Option<String> {
        match self.kind {
            Kind::Build | Kind::Result => Some(self.text.to_owned()),
            Kind::Console => Some(format!("    console | {}", self.text)),
            _ => self.plain(),
        }
    }

    /// Returns the text with position, help and log below it.
    pub(super) fn explained(&self) -> String {
        let job = self.job.map_or_else(String::new, |job| format!("[{job}] "));
        let mut text = match self.report {
            Some(report) => job + &report.text_below(self.text),
            None => job + self.text,
        };
        if let Some(log) = self.log {
            text = format!("{text}\n  log: {}", log.display());
            if let Some(build) = self.build {
                text = format!("{text} (`karat logs {build}` prints it)");
            }
        }
        text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_event_is_documented() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/json-events.md");
        let page = std::fs::read_to_string(page).unwrap();
        for kind in [
            Kind::Build,
            Kind::Started,
            Kind::Done,
            Kind::Failed,
            Kind::Cancelled,
            Kind::Output,
            Kind::Progress,
            Kind::Note,
            Kind::Detail,
            Kind::Warning,
            Kind::Retry,
            Kind::Error,
            Kind::Result,
            Kind::Exit,
        ] {
            let name = serde_json::to_value(kind).unwrap();
            let heading = format!("\n### `{}`\n", name.as_str().unwrap());
            assert!(page.contains(&heading), "{heading}");
        }
    }
}
