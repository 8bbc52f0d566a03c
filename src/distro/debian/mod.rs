//! Debian's package formats: archive indices, release files, `.deb` files and dpkg's status. Pure: nothing here fetches
//! or opens a file.

pub(crate) mod closure;
pub(crate) mod compressed;
pub mod control;
pub(crate) mod deb;
pub mod index;
pub(crate) mod relation;
pub mod release;
pub mod status;
pub(crate) mod version;
