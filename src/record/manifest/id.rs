//! What a manifest is called: the SHA-256 of its bytes, in full or by its first digits.

use std::fmt;
use std::str::FromStr;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;

/// Digits that are shown.
const SHOWN: usize = 12;

/// Fewest digits that are accepted.
const FEWEST: usize = 8;

/// All digits.
const ALL: usize = 64;

/// A manifest's own digest: its own type, so that an image's digest cannot stand in for it. Written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ManifestId(Digest);

/// The first digits of an id, as a person gives them: 8 to 64, in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdPrefix(String);

/// Text that is not an id.
#[derive(Debug, Error, Diagnostic, PartialEq, Eq)]
#[error("{0:?} is not a manifest id")]
#[diagnostic(help(
    "an id is {ALL} hex digits, and its first {FEWEST} or more will do; see `karat list`"
))]
pub struct InvalidId(pub String);

impl ManifestId {
    /// The id of a manifest's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Digest::of(bytes))
    }

    /// The first 12 digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.hex()[..SHOWN].to_owned()
    }
}

impl fmt::Display for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.hex())
    }
}

impl FromStr for ManifestId {
    type Err = InvalidId;

    /// Reads exactly 64 lower-case hex digits: a name in the store, not what a person types.
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
    /// Whether the id begins with these digits.
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

    /// Reads 8 to 64 hex digits in either case, with or without `sha256:` in front.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !(FEWEST..=ALL).contains(&digits.len()) {
            return Err(InvalidId(text.to_owned()));
        }
        Ok(Self(digits.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_their_beginnings() {
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
            ("e3b0c44", None),
            ("web/stable", None),
            (long.as_str(), None),
            ("", None),
        ] {
            let prefix = text.parse::<IdPrefix>().ok();
            assert_eq!(prefix.map(|prefix| prefix.matches(&id)), matches, "{text}");
        }
    }
}
