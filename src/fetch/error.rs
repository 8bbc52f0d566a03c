//! Errors of downloads.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use super::batch::MissingFile;
use super::checksums::NotListed;
use super::transfer::TransferError;
use crate::digest::Digest;

/// Failure of a download or of the cache.
#[derive(Debug, Error, Diagnostic)]
pub enum FetchError {
    #[error("cannot fetch {url:?}: {reason}")]
    #[diagnostic(help("give an `http`, `https` or `file` URL"))]
    Url { url: String, reason: String },
    /// All tries failed, or one failed in a way that a retry cannot fix.
    #[error("cannot download {url}{}", after(*tries))]
    #[diagnostic(help("{}", transfer_help(source)))]
    Transfer {
        url: String,
        tries: u32,
        /// Failure of the last try.
        source: TransferError,
    },
    #[error("the download of {url} is {actual}, not {expected}")]
    #[diagnostic(help(
        "nothing was kept; either the file at the URL has changed, or the expected digest is wrong"
    ))]
    Mismatch {
        url: String,
        expected: Digest,
        actual: Digest,
    },
    #[error("{url} has {} for {name:?}", problem(*why))]
    #[diagnostic(help(
        "it must hold SHA-256 digests, one `<hex>  <name>` a line; or give the digest itself as `sha256`"
    ))]
    Checksums {
        /// URL of the checksum file.
        url: String,
        /// File name that was looked up.
        name: String,
        why: NotListed,
    },
    #[error("{url} is not a checksum file")]
    #[diagnostic(help("`sha256_url` must point at a text file like SHA256SUMS"))]
    NotChecksums { url: String },
    #[error("cannot write to the cache at {}", path.display())]
    #[diagnostic(help("free some space there, or set another directory with KARAT_CACHE"))]
    Cache { path: PathBuf, source: io::Error },
    #[error("{} not found in the cache, store, mirrors or archive:\n  {}", count(missing.len()), lines(missing))]
    #[diagnostic(help(
        "the digests are those of the lock file: name a mirror that still has the files with `--mirror`, or resolve again with `karat lock --update`"
    ))]
    Missing { missing: Vec<MissingFile> },
    #[error("cannot set up HTTP")]
    NoClient(#[source] TransferError),
    #[error("cannot locate the cache: neither XDG_CACHE_HOME nor HOME is set")]
    #[diagnostic(help("set KARAT_CACHE to a directory"))]
    NoPlace,
}

fn transfer_help(error: &TransferError) -> &'static str {
    match error {
        TransferError::File { .. } => "check the path in the URL",
        _ => {
            "check the URL and the network; the bytes received so far are kept, and the next try continues from there. \
             An `https` URL needs the certificates of the system (package ca-certificates)"
        }
    }
}

fn count(files: usize) -> String {
    match files {
        1 => "1 file was".to_owned(),
        files => format!("{files} files were"),
    }
}

fn lines(missing: &[MissingFile]) -> String {
    let lines: Vec<_> = missing.iter().map(ToString::to_string).collect();
    lines.join("\n  ")
}

fn after(tries: u32) -> String {
    match tries {
        0 | 1 => String::new(),
        tries => format!(" after {tries} tries"),
    }
}

fn problem(why: NotListed) -> &'static str {
    match why {
        NotListed::Missing => "no SHA-256 digest",
        NotListed::Contradictory => "several SHA-256 digests",
    }
}

impl FetchError {
    /// Returns the process exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Url { .. } => 2,
            Self::Mismatch { .. } => 4,
            _ => 1,
        }
    }
}
