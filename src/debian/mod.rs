//! What Debian's archives and machines say about packages. Pure: text in, values out; nothing here fetches or reads a
//! file.

pub mod control;
pub mod index;
pub mod needed;
pub mod relation;
pub mod release;
pub mod status;
pub mod version;
