//! AWS targets of a channel: SSM parameters and launch templates that move with it. A move verifies the AMIs, writes a
//! journal, updates the targets and reads them back; it restores them when anything fails.

use std::path::PathBuf;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{MoveError, MoveMode};
use crate::cli::CommandError;
use crate::cli::shared::attestation_status::trusted_publications;
use crate::ec2::channel_target::{self, Change, Journal};
use crate::ec2::client::{Aws, Settings};
use crate::ec2::publish::ami_check;
use crate::os::file_lock::FileLock;
use crate::record::channel::{ChannelName, Move};
use crate::record::manifest::ManifestId;
use crate::sign::Trust;
use crate::store::{Ec2Targets, Store};
use crate::ui::Ui;
use crate::ui::text::terminal_safe;

/// The AWS targets of a channel, locked against other moves while this value lives.
pub(super) struct Targets {
    aws: Aws,
    settings: Ec2Targets,
    name: ChannelName,
    journal: PathBuf,
    _lock: Option<FileLock>,
}

impl Targets {
    /// Connects to AWS and recovers from an interrupted move. A dry run takes no lock and recovers nothing.
    pub(super) async fn open(
        store: &Store,
        name: &ChannelName,
        settings: &Ec2Targets,
        mode: MoveMode,
        ui: &Ui,
    ) -> Result<Self, CommandError> {
        let connection = Settings {
            profile: settings.profile.clone(),
            region: None,
        };
        let aws = Aws::connect(&connection).await?;
        let journal = store.ec2_journal(name);
        let lock = match mode {
            MoveMode::DryRun => None,
            MoveMode::Move => {
                let path = journal.with_extension("lock");
                crate::os::atomic_file::make_directory(crate::os::atomic_file::directory_of(&path))
                    .map_err(|error| MoveError::journal(&path, error))?;
                let waiting = || ui.note("waiting for another move of this channel at AWS");
                let lock = FileLock::exclusive(&path, waiting).await;
                Some(lock.map_err(|error| MoveError::journal(&path, error))?)
            }
        };
        let targets = Self {
            aws,
            settings: settings.clone(),
            name: name.clone(),
            journal,
            _lock: lock,
        };
        targets.recover(store, mode, ui).await?;
        Ok(targets)
    }

    /// Completes an interrupted move if the channel has moved, and undoes it otherwise.
    async fn recover(&self, store: &Store, mode: MoveMode, ui: &Ui) -> Result<(), CommandError> {
        let journal = Journal::read(&self.journal)
            .map_err(|error| MoveError::journal(&self.journal, error))?;
        let Some(journal) = journal else {
            return Ok(());
        };
        if mode == MoveMode::DryRun {
            ui.warn("an earlier move was interrupted at AWS; the next move recovers from it first");
            return Ok(());
        }
        let channel = store.channel(&self.name)?;
        let has_moved = channel.moves.iter().any(|found| {
            (found.entry.number, found.entry.manifest) == (journal.number, journal.manifest)
        });
        let is_head = channel.number() == journal.number;
        if has_moved && is_head {
            ui.note("completing an earlier move that was interrupted at AWS");
            channel_target::apply(&self.aws, &journal.changes).await?;
        } else if !has_moved {
            ui.note("undoing an earlier move that was interrupted at AWS");
            if !channel_target::undo(&self.aws, &journal.changes, ui).await {
                return Err(MoveError::NotRestored(self.name.clone()).into());
            }
        }
        Ok(self.finish()?)
    }

    /// Returns the changes after which all targets name the AMIs of the image. Fails if the AMI of any region is missing or
    /// differs from its attestation.
    pub(super) async fn plan(
        &self,
        store: &Store,
        entry: &Move,
        trust: Option<&Trust>,
    ) -> Result<Vec<Change>, CommandError> {
        let id = entry.manifest;
        let published = trusted_publications(store, id, trust)?;
        let note = format!("{} {} {}", self.name, entry.number, id.short());
        let plans = self.settings.regions.iter().map(async |name| {
            let region = self.aws.region(name);
            let mut publications = published.iter().map(|published| &published.publication);
            let Some(publication) = publications.find(|found| found.region == *name) else {
                return Ok((vec![unpublished(name, id, trust.is_some())], Vec::new()));
            };
            let image = &publication.image;
            let faults = ami_check::differences(&region, publication).await?;
            if faults.is_empty() {
                let changes =
                    channel_target::changes(&region, &self.settings, image, &note).await?;
                return Ok::<_, CommandError>((faults, changes));
            }
            let faults = faults.iter();
            let faults = faults
                .map(|fault| format!("{name}: {} {}", terminal_safe(image), terminal_safe(fault)));
            Ok((faults.collect(), Vec::new()))
        });
        let (mut faults, mut changes) = (Vec::new(), Vec::new());
        for plan in join_all(plans).await {
            let (region_faults, region_changes) = plan?;
            faults.extend(region_faults);
            changes.extend(region_changes);
        }
        if faults.is_empty() {
            return Ok(changes);
        }
        let name = self.name.clone();
        Err(MoveError::Unverified { id, name, faults }.into())
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
        Journal::new(entry.number, entry.manifest, changes.to_vec())
            .write(&self.journal)
            .map_err(|error| MoveError::journal(&self.journal, error))?;
        let applied = cancel.run_until_cancelled(channel_target::apply(&self.aws, changes));
        let error = match applied.await {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => MoveError::Targets {
                name: self.name.clone(),
                source: Box::new(error),
            },
            None => MoveError::Cancelled(self.name.clone()),
        };
        self.undo(changes, ui).await?;
        Err(error)
    }

    /// Restores all targets.
    pub(super) async fn undo(&self, changes: &[Change], ui: &Ui) -> Result<(), MoveError> {
        if !channel_target::undo(&self.aws, changes, ui).await {
            return Err(MoveError::NotRestored(self.name.clone()));
        }
        self.finish()
    }

    /// Removes the journal: the move is complete or undone.
    pub(super) fn finish(&self) -> Result<(), MoveError> {
        Journal::end(&self.journal).map_err(|error| MoveError::journal(&self.journal, error))
    }
}

fn unpublished(region: &str, id: ManifestId, is_signed: bool) -> String {
    let hint = format!("run `karat publish {} --region {region}`", id.short());
    if is_signed {
        format!("{region}: no AMI with an attestation from a trusted signer; {hint}")
    } else {
        format!("{region}: not published there; {hint}")
    }
}
