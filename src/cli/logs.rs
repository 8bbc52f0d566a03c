//! `karat logs`

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use miette::Diagnostic;
use serde_json::json;
use thiserror::Error;

use super::shared::stdout::{FormatArgs, OutputFormat, Stdout};
use super::{CommandError, ExitStatus};
use crate::fetch::Cache;
use crate::ui::Ui;
use crate::ui::ci::Ci;
use crate::ui::log_directory::{self, End, LogEntry, LogReader, Record};
use crate::ui::text::human_duration;

/// Minimum number of digits of a build id, as of an image's.
const MIN_DIGITS: usize = 4;

/// Print the log of a build, a rebuild or a lock
///
/// The log has all output of the guest, also what the screen did not show, without secrets. The cache keeps the newest 50 logs for
/// 30 days. Every error of a build names its log.
///
/// Exit codes: 0 printed, 2 no log found.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// 4 or more digits of a build id, or image name for the newest build of that image [default: the newest build]
    build: Option<String>,

    /// List the logs instead, newest first: start, build, image, verb, result and duration
    #[arg(long, conflicts_with = "build")]
    list: bool,

    #[command(flatten)]
    format: FormatArgs,
}

#[derive(Debug, Error, Diagnostic)]
enum LogsError {
    #[error("no log of {0}")]
    #[diagnostic(help("list the logs with `karat logs --list`"))]
    Unknown(String),
    #[error("no logs in {0}")]
    #[diagnostic(help("a build writes one as soon as its first phase starts"))]
    None(String),
    #[error("{digits} is ambiguous: it may be {}", builds.join(" or "))]
    #[diagnostic(help("give more digits"))]
    Ambiguous { digits: String, builds: Vec<String> },
    #[error("a log has no other format than text")]
    #[diagnostic(help("`karat logs --list --format json` lists the logs"))]
    Format,
}

impl ExitStatus for LogsError {
    const EXIT_CODE: u8 = 2;
}

pub(crate) fn run(args: &LogsArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let directory = Cache::of_user()?.logs();
    let logs = log_directory::list(&directory).map_err(|error| {
        CommandError::io(&format!("cannot read {}", directory.display()), &error)
    })?;
    let format = args.format.with_json_as(OutputFormat::Json);
    if args.list {
        return list(&logs, &directory, format, ui, out);
    }
    if format != OutputFormat::Text {
        return Err(LogsError::Format.into());
    }
    let log = if let Some(build) = &args.build {
        find(&logs, build)?
    } else {
        let newest = logs.first();
        newest.ok_or_else(|| LogsError::None(directory.display().to_string()))?
    };
    print(&log.path, out)
}

/// Finds a log by its build, the image, or the first digits of the build.
fn find<'a>(logs: &'a [LogEntry], text: &str) -> Result<&'a LogEntry, LogsError> {
    let is_named = |log: &&LogEntry| log.build == text || log.image == text;
    if let Some(log) = logs.iter().find(is_named) {
        return Ok(log);
    }
    let matches = logs.iter().filter(|log| log.build.starts_with(text));
    let matches: Vec<&LogEntry> = matches.collect();
    match matches[..] {
        [log] if text.len() >= MIN_DIGITS => Ok(log),
        [_, _, ..] if text.len() >= MIN_DIGITS => Err(LogsError::Ambiguous {
            digits: text.to_owned(),
            builds: matches.iter().map(|log| log.build.clone()).collect(),
        }),
        _ => Err(LogsError::Unknown(text.to_owned())),
    }
}

fn list(
    logs: &[LogEntry],
    directory: &Path,
    format: OutputFormat,
    ui: &Ui,
    out: &mut Stdout,
) -> Result<(), CommandError> {
    if logs.is_empty() {
        ui.note(&format!("no logs in {}", directory.display()));
    }
    let mut records = out.records(format);
    for log in logs {
        let (state, record) = match &log.end {
            End::Running => ("running", None),
            End::Stopped => ("stopped", None),
            End::Ended(record) => ("ended", Some(record)),
        };
        let LogEntry {
            started,
            build,
            image,
            ..
        } = log;
        let line = json!({
            "build": build, "name": image, "started": started, "state": state,
            "verb": record.map(|record| &record.verb),
            "exit_code": record.map(|record| record.code),
            "seconds": record.map(|record| record.took),
            "path": log.path,
        });
        records.add(&line, || {
            let verb = record.map_or("", |record| record.verb.as_str());
            let end = record.map_or_else(|| state.to_owned(), result);
            let line = format!("{started}  {build}  {image:20}  {verb:7}  {end}");
            line.trim_end().to_owned()
        })?;
    }
    records.finish()
}

fn result(record: &Record) -> String {
    let took = Duration::try_from_secs_f64(record.took).unwrap_or_default();
    let what = match record.code {
        0 => "done".to_owned(),
        130 => "cancelled".to_owned(),
        code => format!("failed ({code})"),
    };
    format!("{what} in {}", human_duration(took))
}

/// Prints the text of a log. In a CI service the output of the guest cannot be a command.
fn print(log: &Path, out: &mut Stdout) -> Result<(), CommandError> {
    let failed = |error| CommandError::io(&format!("cannot read {}", log.display()), &error);
    let ci = Ci::of_environment();
    let mut lines = BufReader::new(LogReader::open(log).map_err(failed)?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
        out.text(&ci.inert(&String::from_utf8_lossy(&line)))?;
        line.clear();
    }
    Ok(())
}
