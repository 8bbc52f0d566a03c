//! Tests of the finished image, in an instance of a temporary AMI.

use super::Site;
use crate::build::phases::Phases;
use crate::build::{BuildError, Job, Made};
use crate::builder::Machine as _;
use crate::builder::ec2::{self, Ami, Ec2Error};
use crate::digest::Digest;
use crate::manifest::ManifestId;
use crate::provision;
use crate::publish::ec2::{About, register};
use crate::store::StoreError;

impl Job<'_> {
    /// Launches an instance from the finished snapshot and runs the tests in it. The boot does not change the image.
    pub(super) async fn test_ami(
        &self,
        site: &Site<'_>,
        made: &Made,
        snapshot: &str,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        if self.plan.tests.is_empty() {
            return Ok(());
        }
        let scratch = site.run.path().join("test");
        std::fs::create_dir(&scratch).map_err(BuildError::RunDirectory)?;
        let register = self.temporary_ami(site, made, snapshot);
        let ami = phases.whole("register for tests", register).await?;
        let launched = self.launch_instance(site, &ami, "test", &scratch, phases);
        let (place, mut machine) = launched.await?;
        let within = self.plan.ssh.timeout;
        let boot = async {
            machine.wait_ready(within, self.ui).await?;
            machine.wait_booted(within, self.ui).await?;
            match self.new_seal()? {
                Some(seal) => Ok(machine.seal_with(seal.tolerant()).await?),
                None => Ok(()),
            }
        };
        phases.run("boot the image", boot).await?;
        let fetched = |digest: &Digest| self.settings.cache.path(digest);
        let cx = self.context(&fetched);
        for test in &self.plan.tests {
            let work = async { Ok(provision::test(&mut machine, test, &cx).await?) };
            phases.run(&format!("test: {}", test.name), work).await?;
        }
        let id = machine.id().to_owned();
        machine.destroy().await;
        let region = &site.resources.region;
        let end = async {
            ec2::end(region, &id, &place, self.ui).await;
            Ok(region.images().deregister(&ami.pinned.id).await?)
        };
        phases.run("end the test", end).await
    }

    /// Registers an AMI for the tests, which is removed with the other resources of the run.
    async fn temporary_ami(
        &self,
        site: &Site<'_>,
        made: &Made,
        snapshot: &str,
    ) -> Result<Ami, BuildError> {
        let resources = &site.resources;
        let settings = Self::registered(site, self.plan.publish.as_ref());
        let id = ManifestId::of(&made.manifest.to_bytes().map_err(StoreError::from)?);
        let about = About {
            name: format!("karat-{}-test", resources.id()),
            ..About::new(id, &made.manifest, &settings)?
        };
        let region = &resources.region;
        let registering = async {
            let image = register(region, &about, &settings, snapshot, resources.tags()).await;
            image.map_err(Ec2Error::from)
        };
        let image = resources.create(self.cancel, registering).await?;
        let available = region.images().wait_available(&image);
        let available = self.cancel.run_until_cancelled(available).await;
        Ok(Ami::of(available.ok_or(BuildError::Cancelled)??, region)?)
    }
}
