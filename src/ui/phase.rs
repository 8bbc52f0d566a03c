//! Phases and progress bars: begun by a [`Ui`], ended when they are dropped.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::event::{Event, Kind, Part};
use super::{Ui, Verbosity};

/// Progress bar over a number of bytes that may be unknown. Dropping it removes the bar.
pub struct Bar {
    ui: Ui,
    id: u64,
}

/// A running phase or step. Dropped without [`Phase::done`], it shows as failed.
pub struct Phase {
    ui: Ui,
    name: String,
    part: Option<Part>,
    id: u64,
    started: Instant,
    over: bool,
}

impl Ui {
    /// Shows that a phase or step starts.
    #[must_use]
    pub fn phase(&self, name: &str) -> Phase {
        self.numbered_phase(name, None)
    }

    /// Shows that a phase starts which may be one of several.
    #[must_use]
    pub(crate) fn numbered_phase(&self, name: &str, part: Option<Part>) -> Phase {
        let phase = Phase {
            ui: self.clone(),
            name: self.redact(name),
            part,
            id: self.next_id(),
            started: Instant::now(),
            over: false,
        };
        let build = self.build.as_ref();
        let usual = build.and_then(|build| build.usual(&phase.name));
        let event = Event {
            id: Some(phase.id),
            part,
            usual,
            ..Event::new(Kind::Started, &phase.name)
        };
        self.send(Verbosity::Normal, event);
        phase
    }

    /// Starts a progress bar of `total` bytes.
    #[must_use]
    pub fn bar(&self, label: &str, total: Option<u64>) -> Bar {
        let bar = Bar {
            ui: self.clone(),
            id: self.next_id(),
        };
        let event = Event {
            id: Some(bar.id),
            total,
            ..Event::new(Kind::Bar, label)
        };
        self.send(Verbosity::Normal, event);
        bar
    }

    fn next_id(&self) -> u64 {
        self.screen.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

impl Bar {
    /// Moves the bar by a number of bytes.
    pub fn advance(&self, bytes: u64) {
        let event = Event {
            id: Some(self.id),
            bytes: Some(bytes),
            ..Event::new(Kind::Advance, "")
        };
        self.ui.send(Verbosity::Normal, event);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        let event = Event {
            id: Some(self.id),
            ..Event::new(Kind::BarEnd, "")
        };
        self.ui.send(Verbosity::Normal, event);
    }
}

impl Phase {
    /// Ends the phase as successful; returns its duration.
    #[must_use]
    pub fn done(mut self) -> Duration {
        self.end(Kind::Done);
        let took = self.started.elapsed();
        if let Some(build) = &self.ui.build {
            build.add_phase(&self.name, took);
        }
        took
    }

    /// Ends the phase because the user stopped the build.
    pub(crate) fn cancelled(mut self) {
        self.end(Kind::Cancelled);
    }

    fn end(&mut self, kind: Kind) {
        self.over = true;
        let took = self.started.elapsed();
        let event = Event {
            id: Some(self.id),
            part: self.part,
            took: Some(took),
            ..Event::new(kind, &self.name)
        };
        self.ui.send(Verbosity::Normal, event);
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        if !self.over {
            self.end(Kind::Failed);
        }
    }
}
