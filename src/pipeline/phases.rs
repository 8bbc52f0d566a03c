//! The phases of a build: shown, timed, and cancelled between and within.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::BuildError;
use crate::ui::Ui;

/// What has been done so far and how long it took.
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

    /// Does one phase. When the build is cancelled, the work is dropped where it is.
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

    /// Does one phase that must not be dropped in the middle, because it makes what has to be removed: it sees for itself to it
    /// that it ends soon when the build is cancelled.
    pub(super) async fn whole<T>(
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

    /// Every phase with how long it took, in order.
    pub(super) fn so_far(&self) -> Vec<(String, Duration)> {
        self.took.clone()
    }
}
