//! Images that are kept although their build failed, as a file beside the user's: never in the store, so no channel, base or
//! rebuild can use them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{BuildError, Job, Made};
use crate::plan::Format;

impl Job<'_> {
    /// Keeps the image of a build whose test failed, if the user wants that, and returns the error.
    pub(super) fn keep_failed_image(&self, made: &Made, error: BuildError) -> BuildError {
        if !self.settings.scan.keep_failed || matches!(error, BuildError::Cancelled) {
            return error;
        }
        match self.keep_image(&made.file, "failed") {
            Ok(path) => self
                .ui
                .warn(&format!("the image is kept as {}", path.display())),
            Err((path, source)) => self.ui.warn(&format!(
                "the image could not be kept as {}: {source}",
                path.display()
            )),
        }
        error
    }

    /// Moves an image to the current directory, as `NAME.WHY.FORMAT`. Returns its path, with the reason if
    /// that failed.
    pub(super) fn keep_image(
        &self,
        image: &Path,
        why: &str,
    ) -> Result<PathBuf, (PathBuf, io::Error)> {
        let format = match self.plan.output.format {
            Format::Raw => "img",
            other => other.name(),
        };
        let path = PathBuf::from(format!("{}.{why}.{format}", self.plan.image.name));
        // Replaces an older one: only the last attempt is useful.
        match fs::rename(image, &path).or_else(|_| fs::copy(image, &path).map(drop)) {
            Ok(()) => Ok(path),
            Err(source) => Err((path, source)),
        }
    }
}
