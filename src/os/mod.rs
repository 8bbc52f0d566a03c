//! The operating system: files, locks, child processes, run directories, threads. Knows nothing of images.

pub(crate) mod atomic_file;
pub mod child;
pub(crate) mod file_lock;
pub mod hash_stream;
pub(crate) mod ordered;
pub(crate) mod run_dir;
pub(crate) mod user;
pub(crate) mod xdg;
