//! What RPM's repositories say about packages. Pure: text in, values out.

pub(crate) mod header;
pub(crate) mod repository;
pub(crate) mod version;
