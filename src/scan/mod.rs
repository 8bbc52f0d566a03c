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
pub(crate) mod integrity;
pub mod inventory;
pub(crate) mod open;
pub mod report;
pub(crate) mod root;
pub mod run;
pub(crate) mod secrets;
#[cfg(test)]
mod testing;
pub(crate) mod undeclared;
pub mod vulnerability;

pub use crate::record::severity::Severity;
pub use error::ScanError;
pub use finding::{Finding, State};
pub use integrity::Packaged;
pub use open::{Opened, open};
pub use root::Root;
