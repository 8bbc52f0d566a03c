//! Package resolution errors.

use std::io;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::network::InvalidRule;

/// An error while resolving packages with the machine's package manager.
#[derive(Debug, Error, Diagnostic)]
#[expect(
    missing_docs,
    reason = "the messages explain the variants and their fields"
)]
pub enum PackageError {
    #[error("cannot read the key {}", path.display())]
    #[diagnostic(help(
        "check `key` of the template's package repositories; it is relative to the template"
    ))]
    Key { path: PathBuf, source: io::Error },
    /// A package source has an address that only the machine itself can use.
    #[error("the host cannot fetch from the machine's package source {uri} ({place})")]
    #[diagnostic(help(
        "sources need `http` or `https` URIs, or a list of them (mirror+file:/etc/apt/mirrors/...); remove the source from the base, \
         or declare the archive in the template (`[[packages.apt.repositories]]`, `[[packages.dnf.repositories]]`)"
    ))]
    Unreachable { uri: String, place: String },
    /// A package source turns off signature checks. `field` is the setting.
    #[error("the package source {uri} ({place}) is trusted without a signature (`{field}`)")]
    #[diagnostic(help(
        "configure its key (`Signed-By` for apt; `repo_gpgcheck=1` and `gpgkey` for dnf); or, if it has none, declare the source in the template \
         (`[[packages.apt.repositories]]`, `[[packages.dnf.repositories]]`) with `trusted = true`"
    ))]
    Blind {
        uri: String,
        place: String,
        field: String,
    },
    /// The machine has no supported package manager.
    #[error("{0}")]
    #[diagnostic(help(
        "install packages with a step, or use a base with the package manager that the template names"
    ))]
    NoManager(String),
    #[error("dnf does not know these packages: {0}")]
    #[diagnostic(help(
        "check the spelling; `dnf search` in the machine lists the available packages"
    ))]
    Unknown(String),
    #[error("cannot serve the package sources to the machine")]
    Rule(#[from] InvalidRule),
    #[error("cannot parse the package manager's output: {0}")]
    #[diagnostic(help(
        "karat does not support this version of the package manager; please report it with this line"
    ))]
    Odd(String),
    #[error("the package manager would install {0} but gave no file for it")]
    #[diagnostic(help("see the package manager's output above"))]
    NoFile(String),
    #[error("the archive has no SHA-256 digest of {0}")]
    #[diagnostic(help(
        "karat installs only packages with a digest; use an archive whose index has SHA256 fields"
    ))]
    NoDigest(String),
    #[error("{0} is not in any declared package source")]
    #[diagnostic(help(
        "declare the archive in the template (`[[packages.apt.repositories]]`, `[[packages.dnf.repositories]]`)"
    ))]
    Elsewhere(String),
    #[error("{0} has no date")]
    #[diagnostic(help(
        "the timestamps in an image come from its archives, which must have a `Date` in UTC"
    ))]
    NoDate(String),
    #[error("the package manager read no index of {suite} at {uri}")]
    #[diagnostic(help(
        "the archive must have an `InRelease` file, or `Release` with `Release.gpg`"
    ))]
    NoRelease { uri: String, suite: String },
}
