//! What Debian's archives and machines say about packages. Pure: bytes in, values out; nothing here
//! fetches or opens a file.

pub(crate) mod closure;
pub mod control;
pub(crate) mod deb;
pub mod index;
pub(crate) mod relation;
pub mod release;
pub mod status;
pub(crate) mod version;
