//! What Debian's archives and machines say about packages. Pure: bytes in, values out; nothing here
//! fetches or opens a file.

pub mod control;
pub mod deb;
pub mod index;
pub mod needed;
pub mod relation;
pub mod release;
pub mod status;
pub mod version;
