//! Directory of build logs: `TIME-IMAGE-BUILD.log.zst`, and beside each the record of the ended build, `….json`.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::os::{atomic_file, if_exists};

/// Number of logs that are kept. With [`MAX_AGE`] it bounds the directory to some hundred megabytes at worst.
const MAX_LOGS: usize = 50;
/// Logs that were not written to for longer are removed.
const MAX_AGE: Duration = Duration::from_hours(30 * 24);
const EXTENSION: &str = ".log.zst";
/// Builds of the same image that the usual duration of a phase is computed from.
const MAX_SAMPLES: usize = 5;

/// A log in the directory.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct LogEntry {
    pub path: PathBuf,
    /// Start of the build, as in `2026-11-30 13:36:35`, in UTC.
    pub started: String,
    pub image: String,
    pub build: String,
    pub end: End,
}

/// End of a build, as its log tells.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum End {
    Running,
    /// The process was killed.
    Stopped,
    Ended(Record),
}

/// Result of a build that has ended.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub verb: String,
    pub template: PathBuf,
    /// Exit code of the build.
    pub code: u8,
    /// Seconds from start to end.
    pub took: f64,
    /// Finished phases in order, with their seconds.
    pub phases: Vec<(String, f64)>,
}

/// Returns the name of a new log.
pub(super) fn file_name(started: SystemTime, image: &str, build: &str) -> String {
    let time = humantime::format_rfc3339_seconds(started).to_string();
    let time = time.replace(['-', ':'], "");
    // The name in a manifest may come from elsewhere.
    let image = image.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
    format!("{time}-{image}-{build}{EXTENSION}")
}

/// Creates the directory, which only its owner can enter.
pub(super) fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

pub(super) fn write_record(log: &Path, record: &Record) -> io::Result<()> {
    atomic_file::write(&record_of(log), 0o600, &serde_json::to_vec(record)?)
}

fn record_of(log: &Path) -> PathBuf {
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    log.with_file_name(name.replace(EXTENSION, ".json"))
}

/// Returns the paths of all logs, newest first. A missing directory has none.
fn paths(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(entries) = if_exists(fs::read_dir(directory))? else {
        return Ok(Vec::new());
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    paths.reverse();
    Ok(paths)
}

/// Returns all logs, newest first.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<LogEntry>> {
    Ok(paths(directory)?.into_iter().filter_map(entry).collect())
}

fn entry(path: PathBuf) -> Option<LogEntry> {
    let name = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?;
    let (time, rest) = name.split_once('-')?;
    let (image, build) = rest.rsplit_once('-')?;
    let part = |range| time.get(range).unwrap_or_default();
    let date = [part(0..4), part(4..6), part(6..8)].join("-");
    let clock = [part(9..11), part(11..13), part(13..15)].join(":");
    let end = match read_record(&path) {
        Some(record) => End::Ended(record),
        None if is_locked(&path) => End::Running,
        None => End::Stopped,
    };
    Some(LogEntry {
        started: format!("{date} {clock}"),
        image: image.to_owned(),
        build: build.to_owned(),
        end,
        path,
    })
}

fn read_record(log: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(record_of(log)).ok()?).ok()
}

/// Returns true if a process is writing the log.
fn is_locked(log: &Path) -> bool {
    let locked = File::open(log).map(|file| file.try_lock_shared());
    matches!(locked, Ok(Err(fs::TryLockError::WouldBlock)))
}

/// Removes the oldest logs above the limits, except those of running builds. Several processes may do so at once, and
/// what cannot be removed stays.
pub(super) fn remove_old(directory: &Path) {
    let now = SystemTime::now();
    for (index, log) in paths(directory).unwrap_or_default().iter().enumerate() {
        let modified = log.metadata().and_then(|metadata| metadata.modified());
        let age = modified.map(|modified| now.duration_since(modified).unwrap_or_default());
        let is_old = age.is_ok_and(|age| age > MAX_AGE);
        // One more is about to be written.
        if (is_old || index + 1 >= MAX_LOGS) && !is_locked(log) {
            let _ = fs::remove_file(record_of(log));
            let _ = fs::remove_file(log);
        }
    }
}

/// Text of a log. It ends where a running or killed build has flushed it last.
pub(crate) struct LogReader(zstd::Decoder<'static, io::BufReader<File>>);

impl LogReader {
    pub(crate) fn open(log: &Path) -> io::Result<Self> {
        Ok(Self(zstd::Decoder::new(File::open(log)?)?))
    }
}

impl io::Read for LogReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            // The frame of a log that is not finished has no end.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }
}

/// Median durations of an image's phases in earlier builds.
#[derive(Default)]
pub(super) struct UsualDurations(Vec<(String, f64)>);

impl UsualDurations {
    /// Reads the newest records of an image. An unreadable directory has none.
    pub(super) fn read(directory: &Path, image: &str) -> Self {
        let logs = paths(directory).unwrap_or_default().into_iter();
        let records = logs.filter_map(|log| match entry(log)? {
            LogEntry {
                image: of,
                end: End::Ended(record),
                ..
            } if of == image => Some(record.phases),
            _ => None,
        });
        Self(records.take(MAX_SAMPLES).flatten().collect())
    }

    /// Returns the median duration of a phase; `None` if it is unknown.
    pub(super) fn of(&self, phase: &str) -> Option<Duration> {
        let of_phase = self.0.iter().filter(|(name, _)| name == phase);
        let mut seconds: Vec<f64> = of_phase.map(|(_, seconds)| *seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let median = seconds.get(seconds.len() / 2)?;
        Duration::try_from_secs_f64(*median).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(phases: &[(&str, f64)]) -> Record {
        Record {
            verb: "build".to_owned(),
            template: "web.toml".into(),
            code: 0,
            took: 1.0,
            phases: phases
                .iter()
                .map(|(name, seconds)| ((*name).to_owned(), *seconds))
                .collect(),
        }
    }

    fn at(second: u64, image: &str, build: &str) -> String {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_796_045_795 + second);
        file_name(time, image, build)
    }

    #[test]
    fn logs_are_listed_newest_first_with_their_end() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(list(&scratch.path().join("none")).unwrap(), []);
        let log = |second, build| scratch.path().join(at(second, "debian-web", build));
        fs::write(log(0, "aaaaaaaa"), "").unwrap();
        let done = log(1, "bbbbbbbb");
        fs::write(&done, "").unwrap();
        write_record(&done, &record(&[])).unwrap();
        let running = File::create(log(2, "cccccccc")).unwrap();
        running.lock().unwrap();

        let listed = list(scratch.path()).unwrap();
        let shown: Vec<_> = listed
            .iter()
            .map(|entry| (entry.image.as_str(), entry.build.as_str(), &entry.end))
            .collect();
        assert_eq!(
            shown,
            [
                ("debian-web", "cccccccc", &End::Running),
                ("debian-web", "bbbbbbbb", &End::Ended(record(&[]))),
                ("debian-web", "aaaaaaaa", &End::Stopped),
            ]
        );
        assert_eq!(listed[2].started, "2026-11-30 13:36:35");
    }

    #[test]
    fn old_logs_go_with_their_records_except_those_in_use() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |second| scratch.path().join(at(second, "web", "aaaaaaaa"));
        for second in 0..60 {
            fs::write(path(second), "").unwrap();
            write_record(&path(second), &record(&[])).unwrap();
        }
        let running = File::open(path(0)).unwrap();
        running.lock().unwrap();
        let aged = File::options().write(true).open(path(59)).unwrap();
        aged.set_modified(SystemTime::now() - MAX_AGE - Duration::from_mins(1))
            .unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| remove_old(scratch.path()));
            }
        });
        let kept = |second| path(second).exists() && record_of(&path(second)).exists();
        assert!(
            kept(0) && kept(58) && kept(12),
            "in use, or among the newest"
        );
        assert!(!path(59).exists() && !record_of(&path(10)).exists());
        // Both limits are exceeded by none but the log in use.
        assert_eq!(paths(scratch.path()).unwrap().len(), MAX_LOGS - 1);
    }

    #[test]
    fn the_usual_duration_is_the_median_of_the_newest_builds_of_the_image() {
        let scratch = tempfile::tempdir().unwrap();
        for (second, image, took) in [
            (0, "web", 900.0),
            (1, "web", 20.0),
            (2, "web", 30.0),
            (3, "db", 500.0),
            (4, "web", 25.0),
            (5, "web", 24.0),
            (6, "web", 26.0),
        ] {
            let log = scratch.path().join(at(second, image, "aaaaaaaa"));
            fs::write(&log, "").unwrap();
            write_record(&log, &record(&[("base", took)])).unwrap();
        }
        let usual = UsualDurations::read(scratch.path(), "web");
        assert_eq!(usual.of("base"), Some(Duration::from_secs(25)));
        assert_eq!(usual.of("scan"), None);
    }
}
