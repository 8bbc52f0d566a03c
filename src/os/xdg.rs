//! A user's directories, by the XDG Base Directory Specification.

use std::path::PathBuf;

/// Returns the directory that the environment variable names, else `in_home` below `HOME`. Relative paths are ignored, as
/// the specification requires.
pub fn directory(variable: &str, in_home: &str) -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(in_home)))
}
