//! Provisioning of any machine: packages, files, steps.

use std::time::Instant;

use super::phases::Phases;
use super::step_times::StepTimes;
use super::{BuildError, Job};
use crate::digest::Digest;
use crate::machine::{Machine, MachineError};
use crate::provision::{self, Context, DeclaredPackages};
use crate::record::lock::Lock;
use crate::scan::undeclared::StepTime;
use crate::store::Timestamp;
use crate::ui::Part;

impl Job<'_> {
    /// Provisions the machine from the lock. Fails as soon as the machine dies. Returns the times of the steps.
    pub(super) async fn provision_machine<M: Machine>(
        &self,
        machine: &mut M,
        declared: Option<&DeclaredPackages>,
        lock: &Lock,
        epoch: Option<Timestamp>,
        phases: &mut Phases<'_>,
    ) -> Result<Vec<StepTime>, BuildError> {
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
            let mut times = StepTimes::start(machine, &self.plan.steps).await;
            let parts = Part::numbered("step", &self.plan.steps);
            for (part, step) in parts {
                let work = async {
                    let done = provision::step(machine, step, &cx).await;
                    Ok(done.map_err(|error| error.at(&step.place, &self.plan.template))?)
                };
                let (shown, began) = ((step.name.as_str(), part), Instant::now());
                phases.run_part(&step.name, shown, work).await?;
                times.add(step, began);
            }
            Ok(times.steps)
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
