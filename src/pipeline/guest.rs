//! A build's guest: launched, provisioned, and the finished image booted once more for its tests.

use std::path::Path;

use super::locking::Locking;
use super::phases::Phases;
use super::{BuildError, Job, epoch, network};
use crate::base::BaseDisk;
use crate::digest::Digest;
use crate::disk;
use crate::machine::qemu::{self, QemuMachine};
use crate::machine::{Machine, MachineError};
use crate::os::run_dir::RunDir;
use crate::plan;
use crate::provision::{self, Asked, Context};
use crate::record::lock::Lock;
use crate::record::manifest;
use crate::store::Timestamp;

impl Job<'_> {
    pub(super) async fn launch(
        &self,
        guest: &plan::Qemu,
        disk: &disk::Base,
        clock: Option<Timestamp>,
        run: &Path,
    ) -> Result<QemuMachine, BuildError> {
        let plan::Plan { ssh, network, .. } = self.plan;
        Ok(qemu::launch(guest, ssh, network, disk, clock, run, self.ui).await?)
    }

    pub(super) async fn wait_ready(
        &self,
        machine: &mut QemuMachine,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let timeout = self.plan.ssh.timeout;
        let ready = async {
            machine.wait_ready(timeout, self.ui).await?;
            self.seal(machine).await
        };
        phases.run("wait for SSH", ready).await
    }

    /// From a booting guest to one that is ready to be shut down for good. Returns what is installed in it, from
    /// which lock, and what it got from the network.
    pub(super) async fn provision_guest(
        &self,
        machine: &mut QemuMachine,
        base: &BaseDisk,
        locking: &Locking,
        known: Option<Lock>,
        phases: &mut Phases<'_>,
    ) -> Result<(Lock, Vec<provision::Package>, Vec<manifest::Request>), BuildError> {
        self.wait_ready(machine, phases).await?;
        let before = provision::installed_packages(machine.session()).await?;
        self.remember(machine.session(), &base.digest).await;
        let lock = if let Some(lock) = known {
            lock
        } else {
            let lock = self.resolve(machine, locking, phases).await?;
            locking.tell_changes(&lock, self.ui);
            self.fetch_packages(&lock, phases).await?;
            lock
        };
        let epoch = epoch(&lock, base);
        if let Some(epoch) = epoch {
            machine.set_clock(epoch).await?;
        }
        self.provision(machine, locking.asked(), &lock, epoch, phases)
            .await?;
        let after = provision::installed_packages(machine.session()).await?;
        let requests = network::requests(machine.seal(), self.ui);
        phases
            .run("clean up", async { Ok(machine.clean_up().await?) })
            .await?;
        let declared = &self.plan.packages;
        Ok((
            lock,
            provision::attribute(&before, after, declared),
            requests,
        ))
    }

    pub(super) async fn provision<M: Machine>(
        &self,
        machine: &mut M,
        asked: Option<&Asked>,
        lock: &Lock,
        epoch: Option<Timestamp>,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let fetched = |digest: &Digest| self.settings.cache.path(digest);
        let cx = Context {
            epoch,
            ..self.context(&fetched)
        };
        let mut death = machine.death();
        let work = async {
            self.install(machine, asked, lock, phases).await?;
            let files = async { Ok(provision::files(machine, &self.plan.files, &cx).await?) };
            phases.run("files", files).await?;
            for step in &self.plan.steps {
                let work = async { Ok(provision::step(machine, step, &cx).await?) };
                phases.run(&step.name, work).await?;
            }
            Ok(())
        };
        tokio::select! {
            biased;
            report = death.wait() => Err(MachineError::Died(report).into()),
            result = work => result,
        }
    }

    /// Boots the finished image once more from a throw-away overlay; nothing of that boot reaches the image.
    pub(super) async fn test(
        &self,
        guest: &plan::Qemu,
        image: &disk::Base,
        run: &RunDir,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        if self.plan.tests.is_empty() {
            return Ok(());
        }
        let scratch = run.path().join("test");
        std::fs::create_dir(&scratch).map_err(BuildError::RunDirectory)?;
        let within = self.plan.ssh.timeout;
        let boot = async {
            let mut machine = self.launch(guest, image, None, &scratch).await?;
            machine.wait_ready(within, self.ui).await?;
            machine.wait_booted(within, self.ui).await?;
            self.seal_finished(&mut machine).await?;
            Ok(machine)
        };
        let mut machine = phases.run("boot the image", boot).await?;
        let fetched = |digest: &Digest| self.settings.cache.path(digest);
        let cx = self.context(&fetched);
        for test in &self.plan.tests {
            let work = async { Ok(provision::test(&mut machine, test, &cx).await?) };
            if let Err(error) = phases.run(&format!("test: {}", test.name), work).await {
                machine.destroy().await;
                return Err(error);
            }
        }
        machine.destroy().await;
        Ok(())
    }
}
