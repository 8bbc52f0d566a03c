//! Why a disk image could not be had.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

/// Why a disk image could not be had.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum DiskError {
    /// A program is not installed.
    #[error("{program} is not installed")]
    #[diagnostic(help("install it: `apt install {package}`"))]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// `qemu-img` failed.
    #[error("`qemu-img {action}` failed for {}: {problem}", path.display())]
    Failed {
        /// What it was to do.
        action: &'static str,
        /// The image.
        path: PathBuf,
        /// The end of its stderr.
        problem: String,
    },
    /// `qemu-img` could not be started or listened to.
    #[error("cannot run `qemu-img {action}`")]
    Run {
        /// What it was to do.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// `qemu-img info` said something unexpected.
    #[error("cannot understand what qemu-img says about {}", path.display())]
    Answer {
        /// The image.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The image cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The image is only a part of a disk: its digest would say nothing about the rest.
    #[error("{} is not a whole disk: it needs {other}", path.display())]
    #[diagnostic(help("make it standalone: `qemu-img convert -O qcow2 {} standalone.qcow2`", path.display()))]
    NotStandalone {
        /// The image.
        path: PathBuf,
        /// What it needs.
        other: String,
    },
    /// The disk would be smaller than its base.
    #[error("`disk_size` is {wanted} bytes, but the base's disk has {base}")]
    #[diagnostic(help("a disk can only grow: give at least {} MiB, or leave `disk_size` out", base.div_ceil(1 << 20)))]
    TooSmall {
        /// What was asked for.
        wanted: u64,
        /// What the base has.
        base: u64,
    },
    /// The image cannot be written.
    #[error("cannot write the image {}", path.display())]
    #[diagnostic(help("free some space there, or choose another place"))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The target is there already.
    #[error("{} exists already", path.display())]
    #[diagnostic(help("move it away, or choose another name"))]
    Exists {
        /// The file.
        path: PathBuf,
    },
}
