//! Locks as TOML: strict to read, stable to write, one block for each package.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serializer};

use super::{Lock, LockError, Package, SCHEMA};
use crate::digest::Digest;
use crate::os::atomic_file;

const HEADER: &str = "# What `karat build` installs, exactly. Written by karat; keep it in version control, do not edit it.
# `karat lock --update` brings it up to date.

";

/// A digest as 64 hex digits alone, where the key says what it is.
pub(super) fn bare<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&digest.hex())
}

impl Lock {
    /// Reads a lock, strictly. `path` is for messages.
    ///
    /// # Errors
    /// Unknown keys, wrong values and another schema, with the line.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, LockError> {
        /// Read first: another version may well have other keys.
        #[derive(Deserialize)]
        struct Version {
            schema: String,
        }
        let form = |reason: String| LockError::Form {
            path: path.to_owned(),
            reason,
        };
        let version: Version = toml::from_str(text).map_err(|error| form(error.to_string()))?;
        if version.schema != SCHEMA {
            return Err(LockError::Schema {
                path: path.to_owned(),
                found: version.schema,
            });
        }
        let lock: Self = toml::from_str(text).map_err(|error| form(error.to_string()))?;
        for package in &lock.packages {
            check(package).map_err(|what| {
                form(format!(
                    "{what} in the package {:?}{}",
                    package.name,
                    line_of(text, &package.sha256)
                ))
            })?;
        }
        Ok(lock)
    }

    /// Its text: the same lock always gives the same.
    ///
    /// # Panics
    /// Never: its fields can be written.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let body = toml::to_string_pretty(self);
        format!("{HEADER}{}", body.expect("text, numbers and lists of them"))
    }

    /// Reads a template's lock; `None` when there is none.
    ///
    /// # Errors
    /// As [`Self::from_toml`], and when the file cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_toml(&text, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LockError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Writes the lock whole, in place of one that is there. The same text is not written again.
    ///
    /// # Errors
    /// The file cannot be written; an old one is as it was.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let text = self.to_toml();
        if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        atomic_file::write(path, 0o644, text.as_bytes()).map_err(|source| LockError::Write {
            path: path.to_owned(),
            source,
        })
    }
}

/// A lock comes out of a repository that many can write to: what it names becomes file names and arguments.
fn check(package: &Package) -> Result<(), &'static str> {
    let plain = |text: &str, more: &[u8]| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let path = &package.path;
    let steps = |step: &str| !matches!(step, "" | "." | "..") && !step.starts_with('-');
    if !plain(&package.name, b"+-._") {
        Err("`name` is not a package's name")
    } else if !plain(&package.version, b"+-._:~^") {
        Err("`version` is not a version")
    } else if !plain(&package.architecture, b"-_") {
        Err("`architecture` is not an architecture")
    } else if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) || !path.split('/').all(steps) {
        Err("`path` is not a path below the archive")
    } else if !["http://", "https://"]
        .iter()
        .any(|scheme| package.archive.starts_with(scheme))
    {
        Err("`archive` is not an http or https URI")
    } else {
        Ok(())
    }
}

/// Where a digest stands: it is the one value that only this package has.
fn line_of(text: &str, sha256: &Digest) -> String {
    let hex = sha256.hex();
    let line = text
        .lines()
        .position(|line| line.to_ascii_lowercase().contains(&hex));
    line.map_or_else(String::new, |index| format!(" (line {})", index + 1))
}
