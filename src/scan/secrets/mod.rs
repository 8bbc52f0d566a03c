//! Secrets that were left on a disk: credentials of others in its files, the template's own anywhere on it.

mod raw;

pub use raw::raw;

/// How a finding is accepted, as lines of a template.
fn accept(id: &str) -> String {
    format!("[[policy.ignore]]\nid = {id:?}\nreason = \"\"\n")
}
