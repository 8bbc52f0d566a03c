//! Programs on the search path.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Directories of system programs, which the search path of an ordinary user often lacks.
const SYSTEM: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Finds a program on `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    find_in(&env::var_os("PATH")?, program)
}

/// Finds a program on `PATH` or in the system's directories.
pub(crate) fn find_system(program: &str) -> Option<PathBuf> {
    find_in(&with_system(), program)
}

/// Returns `PATH` with the system's directories at its end.
pub(crate) fn with_system() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":");
    path.push(SYSTEM);
    path
}

fn find_in(path: &OsStr, program: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up() {
        for find in [find, find_system] {
            assert!(find("sh").is_some() && find("no-such-program").is_none());
        }
    }
}
