//! Lock file of a template for EC2, without a build.

use super::Site;
use crate::os::run_dir::RunDir;
use crate::pipeline::phases::Phases;
use crate::pipeline::{BuildError, Job, Update};
use crate::plan;
use crate::record::lock::Lock;
use crate::store::Timestamp;

impl Job<'_> {
    /// Launches an instance to ask its package manager, unless the lock is known already.
    pub(in crate::pipeline) async fn lock_on_ec2(
        &self,
        ec2: &plan::Ec2,
        update: Update,
        phases: &mut Phases<'_>,
    ) -> Result<(Option<Lock>, Lock), BuildError> {
        let mut lock_state = self.read_lock(ec2.arch.name(), update)?;
        let run = RunDir::create(&self.settings.cache.runs()).map_err(BuildError::RunDirectory)?;
        let (region, ami) = phases.run("base", self.find_ami(ec2, &lock_state)).await?;
        let lock = if let Some(lock) = self.settle_lock(&mut lock_state, ami.locked())? {
            lock
        } else {
            let site = Site {
                ec2,
                ami,
                resources: self.resources(region, ec2, run.path())?,
                run: &run,
                started: Timestamp::now(),
            };
            let locked = async {
                let launched = self.launch_instance(&site, &site.ami, "lock", run.path(), phases);
                let (_, machine) = launched.await?;
                let base = site.ami.locked().digest;
                self.resolve_and_destroy(machine, &base, &lock_state, phases)
                    .await
            };
            let lock = locked.await;
            site.resources.release(self.ui).await;
            lock?
        };
        self.fetch_packages(&lock, phases).await?;
        run.remove().map_err(BuildError::RunDirectory)?;
        Ok((lock_state.into_old(), lock))
    }
}
