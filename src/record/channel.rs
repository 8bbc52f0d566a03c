//! A channel: a named pointer to a manifest, with the history of its moves. Pure.
//!
//! The moves are a hash chain. A rollback is a new move to an old manifest.

use std::fmt;
use std::str::FromStr;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::record::canonical::{self, Unrepresentable};
use crate::record::hash_chain::HashChain;
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

/// Name and version of the schema.
pub const SCHEMA: &str = "karat.channel/1";
/// SSHSIG namespace of moves.
pub const NAMESPACE: &str = "karat-channel@v1";
/// Maximum length of each part of a name.
const MAX_PART_BYTES: usize = 63;

/// Name of a channel: `IMAGE/CHANNEL`, for example `web/stable`. The channel points at builds of the image.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelName {
    /// Name of the image.
    pub image: String,
    /// Name among the channels of the image.
    pub channel: String,
}

/// Text that is not a channel name.
#[derive(Debug, Error, Diagnostic, PartialEq, Eq)]
#[error("invalid channel name {0:?}: expected IMAGE/CHANNEL")]
#[diagnostic(help(
    "both parts consist of the letters a to z, digits and `-`, for example web/stable"
))]
pub struct InvalidName(pub String);

impl FromStr for ChannelName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_part = |part: &str| {
            let fits = |letter: u8| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'-');
            (1..=MAX_PART_BYTES).contains(&part.len())
                && part.bytes().all(fits)
                && !part.starts_with('-')
        };
        match text.split_once('/') {
            Some((image, channel)) if is_part(image) && is_part(channel) => Ok(Self {
                image: image.to_owned(),
                channel: channel.to_owned(),
            }),
            _ => Err(InvalidName(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ChannelName {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<ChannelName> for String {
    fn from(name: ChannelName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.image, self.channel)
    }
}

/// Direction of a move through the history.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To a new manifest.
    Promote,
    /// To a manifest that the channel pointed at before.
    Rollback,
}

/// A move of a channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// Name of the channel.
    pub channel: ChannelName,
    /// Number of the move, from 1.
    pub number: u64,
    /// Promotion (forward) or rollback (back).
    pub direction: Direction,
    /// Target of the channel after the move.
    pub manifest: ManifestId,
    /// Target of the channel before the move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ManifestId>,
    /// Time of the move.
    pub moved: Timestamp,
    /// User who moved the channel.
    pub by: String,
    /// Reason that the user gave.
    pub reason: String,
    /// [Digest](Entry::digest) of the entry before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
}

impl Move {
    /// Returns the bytes to sign.
    ///
    /// # Errors
    /// A value cannot be represented in canonical JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Unrepresentable> {
        canonical::to_bytes(self)
    }
}

/// A move with its signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The move, which is signed.
    pub entry: Move,
    /// Armored SSHSIG of the move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Entry {
    /// Returns the SHA-256 of the entry in canonical JSON.
    ///
    /// # Errors
    /// A value cannot be represented in canonical JSON.
    pub fn digest(&self) -> Result<Digest, Unrepresentable> {
        canonical::to_bytes(self).map(|bytes| Digest::of(&bytes))
    }
}

/// History of a channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Name and version of the format, always [`SCHEMA`].
    pub schema: String,
    /// All moves, oldest first.
    pub moves: Vec<Entry>,
    /// Digest of the last entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Digest>,
}

/// Reason why a channel file is refused.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the message of a variant documents it")]
pub enum ChannelError {
    #[error("it is not a channel")]
    Form(#[source] serde_json::Error),
    #[error("it has the schema {0:?}, which this karat does not support")]
    #[diagnostic(help("use the karat that wrote it, or a newer one"))]
    Schema(String),
    #[error("it is not in canonical form")]
    NotCanonical,
    #[error("move {number} {problem}")]
    Broken { number: u64, problem: &'static str },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unrepresentable(#[from] Unrepresentable),
}

impl Default for Channel {
    fn default() -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            moves: Vec::new(),
            last: None,
        }
    }
}

impl Channel {
    /// Parses a channel file and verifies the chain of moves.
    ///
    /// # Errors
    /// The file is malformed, the chain is broken, or it is that of another channel.
    pub fn from_bytes(bytes: &[u8], name: &ChannelName) -> Result<Self, ChannelError> {
        let channel: Self = serde_json::from_slice(bytes).map_err(ChannelError::Form)?;
        if channel.schema != SCHEMA {
            return Err(ChannelError::Schema(channel.schema));
        }
        if canonical::to_bytes(&channel)? != bytes {
            return Err(ChannelError::NotCanonical);
        }
        let mut chain = HashChain::default();
        let mut previous = None;
        for kept in &channel.moves {
            let (entry, number) = (&kept.entry, chain.next_number());
            let broken = |problem| ChannelError::Broken { number, problem };
            if entry.channel != *name {
                return Err(broken("belongs to another channel"));
            }
            chain
                .push(entry.number, entry.before, kept.digest()?)
                .map_err(broken)?;
            if entry.previous != previous {
                return Err(broken("does not start where the one before ended"));
            }
            previous = Some(entry.manifest);
        }
        if channel.last != chain.last() {
            return Err(ChannelError::Broken {
                number: channel.number(),
                problem: "does not match the digest of the last move",
            });
        }
        Ok(channel)
    }

    /// Returns the last move.
    #[must_use]
    pub fn head(&self) -> Option<&Move> {
        self.moves.last().map(|kept| &kept.entry)
    }

    /// Returns the number of moves.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.moves.len() as u64
    }

    /// Returns whether the channel ever pointed at a manifest.
    #[must_use]
    pub fn had(&self, id: ManifestId) -> bool {
        self.moves.iter().any(|kept| kept.entry.manifest == id)
    }

    /// Returns the next move. The caller fills in `by` and `reason`.
    #[must_use]
    pub fn next(&self, name: &ChannelName, direction: Direction, manifest: ManifestId) -> Move {
        Move {
            channel: name.clone(),
            number: self.number() + 1,
            direction,
            manifest,
            previous: self.head().map(|head| head.manifest),
            moved: Timestamp::now(),
            by: String::new(),
            reason: String::new(),
            before: self.last,
        }
    }

    /// Appends a move.
    ///
    /// # Errors
    /// A value cannot be represented in canonical JSON.
    pub fn push(&mut self, kept: Entry) -> Result<(), Unrepresentable> {
        self.last = Some(kept.digest()?);
        self.moves.push(kept);
        Ok(())
    }

    /// Returns the promoted manifests that were not rolled back, oldest first. The last one is the current target.
    #[must_use]
    pub fn line(&self) -> Vec<ManifestId> {
        let mut line: Vec<ManifestId> = Vec::new();
        for kept in &self.moves {
            let id = kept.entry.manifest;
            if kept.entry.direction == Direction::Rollback
                && let Some(at) = line.iter().position(|earlier| *earlier == id)
            {
                line.truncate(at);
            }
            if line.last() != Some(&id) {
                line.push(id);
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ManifestId {
        ManifestId::of(text.as_bytes())
    }

    fn channel(moves: &str) -> Channel {
        let name = "web/stable".parse().unwrap();
        let mut channel = Channel::default();
        for step in moves.split_whitespace() {
            let (direction, manifest) = match step.strip_prefix('<') {
                Some(manifest) => (Direction::Rollback, manifest),
                None => (Direction::Promote, step),
            };
            let entry = channel.next(&name, direction, id(manifest));
            channel
                .push(Entry {
                    entry,
                    signature: None,
                })
                .unwrap();
        }
        channel
    }

    #[test]
    fn names_have_an_image_and_a_channel() {
        for (text, good) in [
            ("web/stable", true),
            ("web-2/a", true),
            ("web", false),
            ("web/", false),
            ("/stable", false),
            ("web/../x", false),
            ("web/stable/x", false),
            ("Web/stable", false),
            ("web/-x", false),
            ("web/st able", false),
        ] {
            let name: Result<ChannelName, _> = text.parse();
            assert_eq!(name.is_ok(), good, "{text:?}");
            assert!(name.map_or(true, |name| name.to_string() == text));
        }
    }

    #[test]
    fn a_rollback_drops_the_manifests_after_its_target() {
        for (moves, line) in [
            ("", ""),
            ("a", "a"),
            ("a b c", "a b c"),
            ("a b <a", "a"),
            ("a b <a c", "a c"),
            ("a b c <a", "a"),
            ("a b c <b d", "a b d"),
            ("a b <a <b", "a b"),
            ("a b b", "a b"),
        ] {
            let expected: Vec<_> = line.split_whitespace().map(id).collect();
            assert_eq!(channel(moves).line(), expected, "{moves}");
        }
    }

    #[test]
    fn a_changed_byte_or_a_removed_move_is_noticed() {
        let name: ChannelName = "web/stable".parse().unwrap();
        let bytes = canonical::to_bytes(&channel("a b <a")).unwrap();
        assert_eq!(Channel::from_bytes(&bytes, &name).unwrap().number(), 3);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Channel::from_bytes(&changed, &name).is_err(), "byte {at}");
        }
        for gone in 0..3 {
            let mut fewer = channel("a b <a");
            fewer.moves.remove(gone);
            let bytes = canonical::to_bytes(&fewer).unwrap();
            assert!(
                Channel::from_bytes(&bytes, &name).is_err(),
                "without {gone}"
            );
        }
        let other = "web/testing".parse().unwrap();
        assert!(Channel::from_bytes(&bytes, &other).is_err());
    }
}
