//! Errors of reading a disk.

use std::io;

use miette::Diagnostic;
use thiserror::Error;

/// Advice for a partition table that can be read in several ways.
pub(crate) const AMBIGUOUS_HELP: &str = "a scan could see other partitions than the machine: write the table again with `fdisk` or `gdisk`, as the only one and without overlaps";

/// A disk, partition table or file system that cannot be read.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages document the variants")]
#[non_exhaustive]
pub enum ReadError {
    #[error("cannot read {what}")]
    Io {
        /// A file, or a part of the disk.
        what: String,
        source: io::Error,
    },
    #[error("{length} bytes at {offset} are outside of a disk or partition of {size} bytes")]
    #[diagnostic(help("the disk is damaged or truncated: check it, or build it again"))]
    Outside { offset: u64, length: u64, size: u64 },
    /// The data contradicts itself or its checksum.
    #[error("the {part} is damaged: {problem}")]
    #[diagnostic(help(
        "check it (`qemu-img check`, `sfdisk --verify`, `e2fsck -fn`), or build the disk again"
    ))]
    Damaged {
        /// As in `ext4 file system`.
        part: &'static str,
        problem: String,
    },
    /// A partition table that the kernel, firmware or a boot loader could read in another way than karat.
    #[error("the partition table can be read in several ways: {problem}")]
    #[diagnostic(help("{}", AMBIGUOUS_HELP))]
    Ambiguous { problem: String },
    #[error("the {part} has {feature}, which karat cannot read")]
    #[diagnostic(help("{help}"))]
    Unsupported {
        /// As in `ext4 file system`.
        part: &'static str,
        feature: String,
        help: &'static str,
    },
    /// Reading it would take unbounded time or memory.
    #[error("the {part} exceeds a limit: {problem}")]
    #[diagnostic(help("no system image needs this; a disk that claims it is damaged or hostile"))]
    TooLarge {
        /// As in `ext4 file system`.
        part: &'static str,
        problem: String,
    },
}

impl ReadError {
    pub(crate) fn damaged(part: &'static str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::Damaged { part, problem }
    }

    pub(crate) fn ambiguous(problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::Ambiguous { problem }
    }

    pub(crate) fn too_large(part: &'static str, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        Self::TooLarge { part, problem }
    }
}
