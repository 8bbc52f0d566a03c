//! Lock file of a template for EC2, without a build.

use super::Site;
use crate::machine::Machine as _;
use crate::os::run_dir::RunDir;
use crate::pipeline::lock_file::LockState;
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
            let lock = self.lock_in_instance(&site, &lock_state, phases).await;
            site.resources.release(self.ui).await;
            lock?
        };
        self.fetch_packages(&lock, phases).await?;
        run.remove().map_err(BuildError::RunDirectory)?;
        Ok((lock_state.into_old(), lock))
    }

    async fn lock_in_instance(
        &self,
        site: &Site<'_>,
        lock_state: &LockState,
        phases: &mut Phases<'_>,
    ) -> Result<Lock, BuildError> {
        let (ami, run) = (&site.ami, site.run.path());
        let launched = self.launch_instance(site, ami, "lock", run, phases);
        let (_, mut machine) = launched.await?;
        let lock = async {
            self.wait_for_guest(&mut machine, phases).await?;
            self.save_base_packages(machine.session(), &site.ami.locked().digest)
                .await;
            self.resolve_lock(&mut machine, lock_state, phases).await
        }
        .await;
        machine.destroy().await;
        lock
    }
}
