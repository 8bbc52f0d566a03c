//! QEMU guests on this host. Not written yet.

/// Why QEMU could not run the guest.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("not written yet")]
pub struct QemuError;
