//! A build, a rebuild or a lock with a log of its own.

use std::path::Path;

use crate::cli::CommandError;
use crate::record::manifest::ManifestId;
use crate::ui::{BuildInfo, Ui};

/// Result of work that has a log.
pub(crate) trait LoggedResult {
    /// Returns the exit code of work that did not fail.
    fn code(&self) -> u8 {
        0
    }

    /// Returns the id of the image that was made.
    fn manifest(&self) -> Option<ManifestId> {
        None
    }
}

/// Does work with a log in the directory `logs`. Shows its error, and returns the exit code of that.
///
/// `label` names the work in its lines, if several run in parallel.
pub(crate) async fn logged<T: LoggedResult>(
    ui: &Ui,
    info: BuildInfo<'_>,
    label: Option<&str>,
    logs: &Path,
    work: impl AsyncFnOnce(&Ui) -> Result<T, CommandError>,
) -> Result<T, u8> {
    let ui = ui.begin_build(info, label, logs);
    match work(&ui).await {
        Ok(result) => {
            let manifest = result.manifest().map(|id| id.to_string());
            ui.end_build(result.code(), manifest.as_deref());
            Ok(result)
        }
        Err(error) => {
            show(&error, &ui);
            ui.end_build(error.exit_code(), None);
            Err(error.exit_code())
        }
    }
}

/// Shows an error on stderr.
pub(crate) fn show(error: &CommandError, ui: &Ui) {
    for report in error.reports(ui.is_colored()) {
        ui.error_of(&report);
    }
}
