//! Formats of the distributions: versions, package databases and indices of dpkg, RPM and apk. Pure: bytes in, values out.

pub(crate) mod alpine;
pub mod debian;
pub(crate) mod python;
pub(crate) mod rpm;
pub(crate) mod sqlite;
