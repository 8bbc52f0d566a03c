//! Why a disk cannot be written anew.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::disk::read::ReadError;
use crate::disk::tree::ListingError;

/// Why a disk cannot be written anew.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum WriteError {
    /// The root file system or the partition table is of a kind that is not written.
    #[error("the base has {what}, which karat cannot write anew")]
    #[diagnostic(help(
        "use another base, or set `rebuild = false` under `[finish]`: the image then is not reproducible"
    ))]
    Unknown {
        /// What it has.
        what: String,
    },
    /// A file cannot be written.
    #[error("{path:?} cannot be written: {problem}")]
    #[diagnostic(help(
        "remove it in a step of the template, or set `rebuild = false` under `[finish]`"
    ))]
    File {
        /// Its path, as text as far as it is text.
        path: String,
        /// Why not.
        problem: String,
    },
    /// The disk is too small for any file system.
    #[error("{bytes} bytes are too few for the root file system")]
    #[diagnostic(help("raise `disk_size`"))]
    TooSmall {
        /// What there is for it.
        bytes: u64,
    },
    /// The tree does not fit.
    #[error("the files do not fit into the {blocks} blocks of the root file system")]
    #[diagnostic(help("raise `disk_size`, or leave out packages or files"))]
    Full {
        /// Blocks of the file system.
        blocks: u64,
    },
    /// There are more files than inodes.
    #[error("there are {files} files, but the root file system has {inodes} inodes")]
    #[diagnostic(help("raise `disk_size`, or leave out packages or files"))]
    Inodes {
        /// Files of the tree.
        files: u64,
        /// What there is for them.
        inodes: u64,
    },
    /// The disk of the guest cannot be read.
    #[error("cannot read the disk of the guest")]
    Read(
        #[from]
        #[diagnostic_source]
        ReadError,
    ),
    /// The image cannot be written.
    #[error("cannot write the image {}", path.display())]
    #[diagnostic(help("free some space there, or choose another place"))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A cluster could not be compressed.
    #[error("cannot compress the image")]
    Compress {
        /// Why.
        source: io::Error,
    },
    /// The listing of the tree cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Listing(#[from] ListingError),
    /// What was written reads back as something else.
    #[error("the image that was written does not read back as it was meant: {problem}")]
    #[diagnostic(help(
        "this is a bug in karat or a fault of this machine; set `rebuild = false` under `[finish]` meanwhile"
    ))]
    ReadBack {
        /// The first difference.
        problem: String,
    },
}
