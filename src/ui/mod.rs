//! Progress, notes and warnings on stderr: on a terminal, as plain lines, or as JSON lines.
//!
//! Every text passes one filter that hides the values of secrets.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::secret::{Redactor, Secrets};

mod event;
mod lines;
mod terminal;
pub(crate) mod text;

use event::Event;

/// Form of the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Spinners and bars that redraw in place.
    Terminal {
        /// Colours the output with ANSI sequences.
        color: bool,
    },
    /// One line an event, without redrawing.
    Plain,
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
    job: Option<Arc<str>>,
}

struct Screen {
    printer: Box<dyn Printer>,
    verbosity: Verbosity,
    redactors: Mutex<Vec<Redactor>>,
    next_bar: std::sync::atomic::AtomicU64,
}

/// Progress bar over a number of bytes that may be unknown. Dropping it removes the bar.
pub struct Bar {
    ui: Ui,
    id: u64,
}

/// A running phase or step. Dropped without [`Phase::done`], it shows as failed.
pub struct Phase {
    ui: Ui,
    name: String,
    id: u64,
    started: Instant,
    over: bool,
}

impl Ui {
    /// Creates a screen on stderr.
    #[must_use]
    pub fn new(mode: Mode, verbosity: Verbosity) -> Self {
        let printer: Box<dyn Printer> = match mode {
            Mode::Terminal { color } => Box::new(terminal::Terminal::new(color)),
            Mode::Plain => Box::new(lines::Plain),
            Mode::Json => Box::new(lines::Json),
        };
        Self {
            screen: Arc::new(Screen {
                printer,
                verbosity,
                redactors: Mutex::default(),
                next_bar: 0.into(),
            }),
            job: None,
        }
    }

    /// Returns a handle for one of several jobs, whose lines carry the job's name.
    #[must_use]
    pub fn for_job(&self, job: &str) -> Self {
        Self {
            screen: Arc::clone(&self.screen),
            job: Some(job.into()),
        }
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
        self.print(Verbosity::Normal, "note", text);
    }

    /// Warns of a problem that did not stop the work.
    pub fn warn(&self, text: &str) {
        self.print(Verbosity::Quiet, "warning", text);
    }

    /// Shows the error that stopped the work.
    pub fn error(&self, text: &str) {
        self.print(Verbosity::Quiet, "error", text);
    }

    /// Shows a detail, with `--verbose` only.
    pub fn detail(&self, text: &str) {
        self.print(Verbosity::Verbose, "detail", text);
    }

    /// Shows a line of output of the running step.
    pub fn output(&self, line: &str) {
        self.print(Verbosity::Normal, "output", line);
    }

    /// Shows that a phase or step starts.
    #[must_use]
    pub fn phase(&self, name: &str) -> Phase {
        let phase = Phase {
            ui: self.clone(),
            name: self.redact(name),
            id: self.next_id(),
            started: Instant::now(),
            over: false,
        };
        self.send(Verbosity::Normal, "started", &phase.name, |event| {
            event.id = phase.id;
        });
        phase
    }

    /// Starts a progress bar of `total` bytes.
    #[must_use]
    pub fn bar(&self, label: &str, total: Option<u64>) -> Bar {
        let bar = Bar {
            ui: self.clone(),
            id: self.next_id(),
        };
        self.send(Verbosity::Normal, "bar", label, |event| {
            event.id = bar.id;
            event.total = total;
        });
        bar
    }

    fn next_id(&self) -> u64 {
        self.screen
            .next_bar
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    fn print(&self, at: Verbosity, kind: &'static str, text: &str) {
        self.send(at, kind, text, |_| {});
    }

    fn send(
        &self,
        at: Verbosity,
        kind: &'static str,
        text: &str,
        complete: impl FnOnce(&mut Event<'_>),
    ) {
        if at > self.screen.verbosity {
            return;
        }
        let text = self.redact(text);
        let mut event = Event::new(kind, self.job.as_deref(), &text);
        complete(&mut event);
        self.screen.printer.print(&event);
    }
}

impl Default for Ui {
    /// Plain lines, warnings and errors only: for tests.
    fn default() -> Self {
        Self::new(Mode::Plain, Verbosity::Quiet)
    }
}

impl Bar {
    /// Moves the bar by a number of bytes.
    pub fn advance(&self, bytes: u64) {
        self.ui.send(Verbosity::Normal, "advance", "", |event| {
            event.id = self.id;
            event.total = Some(bytes);
        });
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.ui
            .send(Verbosity::Normal, "bar_end", "", |event| event.id = self.id);
    }
}

impl Phase {
    /// Ends the phase as successful; returns its duration.
    #[must_use]
    pub fn done(mut self) -> Duration {
        self.end("done");
        self.started.elapsed()
    }

    fn end(&mut self, kind: &'static str) {
        self.over = true;
        let took = self.started.elapsed();
        self.ui.send(Verbosity::Normal, kind, &self.name, |event| {
            event.id = self.id;
            event.took = Some(took);
        });
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        if !self.over {
            self.end("failed");
        }
    }
}
