//! What moves with a channel at AWS: proved before, written down, done, read back; undone when anything fails.

use std::path::PathBuf;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::MoveError;
use crate::cli::shared::attestation_status;
use crate::cli::shared::store_args::plain;
use crate::ec2::channel_target::{self, Change, Journal};
use crate::ec2::client::{Aws, Settings};
use crate::ec2::publish::publication::{last_ones, of};
use crate::ec2::publish::{Published, ami_check};
use crate::os::file_lock::FileLock;
use crate::record::channel::{ChannelName, Move};
use crate::record::manifest::ManifestId;
use crate::sign::Trust;
use crate::store::{Ec2Targets, Store};
use crate::ui::Ui;

/// A channel's targets at AWS. Nobody else moves them while this is there.
pub(super) struct AtAws {
    aws: Aws,
    targets: Ec2Targets,
    name: ChannelName,
    journal: PathBuf,
    _lock: Option<FileLock>,
}

impl AtAws {
    /// Connects, and ends what a move has left that was killed. A rehearsal leaves it as it is.
    pub(super) async fn begin(
        store: &Store,
        name: &ChannelName,
        targets: &Ec2Targets,
        is_rehearsal: bool,
        ui: &Ui,
    ) -> Result<Self, MoveError> {
        let settings = Settings {
            profile: targets.profile.clone(),
            region: None,
        };
        let aws = Aws::connect(&settings).await?;
        let journal = store.ec2_journal(name);
        let lock = if is_rehearsal {
            None
        } else {
            let path = journal.with_extension("lock");
            let made =
                crate::os::atomic_file::make_directory(crate::os::atomic_file::directory_of(&path));
            made.map_err(|error| MoveError::journal(&path, error))?;
            let waiting = || ui.note("waiting for another move of this channel at AWS");
            let lock = FileLock::exclusive(&path, waiting).await;
            Some(lock.map_err(|error| MoveError::journal(&path, error))?)
        };
        let this = Self {
            aws,
            targets: targets.clone(),
            name: name.clone(),
            journal,
            _lock: lock,
        };
        this.recover(store, is_rehearsal, ui).await?;
        Ok(this)
    }

    /// A move that did not end is done to its end if the channel has moved, and else undone.
    async fn recover(&self, store: &Store, is_rehearsal: bool, ui: &Ui) -> Result<(), MoveError> {
        let journal = Journal::read(&self.journal);
        let journal = journal.map_err(|error| MoveError::journal(&self.journal, error))?;
        let Some(journal) = journal else {
            return Ok(());
        };
        if is_rehearsal {
            ui.warn("an earlier move was interrupted at AWS; the next one ends it first");
            return Ok(());
        }
        let channel = store.channel(&self.name)?;
        let has_moved = channel
            .moves
            .iter()
            .any(|it| (it.entry.number, it.entry.manifest) == (journal.number, journal.manifest));
        let is_head = channel.number() == journal.number;
        if has_moved && is_head {
            ui.note("an earlier move was interrupted at AWS; it is done to its end");
            channel_target::apply(&self.aws, &journal.changes).await?;
        } else if !has_moved {
            ui.note("an earlier move was interrupted at AWS; it is undone");
            if !channel_target::undo(&self.aws, &journal.changes, ui).await {
                return Err(MoveError::NotUndone(self.name.clone()));
            }
        }
        self.end()
    }

    /// What has to change so that all targets name the AMIs of an image.
    ///
    /// # Errors
    /// An AMI is missing or not what was said of it in any region.
    pub(super) async fn plan(
        &self,
        store: &Store,
        entry: &Move,
        trust: Option<&Trust>,
    ) -> Result<Vec<Change>, MoveError> {
        let id = entry.manifest;
        let published = published(store, id, trust)?;
        let note = format!("{} {} {}", self.name, entry.number, id.short());
        let looks = self.targets.regions.iter().map(async |name| {
            let region = self.aws.region(name);
            let mut here = published.iter().map(|it| &it.publication);
            let Some(said) = here.find(|it| it.region == *name) else {
                return Ok((vec![unpublished(name, id, trust.is_some())], Vec::new()));
            };
            let faults = ami_check::faults(&region, said).await?;
            if faults.is_empty() {
                let changes =
                    channel_target::changes(&region, &self.targets, &said.image, &note).await?;
                return Ok::<_, MoveError>((faults, changes));
            }
            let told = faults.iter();
            let told = told.map(|it| format!("{name}: {} {}", plain(&said.image), plain(it)));
            Ok((told.collect(), Vec::new()))
        });
        let (mut faults, mut changes) = (Vec::new(), Vec::new());
        for looked in join_all(looks).await {
            let (wrong, to_do) = looked?;
            faults.extend(wrong);
            changes.extend(to_do);
        }
        if faults.is_empty() {
            return Ok(changes);
        }
        let name = self.name.clone();
        Err(MoveError::Unproved { id, name, faults })
    }

    /// Makes all changes, or none.
    pub(super) async fn apply(
        &self,
        entry: &Move,
        changes: &[Change],
        ui: &Ui,
        cancel: &CancellationToken,
    ) -> Result<(), MoveError> {
        if changes.is_empty() {
            return Ok(());
        }
        let journal = Journal::new(entry.number, entry.manifest, changes.to_vec());
        let written = journal.write(&self.journal);
        written.map_err(|error| MoveError::journal(&self.journal, error))?;
        let applied = cancel.run_until_cancelled(channel_target::apply(&self.aws, changes));
        let error = match applied.await {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => MoveError::AtAws {
                name: self.name.clone(),
                source: Box::new(error),
            },
            None => MoveError::Cancelled(self.name.clone()),
        };
        self.undo(changes, ui).await?;
        Err(error)
    }

    /// Puts everything back.
    pub(super) async fn undo(&self, changes: &[Change], ui: &Ui) -> Result<(), MoveError> {
        if !channel_target::undo(&self.aws, changes, ui).await {
            return Err(MoveError::NotUndone(self.name.clone()));
        }
        self.end()
    }

    /// The move is over.
    pub(super) fn end(&self) -> Result<(), MoveError> {
        Journal::end(&self.journal).map_err(|error| MoveError::journal(&self.journal, error))
    }

    /// Tells what will change.
    pub(super) fn tell(changes: &[Change], ui: &Ui) {
        for change in changes {
            ui.note(&format!("{}: to {}", change.name(), change.image));
        }
    }
}

fn unpublished(region: &str, id: ManifestId, is_signed: bool) -> String {
    let how = format!("`karat publish {} --region {region}` does that", id.short());
    if is_signed {
        format!("{region}: no publication there is signed by anybody you trust; {how}")
    } else {
        format!("{region}: it was not published there; {how}")
    }
}

/// The AMIs of an image, one for each region. With `trust`, only those that somebody trusted vouches for.
pub(in crate::cli) fn published(
    store: &Store,
    id: ManifestId,
    trust: Option<&Trust>,
) -> Result<Vec<Published>, crate::store::StoreError> {
    let mut all = of(store, id)?;
    if let Some(trust) = trust {
        all.retain(|it| attestation_status::counts(&it.said, trust));
    }
    Ok(last_ones(all))
}
