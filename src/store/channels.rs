//! Channels: the only files of a store that change. Each is written whole beside its target and renamed, under a lock of its
//! own, and only by who has seen its last move.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use miette::Diagnostic;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::{Store, StoreError, Writing, entries};
use crate::os::atomic_file;
use crate::os::file_lock::FileLock;
use crate::plan::is_region;
use crate::record::audit::{About, Event};
use crate::record::canonical;
use crate::record::channel::{Channel, ChannelName, Direction, Entry};
use crate::size::parse_duration;

/// Others may read it.
const MODE: u32 = 0o644;

impl Store {
    /// All channels, in order of their names.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn channels(&self) -> Result<Vec<ChannelName>, StoreError> {
        let mut names = Vec::new();
        for directory in entries(&self.channels_directory())? {
            let image = directory.file_name().unwrap_or_default().to_string_lossy();
            for path in entries(&directory)? {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                let channel = file.strip_suffix(".json");
                names.extend(channel.and_then(|it| format!("{image}/{it}").parse().ok()));
            }
        }
        names.sort();
        Ok(names)
    }

    /// A channel with all its moves, which are checked; one without any when it is not there.
    ///
    /// # Errors
    /// It cannot be read, or somebody has changed it.
    pub fn channel(&self, name: &ChannelName) -> Result<Channel, StoreError> {
        let path = self.channel_path(name);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Channel::default()),
            read => read.map_err(StoreError::io("read", &path))?,
        };
        Channel::from_bytes(&bytes, name).map_err(|source| StoreError::Channel { path, source })
    }

    pub(super) fn channels_directory(&self) -> PathBuf {
        self.root().join("channels")
    }

    /// What a move of a channel is doing at AWS, while it does.
    #[must_use]
    pub fn ec2_journal(&self, name: &ChannelName) -> PathBuf {
        let directory = self.channels_directory().join(&name.image);
        directory.join(format!(".{}.ec2.json", name.channel))
    }

    fn channel_path(&self, name: &ChannelName) -> PathBuf {
        let directory = self.channels_directory().join(&name.image);
        directory.join(format!("{}.json", name.channel))
    }
}

/// Rules of a channel: `channels/<image>/<channel>.toml`, written by hand. Who can write the store can change them; whose
/// signatures count is not in it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelPolicy {
    /// Signatures of so many different keys are asked for; 0 for none.
    pub require_signed: u16,
    /// These have to be among those who signed.
    pub signers: Vec<String>,
    /// So many of these have to be among those who signed.
    pub approvals: u16,
    /// Whose signatures are approvals.
    pub approvers: Vec<String>,
    /// An image that was never scanned is refused.
    pub require_scan: bool,
    /// The last scan may be so old.
    #[serde(deserialize_with = "age")]
    pub max_scan_age: Option<Duration>,
    /// Every move is signed by who makes it.
    pub signed_moves: bool,
    /// What moves with it at AWS.
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

/// `[ec2]` of a channel's rules.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ec2Targets {
    /// A profile of `~/.aws/config`. Default: what the environment says.
    #[serde(default)]
    pub profile: Option<String>,
    /// Where the image must be published before the channel moves to it.
    pub regions: Vec<String>,
    /// A parameter of type `aws:ec2:image` in each of them.
    #[serde(default)]
    pub parameter: Option<String>,
    /// A launch template in each of them, by its name: the default version launches the image.
    #[serde(default)]
    pub launch_template: Option<String>,
}

/// The rules of a channel cannot be used.
#[derive(Debug, Error, Diagnostic)]
#[error("cannot read the policy {}", path.display())]
#[diagnostic(help(
    "it may have: require_signed = 1, signers = [\"ci\"], approvals = 2, approvers = [\"ada\", \"bob\", \"eve\"], require_scan = true, max_scan_age = \"7d\", signed_moves = true, ec2 = {{ regions = [\"eu-central-1\"], parameter = \"/golden/web\", launch_template = \"web\" }}"
))]
pub struct PolicyError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl ChannelPolicy {
    /// Reads the rules of a channel; those of every channel where it has none.
    ///
    /// # Errors
    /// The file cannot be read, or says something that is no rule.
    pub fn read(store: &Store, name: &ChannelName) -> Result<Self, PolicyError> {
        let path = store.channel_path(name).with_extension("toml");
        let read = || match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            read => {
                let policy: Self = toml::from_str(&read?).map_err(io::Error::other)?;
                if usize::from(policy.approvals) > policy.approvers.len() {
                    let few = "`approvals` asks for more than there are `approvers`";
                    return Err(io::Error::other(few));
                }
                if let Some(ec2) = &policy.ec2
                    && (ec2.regions.is_empty() || !ec2.regions.iter().all(|it| is_region(it)))
                {
                    let none = "`ec2.regions` has to name the regions, such as \"eu-central-1\"";
                    return Err(io::Error::other(none));
                }
                Ok(policy)
            }
        };
        read().map_err(|source| PolicyError { path, source })
    }
}

impl ChannelPolicy {
    /// Whether it asks for any signature of a manifest.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.require_signed > 0 || !self.signers.is_empty() || self.approvals > 0
    }
}

fn age<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    let age = parse_duration(&text).map_err(D::Error::custom)?;
    Ok(Some(age))
}

impl Writing {
    /// Adds a move to its channel, unless somebody else has moved it since.
    ///
    /// # Errors
    /// The channel has moved meanwhile, was changed by hand, or cannot be written.
    pub async fn move_channel(&self, kept: Entry) -> Result<(), StoreError> {
        let name = kept.entry.channel.clone();
        let path = self.store().channel_path(&name);
        let directory = atomic_file::directory_of(&path).to_owned();
        atomic_file::make_directory(&directory).map_err(StoreError::io("make", &directory))?;
        let lock = directory.join(format!(".{}.lock", name.channel));
        let lock = FileLock::exclusive(&lock, || {}).await;
        let lock = lock.map_err(StoreError::io("lock", &path))?;
        let mut channel = self.store().channel(&name)?;
        if channel.number() + 1 != kept.entry.number || channel.last != kept.entry.before {
            return Err(match channel.head() {
                Some(head) => StoreError::Moved {
                    name,
                    by: head.by.clone(),
                    number: head.number,
                },
                None => StoreError::Io {
                    action: "move",
                    path,
                    source: io::Error::other("the channel is gone"),
                },
            });
        }
        let event = match kept.entry.direction {
            Direction::Promote => Event::Promote,
            Direction::Rollback => Event::Rollback,
        };
        let about = About {
            ids: vec![kept.entry.manifest],
            subject: Some(name.to_string()),
            digest: Some(kept.digest()?),
            reason: Some(kept.entry.reason.clone()),
        };
        channel.push(kept)?;
        let bytes = canonical::to_bytes(&channel)?;
        let above = self.store().channels_directory();
        self.log(event, about)?;
        atomic_file::write(&path, MODE, &bytes)
            .and_then(|()| atomic_file::sync_directory(&above))
            .map_err(StoreError::io("write", &path))?;
        // Whether the lock's file stays does not matter any more.
        let _ = lock.remove();
        Ok(())
    }
}
