//! Manifest ids: the SHA-256 of the manifest, in full or as a prefix.

use std::fmt;
use std::str::FromStr;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;

/// Number of digits in a short id.
const SHORT_DIGITS: usize = 12;

/// Minimum number of digits of a prefix.
const MIN_DIGITS: usize = 4;

/// Number of digits of an id.
const DIGITS: usize = 64;

/// Digest of a manifest, as a type of its own: the digest of an image cannot be used as one. Written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ManifestId(Digest);

/// The first 4 to 64 digits of an id, in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdPrefix(String);

/// Text that is not a manifest id.
#[derive(Debug, Error, Diagnostic, PartialEq, Eq)]
#[error("{0:?} is not a manifest id")]
#[diagnostic(help(
    "an id has {DIGITS} hex digits, of which the first {MIN_DIGITS} or more identify it; see `karat list`"
))]
pub struct InvalidId(pub String);

impl ManifestId {
    /// Returns the id of a manifest's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Digest::of(bytes))
    }

    /// Returns the first 12 digits, for messages.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.hex()[..SHORT_DIGITS].to_owned()
    }
}

impl fmt::Display for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

impl FromStr for ManifestId {
    type Err = InvalidId;

    /// Parses exactly 64 lower-case hex digits, as in file names of the store.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digest: Option<Digest> = text.parse().ok();
        digest
            .filter(|digest| digest.hex() == text)
            .map(Self)
            .ok_or_else(|| InvalidId(text.to_owned()))
    }
}

impl TryFrom<String> for ManifestId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ManifestId> for String {
    fn from(id: ManifestId) -> Self {
        id.to_string()
    }
}

impl IdPrefix {
    /// Returns whether `id` begins with these digits.
    #[must_use]
    pub fn matches(&self, id: &ManifestId) -> bool {
        id.0.hex().starts_with(&self.0)
    }
}

impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IdPrefix {
    type Err = InvalidId;

    /// Parses 4 to 64 hex digits in either case, with or without the prefix `sha256:`.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !(MIN_DIGITS..=DIGITS).contains(&digits.len()) {
            return Err(InvalidId(text.to_owned()));
        }
        Ok(Self(digits.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_match_their_prefixes() {
        let id = ManifestId::of(b"");
        assert_eq!(id.short(), "e3b0c44298fc");
        let full = id.to_string();
        assert_eq!(full.parse(), Ok(id));
        assert!(full.to_ascii_uppercase().parse::<ManifestId>().is_err());
        let tagged = format!("sha256:{full}");
        let long = format!("{full}0");
        for (text, matches) in [
            ("e3b0c442", Some(true)),
            ("E3B0C44298FC", Some(true)),
            (full.as_str(), Some(true)),
            (tagged.as_str(), Some(true)),
            ("e3b0c443", Some(false)),
            ("e3b0", Some(true)),
            ("e3b", None),
            ("web/stable", None),
            (long.as_str(), None),
            ("", None),
        ] {
            let prefix = text.parse::<IdPrefix>().ok();
            assert_eq!(prefix.map(|prefix| prefix.matches(&id)), matches, "{text}");
        }
    }
}
