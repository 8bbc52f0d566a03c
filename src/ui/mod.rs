//! Progress, notes and warnings on stderr: on a terminal, as plain lines, or as JSON lines. Builds also have a log each.
//!
//! Every text passes one filter that hides the values of secrets.

use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::secret::{Redactor, Secrets};

mod build;
pub(crate) mod ci;
mod event;
mod json;
mod log;
pub(crate) mod log_directory;
mod phase;
mod plain;
pub(crate) mod report;
mod terminal;
pub(crate) mod text;

use build::Build;
use ci::Ci;
pub(crate) use event::{BuildInfo, Part};
use event::{Event, Kind};
pub use phase::{Bar, Phase};
use report::Report;

/// Form of the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Spinners and bars that redraw in place.
    Terminal {
        /// Colours the output with ANSI sequences.
        color: bool,
    },
    /// Lines that are never redrawn.
    Plain {
        /// Colours the output with ANSI sequences.
        color: bool,
        /// Service whose marks the lines have.
        ci: Ci,
    },
    /// One JSON object an event.
    Json,
}

/// Events to show, by importance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verbosity {
    /// Warnings and errors only.
    Quiet,
    /// Also phases, steps and their output.
    Normal,
    /// Also details such as retries and cleaning rules.
    Verbose,
}

/// Output device for events; one for the whole process.
trait Printer: Send + Sync {
    fn print(&self, event: &Event<'_>);
}

/// Handle on the user's screen. Cheap to clone; safe to use from any task.
#[derive(Clone)]
pub struct Ui {
    screen: Arc<Screen>,
    build: Option<Arc<Build>>,
}

struct Screen {
    printer: Box<dyn Printer>,
    verbosity: Verbosity,
    paint: Paint,
    redactors: Mutex<Vec<Redactor>>,
    next_id: std::sync::atomic::AtomicU64,
}

impl Ui {
    /// Creates a screen on stderr.
    #[must_use]
    pub fn new(mode: Mode, verbosity: Verbosity) -> Self {
        let paint = match mode {
            Mode::Terminal { color } | Mode::Plain { color, .. } => Paint(color),
            Mode::Json => Paint(false),
        };
        let printer: Box<dyn Printer> = match mode {
            Mode::Terminal { .. } => Box::new(terminal::Terminal::new(paint)),
            Mode::Plain { ci, .. } => Box::new(plain::Plain::new(paint, ci)),
            Mode::Json => Box::new(json::Json::default()),
        };
        Self {
            screen: Arc::new(Screen {
                printer,
                verbosity,
                paint,
                redactors: Mutex::default(),
                next_id: 0.into(),
            }),
            build: None,
        }
    }

    /// Returns true if texts may have ANSI sequences for colours.
    pub(crate) fn is_colored(&self) -> bool {
        self.screen.paint.0
    }

    /// Returns true if only warnings and errors are shown.
    pub(crate) fn is_quiet(&self) -> bool {
        self.screen.verbosity == Verbosity::Quiet
    }

    /// Hides these secrets from now on, in addition to those of other jobs.
    pub fn hide(&self, secrets: &Secrets) {
        self.redactors().push(Redactor::new(secrets));
    }

    /// Replaces the values of secrets in a text.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        self.redactors()
            .iter()
            .fold(text.to_owned(), |text, redactor| {
                redactor.redact(&text).into_owned()
            })
    }

    fn redactors(&self) -> MutexGuard<'_, Vec<Redactor>> {
        let redactors = self.screen.redactors.lock();
        redactors.unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a fact, in one line.
    pub fn note(&self, text: &str) {
        self.print(Verbosity::Normal, Kind::Note, text);
    }

    /// Warns of a problem that did not stop the work.
    pub fn warn(&self, text: &str) {
        self.print(Verbosity::Quiet, Kind::Warning, text);
    }

    /// Warns of a problem, with advice.
    pub(crate) fn warn_of(&self, report: &Report) {
        self.report(Kind::Warning, report);
    }

    /// Warns that a try has failed and another one follows. The output of the failed one is not shown again.
    pub(crate) fn retry(&self, text: &str) {
        self.print(Verbosity::Quiet, Kind::Retry, text);
    }

    /// Shows an error that does not end the work.
    pub fn error(&self, text: &str) {
        self.print(Verbosity::Quiet, Kind::Error, text);
    }

    /// Shows the error that stopped the work, and names the log of the build.
    pub(crate) fn error_of(&self, report: &Report) {
        self.report(Kind::Error, report);
    }

    /// Shows a detail, with `--verbose` only.
    pub fn detail(&self, text: &str) {
        self.print(Verbosity::Verbose, Kind::Detail, text);
    }

    /// Shows a line of output of the running step.
    pub fn output(&self, line: &str) {
        self.print(Verbosity::Normal, Kind::Output, line);
    }

    /// Shows a line below the running phase until the next one, on a terminal only.
    pub(crate) fn status(&self, line: &str) {
        self.print(Verbosity::Normal, Kind::Status, line);
    }

    /// Writes the guest's console to the log of the build, and shows nothing.
    pub(crate) fn console(&self, text: &str) {
        for line in text.lines() {
            self.print(Verbosity::Verbose, Kind::Console, line);
        }
    }

    /// Shows the exit code of the process, to programs only.
    pub(crate) fn exit(&self, code: u8) {
        let text = format!("exit code {code}");
        let event = Event {
            code: Some(code),
            ..Event::new(Kind::Exit, &text)
        };
        self.send(Verbosity::Quiet, event);
    }

    fn print(&self, at: Verbosity, kind: Kind, text: &str) {
        self.send(at, Event::new(kind, text));
    }

    fn report(&self, kind: Kind, report: &Report) {
        let mut report = report.map(|text| self.redact(text));
        if self.screen.verbosity > Verbosity::Quiet {
            // It stands above already.
            report.output.clear();
        }
        let log = match kind {
            Kind::Error => self.build.as_ref().and_then(|build| build.log.path()),
            _ => None,
        };
        let event = Event {
            report: Some(&report),
            log,
            ..Event::new(kind, &report.text)
        };
        self.send(Verbosity::Quiet, event);
    }

    /// Hides secrets in the text of an event, adds its build, and passes it to the log and the screen.
    fn send(&self, at: Verbosity, event: Event<'_>) {
        let text = self.redact(event.text);
        let build = self.build.as_ref();
        let event = Event {
            text: &text,
            build: build.map(|build| build.id.as_str()),
            job: build.and_then(|build| build.label.as_deref()),
            ..event
        };
        if let Some(build) = build
            && let Err(error) = build.log.write(&event)
        {
            self.warn_of_log(&error);
        }
        if at <= self.screen.verbosity {
            self.screen.printer.print(&event);
        }
    }
}

impl Default for Ui {
    /// Plain lines, warnings and errors only: for tests.
    fn default() -> Self {
        let mode = Mode::Plain {
            color: false,
            ci: Ci::None,
        };
        Self::new(mode, Verbosity::Quiet)
    }
}

/// Colours texts with ANSI sequences, if that is wanted.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn all(self, code: &str, text: &str) -> String {
        self.prefix(code, text, text)
    }

    /// Colours the beginning of a text, if it is `prefix`.
    fn prefix(self, code: &str, text: &str, prefix: &str) -> String {
        match text.strip_prefix(prefix) {
            Some(rest) if self.0 => format!("\x1b[{code}m{prefix}\x1b[0m{rest}"),
            _ => text.to_owned(),
        }
    }
}

/// Writes to stderr. A closed stderr must not end a build, so errors are ignored.
fn write_line(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
