//! Registration of the AMI of a recorded image.

use super::Site;
use crate::ec2::client::ec2::{Image, Tags, images, snapshots};
use crate::ec2::machine::{Ec2Error, ResourceGuard};
use crate::ec2::publish::{AmiMetadata, Publication, VerifiedDisk, offer, register};
use crate::pipeline::{BuildError, Job, Made};
use crate::plan::{BootMode, PublishEc2};
use crate::record::manifest::ManifestId;

impl Job<'_> {
    /// Registers and publishes the AMI of a recorded image.
    pub(super) async fn register(
        &self,
        site: &Site<'_>,
        id: ManifestId,
        made: &Made,
        snapshot: &str,
    ) -> Result<Publication, BuildError> {
        let resources = &site.resources;
        let settings = Self::registered(site, self.plan.publish.as_ref());
        let registered = self.offer(resources, id, made, snapshot, &settings).await;
        registered.map_err(|error| match error {
            BuildError::Cancelled => BuildError::Cancelled,
            error => BuildError::NotRegistered {
                id,
                region: resources.region.name().to_owned(),
                source: Box::new(error),
            },
        })
    }

    /// Returns the settings of the AMIs of a build: those of the template, with the boot mode of the base AMI.
    pub(super) fn registered(site: &Site<'_>, publish: Option<&PublishEc2>) -> PublishEc2 {
        let mut settings = publish.cloned().unwrap_or_default();
        if site.ami.boot_mode.as_deref() == Some("uefi-preferred") {
            settings.boot_mode = settings.boot_mode.or(Some(BootMode::UefiPreferred));
        }
        settings.kms_key.clone_from(&site.ec2.kms_key);
        settings
    }

    /// Registers an AMI and waits until it is available.
    pub(super) async fn register_image(
        &self,
        resources: &ResourceGuard,
        metadata: &AmiMetadata,
        settings: &PublishEc2,
        snapshot: &str,
        tags: &Tags,
    ) -> Result<Image, BuildError> {
        let region = &resources.region;
        let registering = async {
            let image = register(region, metadata, settings, snapshot, tags).await;
            image.map_err(Ec2Error::from)
        };
        let image = resources.create(self.cancel, registering).await?;
        let available = images::wait_available(region, &image);
        let available = self.cancel.run_until_cancelled(available).await;
        Ok(available.ok_or(BuildError::Cancelled)??)
    }

    async fn offer(
        &self,
        resources: &ResourceGuard,
        id: ManifestId,
        made: &Made,
        snapshot: &str,
        settings: &PublishEc2,
    ) -> Result<Publication, BuildError> {
        let region = &resources.region;
        let metadata = AmiMetadata::new(id, &made.manifest, settings)?;
        let tags = metadata.tags(&settings.tags, resources.tags());
        region.tag(&[snapshot], &tags).await?;
        let image = self.register_image(resources, &metadata, settings, snapshot, &tags);
        let image = image.await?;
        let (store, scratch) = (self.settings.store, self.settings.cache.runs());
        let source = VerifiedDisk::open(store, &made.manifest, &scratch, self.ui).await?;
        let digest = source.digest(&made.manifest).await?;
        let caller = region.caller().await?;
        let encrypted = snapshots::get(region, snapshot).await?.encrypted;
        offer(region, &image, settings).await?;
        Ok(Publication {
            region: region.name().to_owned(),
            account: caller.account,
            image: image.id,
            snapshot: snapshot.to_owned(),
            disk: digest,
            encrypted,
            kms_key: settings.kms_key.clone(),
            accounts: settings.accounts.clone(),
            organizations: settings.organizations.clone(),
        })
    }
}
