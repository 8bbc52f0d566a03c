//! Where a user's files are: the XDG Base Directory Specification.

use std::path::PathBuf;

/// The directory that `variable` names, or the one of this name in the home directory. `None` where the environment names
/// neither. What is not absolute is to be ignored, says the specification.
#[must_use]
pub fn directory(variable: &str, in_home: &str) -> Option<PathBuf> {
    let absolute = |name| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(in_home)))
}
