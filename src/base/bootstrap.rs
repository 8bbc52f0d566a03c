//! A base made from a package archive. Placeholder: the module that makes one replaces this file.

use std::path::Path;

use super::BaseDisk;
use crate::fetch::Cache;
use crate::plan::Bootstrap;
use crate::ui::Ui;

/// Why no base could be made.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("this karat cannot make a base from a package archive")]
pub struct BootstrapError;

/// Makes the base.
pub(super) async fn obtain(
    _bootstrap: &Bootstrap,
    _cache: &Cache,
    _run: &Path,
    _ui: &Ui,
) -> Result<BaseDisk, BootstrapError> {
    Err(BootstrapError)
}
