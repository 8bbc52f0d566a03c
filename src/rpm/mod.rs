//! What RPM's repositories say about packages. Pure: text in, values out.

pub mod repository;
pub mod version;
