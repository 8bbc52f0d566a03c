//! Builds: their id, their log, and the durations of their phases.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::event::{BuildInfo, Event, Kind};
use super::log::BuildLog;
use super::log_directory::{self, Record, UsualDurations};
use super::text::human_duration;
use super::{Ui, Verbosity};

/// A build whose events carry its id and go to its log.
pub(super) struct Build {
    pub(super) id: String,
    /// Name in front of its lines, if several build in parallel.
    pub(super) label: Option<String>,
    verb: &'static str,
    template: PathBuf,
    started: Instant,
    pub(super) log: BuildLog,
    usual: UsualDurations,
    /// Finished phases.
    phases: Mutex<Vec<(String, f64)>>,
}

impl Build {
    fn phases(&self) -> MutexGuard<'_, Vec<(String, f64)>> {
        self.phases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_phase(&self, name: &str, took: Duration) {
        self.phases().push((name.to_owned(), took.as_secs_f64()));
    }

    /// Returns the usual duration of a phase, if it is known.
    pub(super) fn usual(&self, phase: &str) -> Option<Duration> {
        self.usual.of(phase)
    }
}

impl Ui {
    /// Begins a build: returns a handle whose events carry its id and go to a log in the directory `logs`, too.
    ///
    /// `label` stands in front of its lines, if several build in parallel. [`Ui::end_build`] completes the log.
    pub(crate) fn begin_build(
        &self,
        info: BuildInfo<'_>,
        label: Option<&str>,
        logs: &Path,
    ) -> Self {
        let id = format!("{:08x}", fastrand::u32(..));
        let log = logs.join(log_directory::file_name(SystemTime::now(), info.image, &id));
        let ui = Self {
            screen: Arc::clone(&self.screen),
            build: Some(Arc::new(Build {
                label: label.map(str::to_owned),
                verb: info.verb,
                template: info.template.to_owned(),
                started: Instant::now(),
                log: BuildLog::new(log),
                usual: UsualDurations::read(logs, info.image),
                phases: Mutex::default(),
                id,
            })),
        };
        let text = format!(
            "karat {} {}, image {}, template {}",
            env!("CARGO_PKG_VERSION"),
            info.verb,
            info.image,
            info.template.display()
        );
        let event = Event {
            info: Some(&info),
            ..Event::new(Kind::Build, &text)
        };
        ui.send(Verbosity::Normal, event);
        ui
    }

    /// Shows the result of the build and completes its log. `manifest` is the id of the image that it made.
    pub(crate) fn end_build(&self, code: u8, manifest: Option<&str>) {
        let Some(build) = &self.build else { return };
        let took = build.started.elapsed();
        let end = match code {
            0 => "done in",
            130 => "cancelled after",
            _ => "failed after",
        };
        let text = format!("{end} {}", human_duration(took));
        let event = Event {
            code: Some(code),
            took: Some(took),
            manifest,
            log: build.log.path(),
            ..Event::new(Kind::Result, &text)
        };
        self.send(Verbosity::Normal, event);
        let record = Record {
            verb: build.verb.to_owned(),
            template: build.template.clone(),
            code,
            took: took.as_secs_f64(),
            phases: build.phases().clone(),
        };
        if let Err(error) = build.log.finish(&record) {
            self.warn_of_log(&error);
        }
    }

    /// Warns that the build has no log. Comes once for each build.
    pub(super) fn warn_of_log(&self, error: &io::Error) {
        let text = format!("cannot write the log of the build, which goes on without it: {error}");
        self.screen.printer.print(&Event::new(Kind::Warning, &text));
    }
}
