//! An image of the store → AMIs: written as snapshots through the EBS direct APIs, without any instance, and registered.

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
use crate::ec2::client::ec2::{Filter, Image, Tags};
use crate::ec2::client::run_tags::{self, MANIFEST, Run};
use crate::ec2::client::{Aws, AwsError, Region, token};
use crate::plan::PublishEc2;
use crate::record::manifest::{Manifest, ManifestId};
use crate::store::Store;
use crate::ui::Ui;

pub use ami_metadata::About;
pub use error::PublishError;
pub use image_disk::Source;
use progress::{Beginning, Claim, Progress};
pub use publication::{Publication, Published};
pub use register::{offer, register, sweep};
use upload::Parent;

/// What AWS says when an AMI of this name is there already.
const TAKEN: &str = "InvalidAMIName.Duplicate";

/// What is published, and how.
pub struct Job<'a> {
    /// Whom AWS takes it for.
    pub aws: &'a Aws,
    /// Where the image is.
    pub store: &'a Store,
    /// For what is known of uploads that have begun.
    pub cache: PathBuf,
    /// The image.
    pub id: ManifestId,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// What the template says of it.
    pub settings: &'a PublishEc2,
    /// Read it back from AWS, and compare, before it is registered.
    pub verify: bool,
    /// The screen.
    pub ui: &'a Ui,
    /// The user ends it.
    pub cancel: &'a CancellationToken,
}

/// What became of one region.
#[derive(Debug)]
pub struct Outcome {
    /// Where.
    pub region: String,
    /// The AMI, and whether it was there before.
    pub ended: Result<(Publication, bool), PublishError>,
}

impl Job<'_> {
    /// Publishes in all regions at once; one that fails does not disturb the others.
    ///
    /// # Errors
    /// What stops all of them before the first has begun.
    pub async fn run(&self) -> Result<Vec<Outcome>, PublishError> {
        let about = About::new(self.id, self.manifest, self.settings)?;
        let regions = regions(self.aws, self.settings)?;
        let home = self.aws.region(&regions[0]);
        let caller = home.caller().await?;
        let source = Source::open(self.store, self.manifest, &self.cache, self.ui).await?;
        let digest = source.digest(self.manifest).await?;
        let places = regions.iter().map(|name| {
            let place = Place {
                job: self,
                region: self.aws.region(name),
                account: &caller.account,
                key: key(self.settings, name, &caller),
                about: &about,
                source: &source,
                digest,
                run: Run::begin(),
            };
            async move {
                let region = place.region.name().to_owned();
                let ended = place.publish().await;
                Outcome { region, ended }
            }
        });
        Ok(join_all(places).await)
    }
}

/// The regions of a template, or that of the environment.
///
/// # Errors
/// There is neither.
pub fn regions(aws: &Aws, settings: &PublishEc2) -> Result<Vec<String>, AwsError> {
    if !settings.regions.is_empty() {
        return Ok(settings.regions.clone());
    }
    let own = aws.own_region().ok_or(AwsError::NoRegion)?;
    Ok(vec![own.to_owned()])
}

/// The ARN of the key of a region.
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

/// One region of a job.
struct Place<'a> {
    job: &'a Job<'a>,
    region: Region,
    account: &'a str,
    key: Option<String>,
    about: &'a About,
    source: &'a Source,
    digest: Digest,
    run: Run,
}

impl Place<'_> {
    async fn publish(&self) -> Result<(Publication, bool), PublishError> {
        let name = format!("{}-{}-{}", self.about.id, self.account, self.region.name());
        let claim = Claim::of(&progress::place(&self.job.cache, &name))?;
        let claim = claim.ok_or_else(|| PublishError::Busy {
            region: self.region.name().to_owned(),
        })?;
        if let Some(image) = self.there().await? {
            let taken = self.take_over(image).await?;
            // Of an upload that was killed when its AMI was made already.
            claim.end()?;
            return Ok((taken, true));
        }
        let parent = self.parent().await?;
        let begin = || self.beginning(parent.as_ref());
        let mut progress = claim.open(begin)?;
        if self.is_of_no_use(&progress).await? {
            self.sweep(&progress).await;
            progress = progress.end()?.open(begin)?;
        }
        let made = self.make(&mut progress, parent).await;
        if made.is_err() {
            self.sweep(&progress).await;
        }
        progress.end()?.end()?;
        match made {
            Err(PublishError::Aws(error)) if error.error_code() == Some(TAKEN) => {
                // Another host was faster.
                let image = self.there().await?.ok_or(error)?;
                Ok((self.take_over(image).await?, true))
            }
            made => Ok((made?, false)),
        }
    }

    /// The AMI that was made of this manifest, ready or not. One that has failed is removed.
    async fn there(&self) -> Result<Option<Image>, PublishError> {
        let ours = Filter::tag(MANIFEST, &self.about.id.to_string());
        let mut there = Vec::new();
        for image in self.region.images(&["self"], &[ours]).await? {
            match (image.state.as_str(), image.tag(run_tags::RUN)) {
                ("deregistered", _) => {}
                ("failed" | "error" | "invalid", Some(run)) => {
                    sweep(&self.region, run, self.job.ui).await;
                }
                _ => there.push(image),
            }
        }
        there.sort_by(|one, other| one.creation_date.cmp(&other.creation_date));
        Ok(there.pop())
    }

    /// An AMI that is there already is looked at as if somebody else had made it, unless it is known.
    async fn take_over(&self, image: Image) -> Result<Publication, PublishError> {
        let image = self.until_cancelled(self.region.image_available(&image.id));
        let image = image.await?;
        let changed = |problem: &str| PublishError::Changed {
            image: image.id.clone(),
            region: self.region.name().to_owned(),
            problem: problem.to_owned(),
        };
        let snapshot = image.root_snapshot();
        let snapshot = snapshot.ok_or_else(|| changed("has no snapshot"))?;
        let known = publication::of(self.job.store, self.about.id)?;
        let known = known.iter().map(|it| &it.publication);
        let is_known = known
            .filter(|it| it.region == self.region.name())
            .any(|it| it.image == image.id && it.snapshot == snapshot);
        if !is_known || self.job.verify {
            self.read_back(&image.id, snapshot).await?;
        }
        offer(&self.region, &image, self.job.settings).await?;
        let encrypted = self.region.snapshot(snapshot).await?.encrypted;
        Ok(self.publication(&image.id, snapshot, encrypted))
    }

    fn beginning(&self, parent: Option<&Parent>) -> Beginning {
        let mut tags = self.tags();
        tags.insert("Name".to_owned(), self.about.name.clone());
        Beginning {
            token: token(),
            tags,
            size: self.about.size,
            parent: parent.map(|it| it.snapshot.clone()),
            encrypted: self.job.settings.encrypted,
            kms_key: self.key.clone(),
        }
    }

    fn tags(&self) -> Tags {
        let mut tags = self.job.settings.tags.clone();
        tags.extend(self.run.tags(&self.about.image));
        tags.insert(MANIFEST.to_owned(), self.about.id.to_string());
        tags
    }

    /// Whether an upload that had begun cannot go on: other settings, a parent that is gone, or given up by AWS.
    async fn is_of_no_use(&self, progress: &Progress) -> Result<bool, PublishError> {
        let beginning = &progress.beginning;
        let same = beginning.encrypted == self.job.settings.encrypted
            && beginning.kms_key == self.key
            && beginning.size == self.about.size;
        if !same || self.parent_of(beginning.parent.as_deref()).await?.is_none() {
            return Ok(true);
        }
        let Some(snapshot) = &progress.snapshot else {
            return Ok(false);
        };
        match self.region.snapshot(snapshot).await {
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
        let (region, about) = (&self.region, self.about);
        let resumed = progress.snapshot.clone();
        self.not_cancelled()?;
        let description = format!("{} {}", about.name, about.description);
        let snapshot = upload::begin(region, progress, &description, self.key.as_deref()).await?;
        let is_written = match resumed {
            Some(id) => region.snapshot(&id).await?.state == "completed",
            None => false,
        };
        if !is_written {
            let parent = match &progress.beginning.parent {
                // What an upload that is taken up differs from was chosen when it began.
                Some(id) if parent.as_ref().is_none_or(|it| it.snapshot != *id) => {
                    self.parent_of(Some(id)).await?.flatten()
                }
                Some(_) => parent,
                None => None,
            };
            let bar = self.job.ui.bar(&format!("to {}", region.name()), None);
            let disk = self.source.disk.clone();
            let parent = parent.map(|it| it.disk);
            let write = upload::write(region, &snapshot, disk, parent, progress, &bar);
            let written = self.until_cancelled(write).await?;
            self.job.ui.detail(&format!(
                "{}: {} blocks of 512 KiB in {snapshot}",
                region.name(),
                written.blocks
            ));
            self.until_cancelled(upload::complete(region, &snapshot, written))
                .await?;
        }
        if self.job.verify {
            self.read_back(&snapshot, &snapshot).await?;
        }
        self.not_cancelled()?;
        // Not cancelled within: an answer that nobody hears leaves an AMI that nobody knows.
        let mut tags = self.tags();
        tags.insert("Name".to_owned(), about.name.clone());
        let run = progress.beginning.tags.get(run_tags::RUN);
        tags.extend(run.map(|run| (run_tags::RUN.to_owned(), run.clone())));
        let image = register(region, about, self.job.settings, &snapshot, &tags).await?;
        let image = self.until_cancelled(region.image_available(&image)).await?;
        offer(region, &image, self.job.settings).await?;
        Ok(self.publication(&image.id, &snapshot, self.job.settings.encrypted))
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
        // A search may not find what was just begun, or may not be allowed.
        let begun = progress.snapshot.iter();
        for snapshot in begun.filter(|it| !removed.contains(it)) {
            let gone = self.region.delete_snapshot(snapshot).await;
            if let Err(error) = gone
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

    /// For what may be left in the middle: what it was doing is removed afterwards.
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
