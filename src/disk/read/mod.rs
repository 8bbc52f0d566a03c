//! Disks read offline by the host: no root, no mount, no kernel. Blocks → partitions → a file system behind [`FileSystem`].
//!
//! All of it reads bytes that a guest wrote. Every access is checked and every size is bounded: a hostile disk gives a
//! [`ReadError`], never a panic, a hang or unbounded memory.

mod blocks;
pub(crate) mod cache;
mod error;
mod fields;
mod file_system;
mod unsupported;
mod walk;

pub(crate) mod directory;
pub mod ext4;
pub mod fat;
pub mod fuzzing;
pub mod partitions;
pub mod qcow2;

pub use blocks::{BlockRead, Memory, RawFile, Slice, Span};
pub use error::ReadError;
pub use file_system::{Entry, FileSystem, Flags, Inode, Kind, Metadata, Run, Time, Xattr};
pub use unsupported::foreign;
pub use walk::walk;
