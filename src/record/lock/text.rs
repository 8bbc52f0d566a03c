//! Lock files as TOML: strict to read, stable to write, one block for each package.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serializer};

use super::{Lock, LockError, Package, SCHEMA};
use crate::digest::Digest;
use crate::os::atomic_file;

const HEADER: &str = "# What `karat build` installs, exactly. Written by karat; keep it in version control, do not edit it.
# `karat lock --update` brings it up to date.

";

/// Serializes a digest as 64 hex digits, without the prefix: the key says that it is a SHA-256.
pub(super) fn bare<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&digest.hex())
}

impl Lock {
    /// Parses a lock file strictly.
    ///
    /// # Errors
    /// The text is invalid; the error names `path` and the line.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, LockError> {
        /// Parsed first: another version may have other keys.
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

    /// Returns the text of the lock file. Equal lock files have equal texts.
    ///
    /// # Panics
    /// Never: TOML can represent its fields.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let body = toml::to_string_pretty(self).expect("text, numbers and lists of them");
        format!("{HEADER}{body}")
    }

    /// Reads a lock file; `None` if it does not exist.
    ///
    /// # Errors
    /// The file cannot be read or is invalid.
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

    /// Replaces the lock file, unless it has the same text already.
    ///
    /// # Errors
    /// The file cannot be written. The old one is then unchanged.
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

/// Checks what becomes file names and arguments: a lock file comes from a repository that many people can write to.
fn check(package: &Package) -> Result<(), &'static str> {
    let is_plain = |text: &str, more: &[u8]| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let path = &package.path;
    let is_step = |step: &str| !matches!(step, "" | "." | "..") && !step.starts_with('-');
    if !is_plain(&package.name, b"+-._") {
        Err("`name` is not a package's name")
    } else if !is_plain(&package.version, b"+-._:~^") {
        Err("`version` is not a version")
    } else if !is_plain(&package.architecture, b"-_") {
        Err("`architecture` is not an architecture")
    } else if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) || !path.split('/').all(is_step)
    {
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

/// Returns the line of a package, found by its digest: no other package has the same.
fn line_of(text: &str, sha256: &Digest) -> String {
    let hex = sha256.hex();
    let line = text
        .lines()
        .position(|line| line.to_ascii_lowercase().contains(&hex));
    line.map_or_else(String::new, |index| format!(" (line {})", index + 1))
}
