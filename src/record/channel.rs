//! A channel: a named pointer to a manifest, with every move that it ever made. Pure: the [store](crate::store) keeps it.
//!
//! Moves are numbered from 1 without a gap, and each carries the digest of the one before, so that none can be taken out or
//! put in later. Going back is a new move to an old manifest.

use std::fmt;
use std::str::FromStr;

use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::record::canonical;
use crate::record::manifest::{ManifestId, Unrepresentable};
use crate::time::Timestamp;

/// Name and version of the form.
pub const SCHEMA: &str = "karat.channel/1";
/// What signatures of moves are for.
pub const NAMESPACE: &str = "karat-channel@v1";
/// The longest part of a name.
const LONGEST: usize = 63;

/// `web/stable`: the image that it points to the builds of, and what it is called among its channels.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelName {
    /// The image's name.
    pub image: String,
    /// Its own.
    pub channel: String,
}

/// Text that names no channel.
#[derive(Debug, Error, Diagnostic, PartialEq, Eq)]
#[error("{0:?} is no name of a channel")]
#[diagnostic(help(
    "write IMAGE/CHANNEL, such as web/stable, with the letters a to z, digits and `-`"
))]
pub struct InvalidName(pub String);

impl FromStr for ChannelName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_part = |part: &str| {
            let fits = |letter: u8| matches!(letter, b'a'..=b'z' | b'0'..=b'9' | b'-');
            (1..=LONGEST).contains(&part.len()) && part.bytes().all(fits) && !part.starts_with('-')
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

/// Which way it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Forward.
    Promote,
    /// Back.
    Rollback,
}

/// One move.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The channel that moved.
    pub channel: ChannelName,
    /// From 1.
    pub number: u64,
    /// Which way.
    pub direction: Direction,
    /// Where it points since then.
    pub manifest: ManifestId,
    /// Where it pointed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ManifestId>,
    /// When.
    pub moved: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The digest of the [entry](Entry::digest) before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
}

impl Move {
    /// What is signed.
    ///
    /// # Errors
    /// A value is outside what canonical JSON can hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Unrepresentable> {
        canonical::to_bytes(self)
    }
}

/// A move as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What happened.
    pub entry: Move,
    /// Who vouches for it, armored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

impl Entry {
    /// SHA-256 of its canonical bytes.
    ///
    /// # Errors
    /// A value is outside what canonical JSON can hold.
    pub fn digest(&self) -> Result<Digest, Unrepresentable> {
        canonical::to_bytes(self).map(|bytes| Digest::of(&bytes))
    }
}

/// All moves of a channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The first one first.
    pub moves: Vec<Entry>,
    /// The digest of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Digest>,
}

/// What is wrong with a channel's file.
#[derive(Debug, Error, Diagnostic)]
pub enum ChannelError {
    /// It cannot be read.
    #[error("it has no form of a channel")]
    Form(#[source] serde_json::Error),
    /// A newer karat wrote it.
    #[error("its form is {0:?}, which this karat does not know")]
    #[diagnostic(help("use the karat that wrote it, or a newer one"))]
    Schema(String),
    /// It is written otherwise than karat writes it.
    #[error("it is not in canonical form")]
    NotCanonical,
    /// A move does not follow from the one before.
    #[error("move {number} {problem}")]
    Broken {
        /// Which.
        number: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// A value that cannot be written.
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
    /// Reads the file of a channel, and checks that every move follows from the one before.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn from_bytes(bytes: &[u8], name: &ChannelName) -> Result<Self, ChannelError> {
        let channel: Self = serde_json::from_slice(bytes).map_err(ChannelError::Form)?;
        if channel.schema != SCHEMA {
            return Err(ChannelError::Schema(channel.schema));
        }
        if canonical::to_bytes(&channel)? != bytes {
            return Err(ChannelError::NotCanonical);
        }
        let mut before: Option<(Digest, ManifestId)> = None;
        for (at, kept) in channel.moves.iter().enumerate() {
            let number = at as u64 + 1;
            let broken = |problem| Err(ChannelError::Broken { number, problem });
            let entry = &kept.entry;
            if entry.channel != *name {
                return broken("is another channel's");
            }
            if entry.number != number {
                return broken("has another number");
            }
            if entry.before != before.map(|(digest, _)| digest)
                || entry.previous != before.map(|(_, manifest)| manifest)
            {
                return broken("does not follow from the one before");
            }
            before = Some((kept.digest()?, entry.manifest));
        }
        let number = channel.moves.len() as u64;
        if channel.last != before.map(|(digest, _)| digest) {
            let problem = "is not as it was recorded";
            return Err(ChannelError::Broken { number, problem });
        }
        Ok(channel)
    }

    /// The last move; `None` before the first.
    #[must_use]
    pub fn head(&self) -> Option<&Move> {
        self.moves.last().map(|kept| &kept.entry)
    }

    /// How many moves there were.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.moves.len() as u64
    }

    /// Whether it ever pointed to a manifest.
    #[must_use]
    pub fn had(&self, id: ManifestId) -> bool {
        self.moves.iter().any(|kept| kept.entry.manifest == id)
    }

    /// The move that comes next.
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

    /// Adds a move.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn push(&mut self, kept: Entry) -> Result<(), Unrepresentable> {
        self.last = Some(kept.digest()?);
        self.moves.push(kept);
        Ok(())
    }

    /// Manifests that it went forward over and did not leave by going back, the oldest first; the last one is where it
    /// points now.
    #[must_use]
    pub fn line(&self) -> Vec<ManifestId> {
        let mut line: Vec<ManifestId> = Vec::new();
        for kept in &self.moves {
            let id = kept.entry.manifest;
            if kept.entry.direction == Direction::Rollback
                && let Some(at) = line.iter().position(|it| *it == id)
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
    fn going_back_leaves_what_it_goes_back_from() {
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
    fn whatever_is_changed_in_the_file_is_noticed() {
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
