//! Tests of the finished image, in an instance of a temporary AMI.

use super::Site;
use crate::digest::Digest;
use crate::ec2::machine::{Ami, Ec2Error, tear_down};
use crate::ec2::publish::{AmiMetadata, register};
use crate::machine::Machine as _;
use crate::pipeline::phases::Phases;
use crate::pipeline::{BuildError, Job, Made};
use crate::provision;
use crate::record::manifest::ManifestId;
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
        let ami = phases.run_to_end("register for tests", register).await?;
        let launched = self.launch_instance(site, &ami, "test", &scratch, phases);
        let (network, mut machine) = launched.await?;
        let within = self.plan.ssh.timeout;
        let boot = async {
            machine.wait_ready(within, self.ui).await?;
            machine.wait_booted(within, self.ui).await?;
            self.seal_test_guest(&mut machine).await
        };
        phases.run("boot the image", boot).await?;
        let fetched = |digest: &Digest| self.settings.cache.path(digest);
        let cx = self.step_context(&fetched);
        for test in &self.plan.tests {
            let work = async { Ok(provision::test(&mut machine, test, &cx).await?) };
            phases.run(&format!("test: {}", test.name), work).await?;
        }
        let id = machine.id().to_owned();
        machine.destroy().await;
        let region = &site.resources.region;
        let end = async {
            tear_down(region, &id, &network, self.ui).await;
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
        let metadata = AmiMetadata {
            name: format!("karat-{}-test", resources.id()),
            ..AmiMetadata::new(id, &made.manifest, &settings)?
        };
        let region = &resources.region;
        let registering = async {
            let image = register(region, &metadata, &settings, snapshot, resources.tags()).await;
            image.map_err(Ec2Error::from)
        };
        let image = resources.create(self.cancel, registering).await?;
        let available = region.images().wait_available(&image);
        let available = self.cancel.run_until_cancelled(available).await;
        Ok(Ami::from_image(
            available.ok_or(BuildError::Cancelled)??,
            region,
        )?)
    }
}
