//! Tests of the finished image, in an instance of a temporary AMI.

use super::Site;
use crate::ec2::client::ec2::images;
use crate::ec2::machine::{BaseAmi, tear_down};
use crate::ec2::publish::AmiMetadata;
use crate::machine::Machine as _;
use crate::pipeline::phases::Phases;
use crate::pipeline::{BuildError, Job, Made};
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
        let boot = self.wait_for_test_guest(&mut machine);
        let booted = phases.run("boot the image", boot).await;
        let tested = match booted {
            Ok(()) => self.run_tests(&mut machine, phases).await,
            failed => failed,
        };
        if let Err(error) = tested {
            return Err(self.hold(machine, error, site.run).await);
        }
        let id = machine.id().to_owned();
        machine.destroy().await;
        let region = &site.resources.region;
        let end = async {
            tear_down(region, &id, &network, self.ui).await;
            Ok(images::deregister(region, &ami.pinned.id).await?)
        };
        phases.run("end the test", end).await
    }

    /// Registers an AMI for the tests, which is removed with the other resources of the run.
    async fn temporary_ami(
        &self,
        site: &Site<'_>,
        made: &Made,
        snapshot: &str,
    ) -> Result<BaseAmi, BuildError> {
        let resources = &site.resources;
        let settings = Self::registered(site, self.plan.publish.as_ref());
        let id = ManifestId::of(&made.manifest.to_bytes().map_err(StoreError::from)?);
        let metadata = AmiMetadata {
            name: format!("karat-{}-test", resources.id()),
            ..AmiMetadata::new(id, &made.manifest, &settings)?
        };
        let tags = resources.tags();
        let image = self.register_image(resources, &metadata, &settings, snapshot, tags);
        Ok(BaseAmi::from_image(image.await?, &resources.region)?)
    }
}
