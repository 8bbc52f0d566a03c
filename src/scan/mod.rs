//! Looks at a finished disk from outside: one walk of its tree, several checks, a list of [findings](Finding).
//!
//! ```text
//! disk image | directory | recorded image -> tree -> checks -> findings -> policy -> report
//! ```
//!
//! The guest is never asked. A check that cannot do its work is a [`ScanError`], never "nothing found".

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

pub use crate::severity::Severity;
pub use error::ScanError;
pub use finding::{Finding, State};
pub use open::{Opened, open};
pub use packaged::Packaged;
pub use root::Root;
