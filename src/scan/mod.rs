//! Scans a finished disk from outside: one walk of its tree, several checks, a list of [findings](Finding).
//!
//! ```text
//! disk image | directory | recorded image -> tree -> checks -> findings -> policy -> report
//! ```
//!
//! The guest is not involved. A check that cannot run fails with a `ScanError`; it never reports "nothing found".

mod error;
mod finding;
pub(crate) mod hygiene;
pub mod inventory;
pub(crate) mod licenses;
pub(crate) mod open;
pub(crate) mod packaged;
pub mod policy;
pub(crate) mod purl;
pub mod report;
pub(crate) mod root;
mod sarif;
pub mod sbom;
pub(crate) mod secrets;
mod sqlite;
#[cfg(test)]
mod testing;
pub(crate) mod undeclared;
pub(crate) mod vex;
pub mod vulnerability;
pub mod whole;

pub(crate) use error::ScanError;
pub use finding::{Finding, Severity, State};
pub(crate) use open::{Opened, open};
pub(crate) use packaged::Packaged;
pub(crate) use root::Root;
