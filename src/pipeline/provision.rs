//! Provisioning of any machine: packages, files, steps.

use super::phases::Phases;
use super::{BuildError, Job};
use crate::digest::Digest;
use crate::machine::{Machine, MachineError};
use crate::provision::{self, Context, DeclaredPackages};
use crate::record::lock::Lock;
use crate::store::Timestamp;
use crate::ui::Part;

impl Job<'_> {
    /// Provisions the machine from the lock. Fails as soon as the machine dies.
    pub(super) async fn provision_machine<M: Machine>(
        &self,
        machine: &mut M,
        declared: Option<&DeclaredPackages>,
        lock: &Lock,
        epoch: Option<Timestamp>,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let fetched = |digest: &Digest| self.settings.cache.path(digest);
        let cx = Context {
            epoch,
            ..self.step_context(&fetched)
        };
        let mut death = machine.death();
        let work = async {
            self.install_packages(machine, declared, lock, phases)
                .await?;
            self.split_disk(machine).await?;
            let files = async {
                let done = provision::files(machine, &self.plan.files, &cx).await;
                Ok(done.map_err(|error| error.at_file(&self.plan.files, &self.plan.template))?)
            };
            phases.run("files", files).await?;
            let parts = Part::numbered("step", &self.plan.steps);
            for (part, step) in parts {
                let work = async {
                    let done = provision::step(machine, step, &cx).await;
                    Ok(done.map_err(|error| error.at(&step.place, &self.plan.template))?)
                };
                let shown = (step.name.as_str(), part);
                phases.run_part(&step.name, shown, work).await?;
            }
            Ok(())
        };
        // Not `Death::or`, which would double the size of this large future.
        tokio::select! {
            biased;
            report = death.wait() => Err(MachineError::Died(report).into()),
            result = work => result,
        }
    }

    /// Keeps the disk as the packages left it, to compare the image with, unless nothing else is going to change it.
    async fn split_disk<M: Machine>(&self, machine: &mut M) -> Result<(), BuildError> {
        if self.plan.files.is_empty() && self.plan.steps.is_empty() {
            return Ok(());
        }
        Ok(machine.split_disk().await?)
    }
}
