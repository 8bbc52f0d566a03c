//! Errors of writing a disk.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::disk::read::ReadError;
use crate::disk::tree::ListingError;

/// A disk that cannot be normalized.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the messages document the variants")]
#[non_exhaustive]
pub enum WriteError {
    /// Root file system or partition table are of a kind that karat does not write.
    #[error("cannot rewrite the disk: it has {what}")]
    #[diagnostic(help(
        "kept as the guest leaves it, it would have bytes that no input declares, such as deleted files: use a base in qcow2 or raw with one ext4 \
         file system; or set `rebuild = false` under `[finish]`, for an image that is neither cleaned nor reproducible"
    ))]
    Unknown { what: String },
    #[error("cannot write {path:?} to the image: {problem}")]
    #[diagnostic(help(
        "remove it in a step of the template, or set `rebuild = false` under `[finish]`"
    ))]
    File {
        /// The path in the guest; invalid UTF-8 is replaced.
        path: String,
        problem: String,
    },
    #[error("{bytes} bytes are too few for the root file system")]
    #[diagnostic(help("raise `disk_size`"))]
    TooSmall { bytes: u64 },
    #[error("the files do not fit into the {blocks} blocks of the root file system")]
    #[diagnostic(help("raise `disk_size`, or leave out packages or files"))]
    Full { blocks: u64 },
    #[error("there are {files} files, but the root file system has {inodes} inodes")]
    #[diagnostic(help("raise `disk_size`, or leave out packages or files"))]
    Inodes { files: u64, inodes: u64 },
    #[error("cannot read the guest's disk")]
    Read(
        #[from]
        #[diagnostic_source]
        ReadError,
    ),
    #[error("cannot write the image {}", path.display())]
    #[diagnostic(help("free some space there, or choose another path"))]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot compress the image")]
    Compress { source: io::Error },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Listing(#[from] ListingError),
    #[error("the image reads back differently from what was written: {problem}")]
    #[diagnostic(help(
        "this is a bug in karat or a hardware fault; until it is solved, set `rebuild = false` under `[finish]`"
    ))]
    ReadBack {
        /// The first difference between the listings.
        problem: String,
    },
}
