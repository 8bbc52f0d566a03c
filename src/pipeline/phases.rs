//! Phases of a build: shown, timed and cancellable.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::BuildError;
use crate::ui::Ui;

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
        let value = outcome.unwrap_or(Err(BuildError::Cancelled))?;
        self.took.push((name.to_owned(), phase.done()));
        Ok(value)
    }

    /// Runs a phase that must not be dropped, because it creates resources that have to be removed. The work itself watches
    /// for the cancellation.
    pub(super) async fn run_to_end<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T, BuildError>>,
    ) -> Result<T, BuildError> {
        let phase = self.ui.phase(name);
        if self.cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        let value = work.await?;
        self.took.push((name.to_owned(), phase.done()));
        Ok(value)
    }

    /// Returns the finished phases with their durations, in order.
    pub(super) fn durations(&self) -> Vec<(String, Duration)> {
        self.took.clone()
    }
}
