//! Finds secrets that were left on a disk: any credentials in its files, and the template's own secrets anywhere on it.
//!
//! ```text
//! file -> (unpack) -> anchors, all at once -> patterns around them -> validators -> one finding for each rule and file
//! ```
//!
//! A finding never contains the secret itself. It gives its place and length, and for keys that a machine made the first
//! digits of its digest.

mod files;
mod lists;
mod raw;
mod rule;
mod rules;
#[cfg(test)]
mod tests;
mod text;
mod unpack;
mod validators;

pub use files::search_files;
pub use raw::search_disk;

/// Number of places that a finding names.
const MAX_PLACES: usize = 5;

/// Returns the lines of a template that accept a finding.
fn accept(id: &str) -> String {
    format!("[[policy.ignore]]\nid = {id:?}\nreason = \"\"\n")
}
