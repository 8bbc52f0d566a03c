//! The verbs: one file each, arguments and `run` side by side.

pub mod export;
pub mod list;
pub mod show;
pub mod stored;
