//! Packages: brings them to what the template declares, and lists what is there.

use crate::builder::Machine;
use crate::plan;

use super::{Context, ProvisionError};

mod apt;
mod installed;

pub use installed::{Installed, Origin, Package, attribute, installed_packages};

/// Installs and removes packages. Nothing is done when nothing is declared.
///
/// # Errors
/// Names the packages that the machine's sources do not have, and the phase that failed with the end of its output.
pub async fn packages<M: Machine>(
    machine: &mut M,
    packages: &plan::Packages,
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    match &packages.apt {
        Some(apt) if !(apt.install.is_empty() && apt.remove.is_empty()) => {
            apt::run(machine, apt, cx).await
        }
        _ => Ok(()),
    }
}
