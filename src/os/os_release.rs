//! `/etc/os-release`: the distribution of this host.

use std::path::Path;

/// Returns the text of the file below `root`; empty if it cannot be read.
pub(crate) fn read(root: &Path) -> String {
    std::fs::read_to_string(root.join("etc/os-release")).unwrap_or_default()
}

/// Returns the value of a key, without quotes; empty if the key is missing.
pub(crate) fn value<'t>(text: &'t str, key: &str) -> &'t str {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or_default()
        .trim_matches('"')
}
