//! Why a disk cannot be read.

use std::io;

use miette::Diagnostic;
use thiserror::Error;

/// Why a disk, a partition table or a file system cannot be read.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum ReadError {
    /// The host could not read.
    #[error("cannot read {what}")]
    Io {
        /// The file, or the part of the disk.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Bytes outside of the disk, the partition or the file system were asked for.
    #[error("{length} bytes at {offset} are outside of a disk or partition of {size} bytes")]
    #[diagnostic(help("the disk is damaged or cut off: check it, or build it again"))]
    Outside {
        /// Where they would start.
        offset: u64,
        /// How many.
        length: u64,
        /// What there is.
        size: u64,
    },
    /// What is there contradicts itself or its checksum.
    #[error("the {part} is damaged: {problem}")]
    #[diagnostic(help(
        "check it (`qemu-img check`, `sfdisk --verify`, `e2fsck -fn`), or build the disk again"
    ))]
    Damaged {
        /// As in `ext4 file system`.
        part: &'static str,
        /// What is wrong, and where.
        problem: String,
    },
    /// It may be good, but karat does not know it.
    #[error("the {part} has {feature}, which karat cannot read")]
    #[diagnostic(help("{help}"))]
    Unsupported {
        /// As in `ext4 file system`.
        part: &'static str,
        /// What is not known.
        feature: String,
        /// What to do.
        help: &'static str,
    },
    /// It is beyond any sensible disk: reading it would take unbounded time or memory.
    #[error("the {part} is not read: {problem}")]
    #[diagnostic(help("no system image needs this; a disk that claims it is damaged or hostile"))]
    TooLarge {
        /// As in `ext4 file system`.
        part: &'static str,
        /// Which limit it breaks.
        problem: String,
    },
}
