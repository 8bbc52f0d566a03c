//! Looks at a finished disk from outside: one walk of its tree, several checks, a list of [findings](Finding).
//!
//! ```text
//! disk image | directory | recorded image -> tree -> checks -> findings -> policy -> report
//! ```
//!
//! The guest is never asked. A check that cannot do its work is a [`ScanError`], never "nothing found".

mod error;
mod finding;
pub mod root;
pub mod secrets;
#[cfg(test)]
mod testing;

pub use error::ScanError;
pub use finding::{Finding, Severity, State};
pub use root::Root;
