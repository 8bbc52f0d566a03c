//! A snapshot whose image is recorded → an AMI that others can launch.

use super::Site;
use crate::ec2::client::run_tags::MANIFEST;
use crate::ec2::machine::{Ec2Error, Rental};
use crate::ec2::publish::{About, Publication, Source, offer, register};
use crate::pipeline::{BuildError, Job, Made};
use crate::plan::{BootMode, PublishEc2};
use crate::record::manifest::ManifestId;

impl Job<'_> {
    /// Makes an AMI of a snapshot whose image is recorded.
    pub(super) async fn register(
        &self,
        site: &Site<'_>,
        id: ManifestId,
        made: &Made,
        snapshot: &str,
    ) -> Result<Publication, BuildError> {
        let rental = &site.rental;
        let settings = Self::registered(site, self.plan.publish.as_ref());
        let registered = self.offer(rental, id, made, snapshot, &settings).await;
        registered.map_err(|error| match error {
            BuildError::Cancelled => BuildError::Cancelled,
            error => BuildError::NotRegistered {
                id,
                region: rental.region.name().to_owned(),
                source: Box::new(error),
            },
        })
    }

    /// How AMIs of a build are registered: as the template says, and as the AMI was that it started from.
    pub(super) fn registered(site: &Site<'_>, publish: Option<&PublishEc2>) -> PublishEc2 {
        let mut settings = publish.cloned().unwrap_or_default();
        if site.ami.boot_mode.as_deref() == Some("uefi-preferred") {
            settings.boot_mode = settings.boot_mode.or(Some(BootMode::UefiPreferred));
        }
        settings.kms_key.clone_from(&site.ec2.kms_key);
        settings
    }

    async fn offer(
        &self,
        rental: &Rental,
        id: ManifestId,
        made: &Made,
        snapshot: &str,
        settings: &PublishEc2,
    ) -> Result<Publication, BuildError> {
        let region = &rental.region;
        let about = About::new(id, &made.manifest, settings)?;
        let mut tags = settings.tags.clone();
        tags.extend(rental.tags().clone());
        tags.insert(MANIFEST.to_owned(), id.to_string());
        tags.insert("Name".to_owned(), about.name.clone());
        region.tag(&[snapshot], &tags).await?;
        let registering = async {
            let image = register(region, &about, settings, snapshot, &tags).await;
            image.map_err(Ec2Error::from)
        };
        let image = rental.make(self.cancel, registering).await?;
        let available = region.image_available(&image);
        let available = self.cancel.run_until_cancelled(available).await;
        let image = available.ok_or(BuildError::Cancelled)??;
        let (store, scratch) = (self.settings.store, self.settings.cache.runs());
        let source = Source::open(store, &made.manifest, &scratch, self.ui).await?;
        let digest = source.digest(&made.manifest).await?;
        let caller = region.caller().await?;
        let encrypted = region.snapshot(snapshot).await?.encrypted;
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
