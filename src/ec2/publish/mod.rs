//! Publication of an image as AMIs: uploaded as snapshots through the EBS direct APIs, without any instance, and registered.

pub(crate) mod ami_check;
mod ami_metadata;
mod blocks;
mod error;
mod image_disk;
pub(crate) mod leftover;
mod parent;
mod progress;
pub(crate) mod prune;
pub(crate) mod publication;
pub(crate) mod read_back;
mod register;
mod upload;

use std::path::PathBuf;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::digest::Digest;
use crate::ec2::client::ec2::{Filter, Image, Tags, images, snapshots};
use crate::ec2::client::run_tags::{self, MANIFEST, Run};
use crate::ec2::client::sweep::sweep;
use crate::ec2::client::{Aws, AwsError, Region, token};
use crate::plan::PublishEc2;
use crate::record::manifest::{Manifest, ManifestId};
use crate::store::Store;
use crate::ui::Ui;

pub use ami_metadata::AmiMetadata;
pub use error::PublishError;
pub use image_disk::VerifiedDisk;
use progress::{Beginning, Claim, Progress};
pub use publication::{Publication, Published};
pub use register::{offer, register};
use upload::Parent;

/// Error code for the name of an existing AMI.
const NAME_TAKEN: &str = "InvalidAMIName.Duplicate";

/// Publication of an image in several regions.
pub struct PublishJob<'a> {
    pub aws: &'a Aws,
    /// Store that has the image.
    pub store: &'a Store,
    /// Directory for the progress of uploads.
    pub cache: PathBuf,
    /// Id of the manifest.
    pub id: ManifestId,
    pub manifest: &'a Manifest,
    /// `[publish.ec2]` of the template.
    pub settings: &'a PublishEc2,
    /// Read the snapshot back and compare it with the image before it is registered.
    pub verify: bool,
    pub ui: &'a Ui,
    pub cancel: &'a CancellationToken,
}

/// Result of a region.
#[derive(Debug)]
pub struct RegionOutcome {
    pub region: String,
    /// The AMI, and whether it existed before.
    pub ended: Result<(Publication, bool), PublishError>,
}

impl PublishJob<'_> {
    /// Publishes in all regions in parallel. A region that fails does not affect the others.
    pub async fn run(&self) -> Result<Vec<RegionOutcome>, PublishError> {
        let metadata = AmiMetadata::new(self.id, self.manifest, self.settings)?;
        let regions = regions(self.aws, self.settings)?;
        let home = self.aws.region(&regions[0]);
        let caller = home.caller().await?;
        let source = VerifiedDisk::open(self.store, self.manifest, &self.cache, self.ui).await?;
        let digest = source.digest(self.manifest).await?;
        let places = regions.iter().map(|name| {
            let place = RegionJob {
                job: self,
                region: self.aws.region(name),
                account: &caller.account,
                key: key(self.settings, name, &caller),
                metadata: &metadata,
                source: &source,
                digest,
                run: Run::begin(),
            };
            async move {
                let region = place.region.name().to_owned();
                let ended = place.publish().await;
                RegionOutcome { region, ended }
            }
        });
        Ok(join_all(places).await)
    }
}

/// Returns the regions of the template, or else that of the environment.
pub fn regions(aws: &Aws, settings: &PublishEc2) -> Result<Vec<String>, AwsError> {
    if !settings.regions.is_empty() {
        return Ok(settings.regions.clone());
    }
    let own = aws.own_region().ok_or(AwsError::NoRegion)?;
    Ok(vec![own.to_owned()])
}

/// Returns the ARN of the KMS key in a region.
fn key(
    settings: &PublishEc2,
    region: &str,
    caller: &crate::ec2::client::sts::Caller,
) -> Option<String> {
    let key = settings.kms_key.as_ref()?;
    if key.starts_with("arn:") {
        return Some(key.clone());
    }
    let partition = caller.arn.split(':').nth(1).unwrap_or("aws");
    let name = if key.starts_with("alias/") {
        key.clone()
    } else {
        format!("key/{key}")
    };
    Some(format!(
        "arn:{partition}:kms:{region}:{}:{name}",
        caller.account
    ))
}

/// Publication in one region.
struct RegionJob<'a> {
    job: &'a PublishJob<'a>,
    region: Region,
    account: &'a str,
    key: Option<String>,
    metadata: &'a AmiMetadata,
    source: &'a VerifiedDisk,
    digest: Digest,
    run: Run,
}

impl RegionJob<'_> {
    async fn publish(&self) -> Result<(Publication, bool), PublishError> {
        let name = format!(
            "{}-{}-{}",
            self.metadata.id,
            self.account,
            self.region.name()
        );
        let Some(claim) = Claim::acquire(&progress::path_of(&self.job.cache, &name))? else {
            let region = self.region.name().to_owned();
            return Err(PublishError::Busy { region });
        };
        if let Some(image) = self.existing().await? {
            let reused = self.reuse(image).await?;
            // The upload may have been killed after its AMI was registered.
            claim.end()?;
            return Ok((reused, true));
        }
        let parent = self.parent().await?;
        let begin = || self.beginning(parent.as_ref());
        let mut progress = claim.open(begin)?;
        if self.is_stale(&progress).await? {
            self.sweep(&progress).await;
            progress = progress.end()?.open(begin)?;
        }
        let made = self.make(&mut progress, parent).await;
        if made.is_err() {
            self.sweep(&progress).await;
        }
        progress.end()?.end()?;
        match made {
            Err(PublishError::Aws(error)) if error.error_code() == Some(NAME_TAKEN) => {
                // Another host was faster.
                let image = self.existing().await?.ok_or(error)?;
                Ok((self.reuse(image).await?, true))
            }
            made => Ok((made?, false)),
        }
    }

    /// Finds the AMI of this manifest, available or not. An AMI that has failed is removed.
    async fn existing(&self) -> Result<Option<Image>, PublishError> {
        let ours = Filter::tag(MANIFEST, &self.metadata.id.to_string());
        let mut found = Vec::new();
        for image in images::list(&self.region, &["self"], &[ours]).await? {
            match (image.state.as_str(), image.tags.get(run_tags::RUN)) {
                ("deregistered", _) => {}
                ("failed" | "error" | "invalid", Some(run)) => {
                    sweep(&self.region, run, self.job.ui).await;
                }
                _ => found.push(image),
            }
        }
        Ok(found
            .into_iter()
            .max_by(|one, other| one.creation_date.cmp(&other.creation_date)))
    }

    /// Publishes an existing AMI. Its snapshot is read back, unless the store has a record of it.
    async fn reuse(&self, image: Image) -> Result<Publication, PublishError> {
        let available = images::wait_available(&self.region, &image.id);
        let image = self.until_cancelled(available).await?;
        let Some(snapshot) = image.root_snapshot() else {
            return Err(PublishError::Changed {
                image: image.id.clone(),
                region: self.region.name().to_owned(),
                problem: "has no snapshot".to_owned(),
            });
        };
        let published = publication::list(self.job.store, self.metadata.id)?;
        let is_known = published
            .iter()
            .map(|published| &published.publication)
            .filter(|publication| publication.region == self.region.name())
            .any(|publication| publication.image == image.id && publication.snapshot == snapshot);
        if !is_known || self.job.verify {
            self.read_back(&image.id, snapshot).await?;
        }
        offer(&self.region, &image, self.job.settings).await?;
        let encrypted = snapshots::get(&self.region, snapshot).await?.encrypted;
        Ok(self.publication(&image.id, snapshot, encrypted))
    }

    fn beginning(&self, parent: Option<&Parent>) -> Beginning {
        Beginning {
            token: token(),
            tags: self.tags(),
            size: self.metadata.size,
            parent: parent.map(|parent| parent.snapshot.clone()),
            encrypted: self.job.settings.encrypted,
            kms_key: self.key.clone(),
        }
    }

    fn tags(&self) -> Tags {
        let run = self.run.tags(&self.metadata.image);
        self.metadata.tags(&self.job.settings.tags, &run)
    }

    /// Returns whether an upload cannot be resumed: settings have changed, its parent is gone, or AWS has discarded it.
    async fn is_stale(&self, progress: &Progress) -> Result<bool, PublishError> {
        let beginning = &progress.beginning;
        let same = beginning.encrypted == self.job.settings.encrypted
            && beginning.kms_key == self.key
            && beginning.size == self.metadata.size;
        if !same || self.parent_of(beginning.parent.as_deref()).await?.is_none() {
            return Ok(true);
        }
        let Some(snapshot) = &progress.snapshot else {
            return Ok(false);
        };
        match snapshots::get(&self.region, snapshot).await {
            Ok(snapshot) => Ok(!["pending", "completed"].contains(&snapshot.state.as_str())),
            Err(error) if error.is_not_found() => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    async fn make(
        &self,
        progress: &mut Progress,
        parent: Option<Parent>,
    ) -> Result<Publication, PublishError> {
        let (region, metadata) = (&self.region, self.metadata);
        let resumed = progress.snapshot.clone();
        self.not_cancelled()?;
        let description = format!("{} {}", metadata.name, metadata.description);
        let snapshot = upload::begin(region, progress, &description, self.key.as_deref()).await?;
        let is_written = match resumed {
            Some(id) => snapshots::get(region, &id).await?.state == "completed",
            None => false,
        };
        if !is_written {
            self.write(progress, parent, &snapshot).await?;
        }
        if self.job.verify {
            self.read_back(&snapshot, &snapshot).await?;
        }
        self.not_cancelled()?;
        // Not cancelled while registering: with the response lost, the id of the AMI would be too.
        let mut tags = self.tags();
        let run = progress.beginning.tags.get(run_tags::RUN);
        tags.extend(run.map(|run| (run_tags::RUN.to_owned(), run.clone())));
        let image = register(region, metadata, self.job.settings, &snapshot, &tags).await?;
        let available = images::wait_available(region, &image);
        let image = self.until_cancelled(available).await?;
        offer(region, &image, self.job.settings).await?;
        Ok(self.publication(&image.id, &snapshot, self.job.settings.encrypted))
    }

    /// Writes all blocks of the snapshot and completes it.
    async fn write(
        &self,
        progress: &Progress,
        parent: Option<Parent>,
        snapshot: &str,
    ) -> Result<(), PublishError> {
        let region = &self.region;
        let parent = match &progress.beginning.parent {
            // A resumed upload keeps the parent that was chosen when it began.
            Some(id) if parent.as_ref().is_none_or(|parent| parent.snapshot != *id) => {
                self.parent_of(Some(id)).await?.flatten()
            }
            Some(_) => parent,
            None => None,
        };
        let bar = self.job.ui.bar(&format!("to {}", region.name()), None);
        let disk = self.source.disk.clone();
        let parent = parent.map(|parent| parent.disk);
        let write = upload::write(region, snapshot, disk, parent, progress, &bar);
        let written = self.until_cancelled(write).await?;
        self.job.ui.detail(&format!(
            "{}: {} blocks of 512 KiB in {snapshot}",
            region.name(),
            written.blocks
        ));
        self.until_cancelled(upload::complete(region, snapshot, written))
            .await
    }

    async fn read_back(&self, image: &str, snapshot: &str) -> Result<(), PublishError> {
        let size = self.job.manifest.outputs.image.virtual_size;
        let read = read_back::digest(&self.region, snapshot, size);
        let found = self.until_cancelled(read).await?;
        if found == self.digest {
            return Ok(());
        }
        Err(PublishError::Different {
            image: image.to_owned(),
            region: self.region.name().to_owned(),
            found,
            wanted: self.digest,
        })
    }

    fn publication(&self, image: &str, snapshot: &str, encrypted: bool) -> Publication {
        let settings = self.job.settings;
        Publication {
            region: self.region.name().to_owned(),
            account: self.account.to_owned(),
            image: image.to_owned(),
            snapshot: snapshot.to_owned(),
            disk: self.digest,
            encrypted,
            kms_key: self.key.clone(),
            accounts: settings.accounts.clone(),
            organizations: settings.organizations.clone(),
        }
    }

    async fn sweep(&self, progress: &Progress) {
        let removed = match progress.beginning.tags.get(run_tags::RUN) {
            Some(run) => sweep(&self.region, run, self.job.ui).await,
            None => Vec::new(),
        };
        // A search may not find a snapshot that was just begun, or may not be permitted.
        let begun = progress.snapshot.iter();
        for snapshot in begun.filter(|id| !removed.contains(id)) {
            if let Err(error) = snapshots::delete(&self.region, snapshot).await
                && !error.is_not_found()
            {
                self.job.ui.detail(&format!("{snapshot}: {error}"));
            }
        }
    }

    fn not_cancelled(&self) -> Result<(), PublishError> {
        if self.job.cancel.is_cancelled() {
            return Err(PublishError::Cancelled(self.region.name().to_owned()));
        }
        Ok(())
    }

    /// Does work that may be interrupted, because its unfinished resources are removed afterwards.
    async fn until_cancelled<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, PublishError>
    where
        PublishError: From<E>,
    {
        match self.job.cancel.run_until_cancelled(work).await {
            Some(done) => Ok(done?),
            None => Err(PublishError::Cancelled(self.region.name().to_owned())),
        }
    }
}
