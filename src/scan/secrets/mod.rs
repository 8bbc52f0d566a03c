//! Secrets that were left on a disk: credentials of others in its files, the template's own anywhere on it.
//!
//! ```text
//! file -> (unpack) -> anchors, all at once -> patterns around them -> judges -> one finding for each rule and file
//! ```
//!
//! Nothing that is found is ever shown: a finding says where it is, how long it is, and, of keys that a machine made,
//! the start of its digest.

mod files;
mod raw;
mod rule;
mod rules;
#[cfg(test)]
mod tests;
mod text;
mod unpack;
mod validators;

pub use files::check;
pub use raw::raw;

/// How a finding is accepted, as lines of a template.
fn accept(id: &str) -> String {
    format!("[[policy.ignore]]\nid = {id:?}\nreason = \"\"\n")
}
