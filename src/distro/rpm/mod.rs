//! RPM repository metadata and version order. Pure: text in, values out.

pub(crate) mod header;
pub(crate) mod repository;
pub(crate) mod version;
