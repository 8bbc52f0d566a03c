//! The finished image, booted once more for its tests: an AMI that is there for that alone, and an instance of it.

use super::Site;
use crate::digest::Digest;
use crate::ec2::machine::{self, Ami, Ec2Error};
use crate::ec2::publish::{About, register};
use crate::machine::Machine as _;
use crate::pipeline::phases::Phases;
use crate::pipeline::{BuildError, Job, Made};
use crate::provision;
use crate::record::manifest::ManifestId;
use crate::store::StoreError;

impl Job<'_> {
    /// Launches an instance of the finished snapshot; nothing of that boot reaches the image.
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
        let throw_away = self.throw_away(site, made, snapshot);
        let ami = phases.run_to_end("register for tests", throw_away).await?;
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
        let cx = self.step_context(&fetched);
        for test in &self.plan.tests {
            let work = async { Ok(provision::test(&mut machine, test, &cx).await?) };
            phases.run(&format!("test: {}", test.name), work).await?;
        }
        let id = machine.id().to_owned();
        machine.destroy().await;
        let region = &site.rental.region;
        let end = async {
            machine::end(region, &id, &place, self.ui).await;
            Ok(region.deregister_image(&ami.pinned.id).await?)
        };
        phases.run("end the test", end).await
    }

    /// An AMI of the run alone, which goes with all else that it has made.
    async fn throw_away(
        &self,
        site: &Site<'_>,
        made: &Made,
        snapshot: &str,
    ) -> Result<Ami, BuildError> {
        let rental = &site.rental;
        let settings = Self::registered(site, self.plan.publish.as_ref());
        let id = ManifestId::of(&made.manifest.to_bytes().map_err(StoreError::from)?);
        let about = About {
            name: format!("karat-{}-test", rental.id()),
            ..ChangeDetails::new(id, &made.manifest, &settings)?
        };
        let region = &rental.region;
        let registering = async {
            let image = register(region, &about, &settings, snapshot, rental.tags()).await;
            image.map_err(Ec2Error::from)
        };
        let image = rental.make(self.cancel, registering).await?;
        let available = region.image_available(&image);
        let available = self.cancel.run_until_cancelled(available).await;
        Ok(Ami::of(available.ok_or(BuildError::Cancelled)??, region)?)
    }
}
