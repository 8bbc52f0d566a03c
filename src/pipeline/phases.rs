//! Phases of a build: shown, timed and cancellable.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::BuildError;
use crate::ui::{Part, Phase, Ui};

/// Finished phases with their durations.
pub(super) struct Phases<'a> {
    ui: &'a Ui,
    cancel: &'a CancellationToken,
    took: Vec<(String, Duration)>,
}

impl<'a> Phases<'a> {
    pub(super) fn new(ui: &'a Ui, cancel: &'a CancellationToken) -> Self {
        Self {
            ui,
            cancel,
            took: Vec::new(),
        }
    }

    /// Runs a phase. Cancelling the build drops the work at once.
    pub(super) async fn run<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T, BuildError>>,
    ) -> Result<T, BuildError> {
        let phase = self.ui.phase(name);
        let outcome = self.cancel.run_until_cancelled(work).await;
        self.end(name, phase, outcome.unwrap_or(Err(BuildError::Cancelled)))
    }

    /// Runs a step or test, as [`Self::run`] does. `name` is that of its recorded duration.
    pub(super) async fn run_part<T>(
        &mut self,
        name: &str,
        (shown, part): (&str, Part),
        work: impl Future<Output = Result<T, BuildError>>,
    ) -> Result<T, BuildError> {
        let phase = self.ui.numbered_phase(shown, Some(part));
        let outcome = self.cancel.run_until_cancelled(work).await;
        self.end(name, phase, outcome.unwrap_or(Err(BuildError::Cancelled)))
    }

    /// Runs a phase that must not be dropped, because it creates resources that have to be removed. The work itself watches
    /// for the cancellation.
    pub(super) async fn run_to_end<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T, BuildError>>,
    ) -> Result<T, BuildError> {
        let phase = self.ui.phase(name);
        let outcome = if self.cancel.is_cancelled() {
            Err(BuildError::Cancelled)
        } else {
            work.await
        };
        self.end(name, phase, outcome)
    }

    fn end<T>(
        &mut self,
        name: &str,
        phase: Phase,
        outcome: Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        match &outcome {
            Ok(_) => self.took.push((name.to_owned(), phase.done())),
            Err(BuildError::Cancelled) => phase.cancelled(),
            // Dropping the phase marks it as failed.
            Err(_) => drop(phase),
        }
        outcome
    }

    /// Returns the finished phases with their durations, in order.
    pub(super) fn durations(&self) -> Vec<(String, Duration)> {
        self.took.clone()
    }
}
