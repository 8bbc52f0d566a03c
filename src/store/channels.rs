//! Channels and their policies. A channel file is replaced whole, under a lock of its own, by a writer that has seen its last
//! move.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::checksummed::REPLACEABLE;
use super::layout::{entries, read_optional};
use super::{Store, StoreError, Transaction};
use crate::os::atomic_file;
use crate::os::file_lock::FileLock;
use crate::plan::is_region;
use crate::record::audit::{AuditEvent, ChangeDetails};
use crate::record::canonical;
use crate::record::channel::{Channel, ChannelName, Direction, SignedMove};
use crate::record::manifest::ManifestId;
use crate::size::age_argument;
use crate::template::problem::nearest;

impl Store {
    /// Returns the names of all channels, sorted.
    pub(crate) fn channels(&self) -> Result<Vec<ChannelName>, StoreError> {
        let mut names = Vec::new();
        for directory in entries(&self.channels_directory())? {
            let image = directory.file_name().unwrap_or_default().to_string_lossy();
            for path in entries(&directory)? {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                let channel = file.strip_suffix(".json");
                names.extend(channel.and_then(|channel| format!("{image}/{channel}").parse().ok()));
            }
        }
        names.sort();
        Ok(names)
    }

    /// Reads a channel and verifies its chain of moves. A channel without a file has no moves.
    ///
    /// # Errors
    /// The file cannot be read, or was edited.
    pub fn channel(&self, name: &ChannelName) -> Result<Channel, StoreError> {
        let path = self.channel_path(name);
        match read_optional(&path)? {
            Some(bytes) => Channel::from_bytes(&bytes, name)
                .map_err(|source| StoreError::Channel { path, source }),
            None => Ok(Channel::default()),
        }
    }

    /// Parses the name of a channel. The error names the channels that half a name or a similar one may mean: that of `image`,
    /// or those in the store.
    pub(crate) fn channel_name(
        &self,
        text: &str,
        image: Option<ManifestId>,
    ) -> Result<ChannelName, StoreError> {
        text.parse().map_err(|invalid| {
            let image = image.and_then(|id| self.name_of(id));
            let of_image = image.and_then(|image| format!("{image}/{text}").parse().ok());
            let similar = of_image.map_or_else(|| self.similar_channels(text), |name| vec![name]);
            StoreError::NotAChannel { invalid, similar }
        })
    }

    /// Returns the channels of which `text` is half the name, or the nearest one.
    pub(super) fn similar_channels(&self, text: &str) -> Vec<ChannelName> {
        // A store that cannot be listed has no suggestion.
        let names = self.channels().unwrap_or_default().into_iter();
        let halves = names.filter(|name| name.image == text || name.channel == text);
        let halves: Vec<ChannelName> = halves.collect();
        if halves.is_empty() {
            return self.nearest_channel(text).into_iter().collect();
        }
        halves
    }

    /// Returns the existing channel with the most similar name.
    pub(crate) fn nearest_channel(&self, text: &str) -> Option<ChannelName> {
        let names = self.channels().unwrap_or_default();
        let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
        nearest(text, texts.iter().map(String::as_str))?
            .parse()
            .ok()
    }

    /// Returns the error for a channel that never moved.
    #[must_use]
    pub fn no_channel(&self, name: &ChannelName) -> StoreError {
        let nearest = self.nearest_channel(&name.to_string());
        let name = name.clone();
        StoreError::NoChannel { name, nearest }
    }

    /// Returns the last of these images that is not revoked: what a rollback goes to from their successor.
    pub(crate) fn last_allowed(
        &self,
        images: &[ManifestId],
    ) -> Result<Option<ManifestId>, StoreError> {
        for &id in images.iter().rev() {
            if self.revoked(id)?.is_none() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

/// Policy of a channel: `channels/<image>/<channel>.toml`, written by the user. Users who can write to the store can change it, so
/// it does not say whose signatures are trusted.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelPolicy {
    /// Number of different keys that must have signed the manifest.
    pub require_signed: u16,
    /// Identities that must all have signed.
    pub signers: Vec<String>,
    /// Number of `approvers` that must have signed.
    pub approvals: u16,
    pub approvers: Vec<String>,
    /// Refuses images that were never scanned.
    pub require_scan: bool,
    /// Maximum age of the last scan.
    #[serde(deserialize_with = "age")]
    pub max_scan_age: Option<Duration>,
    /// Requires the user who moves the channel to sign the move.
    pub signed_moves: bool,
    /// Resources at AWS that move with the channel.
    pub ec2: Option<Ec2Targets>,
}

impl Default for ChannelPolicy {
    fn default() -> Self {
        Self {
            require_signed: 1,
            signers: Vec::new(),
            approvals: 0,
            approvers: Vec::new(),
            require_scan: true,
            max_scan_age: None,
            signed_moves: true,
            ec2: None,
        }
    }
}

/// `[ec2]` of a channel policy.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ec2Targets {
    /// Profile of `~/.aws/config`. Default: the environment's.
    #[serde(default)]
    pub profile: Option<String>,
    /// Regions in which the image must be published before the channel moves to it.
    pub regions: Vec<String>,
    /// Name of a parameter of type `aws:ec2:image` in each region.
    #[serde(default)]
    pub parameter: Option<String>,
    /// Name of a launch template in each region whose default version launches the image.
    #[serde(default)]
    pub launch_template: Option<String>,
}

/// A channel policy that cannot be used.
#[derive(Debug, Error, Diagnostic)]
#[error("cannot read the policy {}", path.display())]
#[diagnostic(help(
    "it may have: require_signed = 1, signers = [\"ci\"], approvals = 2, approvers = [\"ada\", \"bob\", \"eve\"], require_scan = true, max_scan_age = \"7d\", signed_moves = true, ec2 = {{ regions = [\"eu-central-1\"], parameter = \"/golden/web\", launch_template = \"web\" }}"
))]
pub struct PolicyError {
    pub path: PathBuf,
    pub source: io::Error,
}

impl ChannelPolicy {
    /// Reads the policy of a channel. A channel without a file has the default policy.
    pub fn read(store: &Store, name: &ChannelName) -> Result<Self, PolicyError> {
        let path = store.channel_path(name).with_extension("toml");
        let read = || match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            text => {
                let policy: Self = toml::from_str(&text?).map_err(io::Error::other)?;
                policy.check().map_err(io::Error::other)?;
                Ok(policy)
            }
        };
        read().map_err(|source| PolicyError { path, source })
    }

    fn check(&self) -> Result<(), &'static str> {
        if usize::from(self.approvals) > self.approvers.len() {
            return Err("`approvals` is greater than the number of `approvers`");
        }
        if let Some(ec2) = &self.ec2
            && (ec2.regions.is_empty() || !ec2.regions.iter().all(|region| is_region(region)))
        {
            return Err("`ec2.regions` must list regions, such as \"eu-central-1\"");
        }
        Ok(())
    }

    /// Returns whether the policy requires any signature of a manifest.
    pub fn asks(&self) -> bool {
        self.require_signed > 0 || !self.signers.is_empty() || self.approvals > 0
    }
}

fn age<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    let age = age_argument(&text).map_err(D::Error::custom)?;
    Ok(Some(age))
}

impl Transaction {
    /// Appends a move to its channel. Fails if the channel was moved since `entry` was made.
    pub async fn move_channel(&self, entry: SignedMove) -> Result<(), StoreError> {
        let name = entry.entry.channel.clone();
        let path = self.store().channel_path(&name);
        let directory = atomic_file::directory_of(&path).to_owned();
        atomic_file::make_directory(&directory).map_err(StoreError::io("make", &directory))?;
        let lock = directory.join(format!(".{}.lock", name.channel));
        let lock = FileLock::exclusive(&lock, || {})
            .await
            .map_err(StoreError::io("lock", &path))?;
        let mut channel = self.store().channel(&name)?;
        if channel.number() + 1 != entry.entry.number || channel.last != entry.entry.before {
            return Err(match channel.head() {
                Some(head) => StoreError::Moved {
                    name,
                    by: head.by.clone(),
                    number: head.number,
                },
                None => StoreError::Io {
                    action: "move",
                    path,
                    source: io::Error::other("the channel was removed"),
                },
            });
        }
        let event = match entry.entry.direction {
            Direction::Promote => AuditEvent::Promote,
            Direction::Rollback => AuditEvent::Rollback,
        };
        let about = ChangeDetails {
            ids: vec![entry.entry.manifest],
            subject: Some(name.to_string()),
            digest: Some(entry.digest()?),
            reason: Some(entry.entry.reason.clone()),
        };
        channel.push(entry)?;
        let bytes = canonical::to_bytes(&channel)?;
        self.log(event, about)?;
        atomic_file::write(&path, REPLACEABLE, &bytes)
            .and_then(|()| atomic_file::sync_directory(&self.store().channels_directory()))
            .map_err(StoreError::io("write", &path))?;
        // A lock file that stays does no harm.
        let _ = lock.remove();
        Ok(())
    }
}
