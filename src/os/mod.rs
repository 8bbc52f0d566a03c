//! The operating system: files, locks, child processes, run directories, threads. Knows nothing of images.

pub(crate) mod atomic_file;
pub mod child;
pub mod environment;
pub(crate) mod file_lock;
pub mod hash_stream;
pub(crate) mod ordered;
pub(crate) mod os_release;
pub mod requirement;
pub(crate) mod resources;
pub(crate) mod run_dir;
pub(crate) mod search_path;
pub(crate) mod tail;
pub(crate) mod user;
pub(crate) mod xdg;

use std::io;

/// Returns `None` if the file of an operation does not exist.
pub(crate) fn if_exists<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}
