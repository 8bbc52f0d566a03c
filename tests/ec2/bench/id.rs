//! Ids such as AWS makes.

use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(1);

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// `<kind>-<17 hex digits>`, none twice.
pub fn resource(kind: &str) -> String {
    format!("{kind}-0be{:014x}", next())
}

/// A request's id.
pub fn request() -> String {
    let number = next();
    format!("{:08x}-0000-4000-8000-{number:012x}", number >> 8)
}

/// Twelve digits of an account, none twice.
pub fn account() -> String {
    format!("{}", 200_000_000_000 + next())
}
