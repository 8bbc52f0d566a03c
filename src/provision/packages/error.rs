//! Why packages could not be resolved.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::network::InvalidRule;

/// Why a machine's package manager could not be asked, or its answer is of no use.
#[derive(Debug, Error, Diagnostic)]
pub enum PackageError {
    /// The key of a repository cannot be read.
    #[error("cannot read the key {}", path.display())]
    #[diagnostic(help(
        "check `key` of the template's package repositories; it is relative to the template"
    ))]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A source of the machine has an address that only the machine itself could use.
    #[error("the machine's package source {uri} ({place}) is not one that a host can fetch from")]
    #[diagnostic(help(
        "sources must have `http` or `https` URIs, or a list of such (mirror+file:/etc/apt/mirrors/...); take it out of the base, \
         or declare the archive in the template (`[[packages.apt.repositories]]`, `[[packages.dnf.repositories]]`)"
    ))]
    Unreachable {
        /// The address.
        uri: String,
        /// The file that has it.
        place: String,
    },
    /// A source that is to be believed without its signature.
    #[error("the package source {uri} ({place}) is to be believed without a signature (`{field}`)")]
    #[diagnostic(help(
        "give the source its key (`Signed-By` for apt; `repo_gpgcheck=1` and `gpgkey` for dnf); or, if it has none, declare it in the template \
         (`[[packages.apt.repositories]]`, `[[packages.dnf.repositories]]`) with `trusted = true`"
    ))]
    Blind {
        /// Where the source is.
        uri: String,
        /// The file that has it.
        place: String,
        /// The field that says so.
        field: String,
    },
    /// The machine has no package manager that can be asked.
    #[error("{0}")]
    #[diagnostic(help(
        "install packages by a step, or use a base with the package manager that the template names"
    ))]
    NoManager(String),
    /// No source has the declared package.
    #[error("dnf has no such package in the declared repositories: {0}")]
    #[diagnostic(help("check the spelling; `dnf search` in the machine shows what there is"))]
    Unknown(String),
    /// A source that the proxy cannot serve.
    #[error("the machine's package sources cannot be served to it")]
    Rule(#[from] InvalidRule),
    /// A line that means nothing.
    #[error("the package manager answered in a way that karat does not understand: {0}")]
    #[diagnostic(help(
        "this is a version of it that karat does not know; please report it with this line"
    ))]
    Odd(String),
    /// A package without a file.
    #[error("the package manager would install {0}, and names no file for it")]
    #[diagnostic(help("the package manager's own words are above"))]
    NoFile(String),
    /// A file that its archive gives no SHA-256 of.
    #[error("the archive has no SHA-256 of {0}")]
    #[diagnostic(help(
        "karat installs only what is known by its digest; use an archive whose index has SHA256 fields"
    ))]
    NoDigest(String),
    /// A file that is in none of the sources.
    #[error("{0} is in none of the declared package sources")]
    #[diagnostic(help(
        "declare the archive in the template (`[[packages.apt.repositories]]`, `[[packages.dnf.repositories]]`)"
    ))]
    Elsewhere(String),
    /// An archive that does not say how old it is.
    #[error("{0} has no date")]
    #[diagnostic(help(
        "the time that an image has comes from its archives: they must have a `Date` in UTC"
    ))]
    NoDate(String),
    /// An archive that was not read.
    #[error("nothing was read of {suite} of {uri}")]
    #[diagnostic(help(
        "the archive must have an `InRelease` file, or `Release` with `Release.gpg`"
    ))]
    NoRelease {
        /// Where the archive is.
        uri: String,
        /// Which suite of it.
        suite: String,
    },
}
