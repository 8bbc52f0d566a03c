//! Scans a finished disk from outside: one walk of its tree, several checks, a list of [findings](Finding).
//!
//! ```text
//! disk image | directory | recorded image -> tree -> checks -> findings -> policy -> report
//! ```
//!
//! The guest is not involved. A check that cannot run fails with a `ScanError`; it never reports "nothing found".

mod boot_chain;
mod boot_files;
mod cpio;
mod error;
mod finding;
pub(crate) mod hygiene;
pub(crate) mod integrity;
pub mod inventory;
mod lookahead;
pub(crate) mod open;
#[cfg(any(test, feature = "fuzzing"))]
mod planted;
pub mod report;
pub(crate) mod root;
pub mod run;
pub(crate) mod secrets;
#[cfg(test)]
mod testing;
pub(crate) mod undeclared;
pub mod vulnerability;

pub use crate::record::severity::Severity;
pub(crate) use error::ScanError;
pub use finding::{Finding, State};
pub(crate) use integrity::Packaged;
pub(crate) use open::{Opened, open};
pub(crate) use root::Root;
