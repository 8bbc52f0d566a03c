//! The guest of a build: launched, provisioned; the finished image is booted again for its tests.

use std::path::Path;

use super::lock_file::LockState;
use super::phases::Phases;
use super::{BuildError, Job, epoch, network};
use crate::base::BaseDisk;
use crate::digest::Digest;
use crate::disk;
use crate::machine::Machine;
use crate::machine::guest::{Backend, Guest};
use crate::machine::qemu::{self, Connections, QemuMachine};
use crate::os::run_dir::RunDir;
use crate::plan;
use crate::provision;
use crate::record::lock::Lock;
use crate::record::manifest;
use crate::scan::undeclared::StepTime;
use crate::store::Timestamp;
use crate::ui::Part;

/// Result of provisioning a guest.
pub(super) struct Provisioned {
    pub lock: Lock,
    pub packages: Vec<manifest::Package>,
    pub requests: Vec<manifest::Request>,
    pub times: Vec<StepTime>,
}

impl Job<'_> {
    pub(super) async fn launch_guest(
        &self,
        guest: &plan::Qemu,
        disk: &disk::BaseImage,
        clock: Option<Timestamp>,
        run: &Path,
    ) -> Result<QemuMachine, BuildError> {
        let plan::Plan { ssh, network, .. } = self.plan;
        let connections = Connections {
            open: network.open,
            ..Connections::default()
        };
        let launch = qemu::launch(guest, ssh, &connections, disk, clock, run, self.ui);
        Ok(launch.await?)
    }

    /// Waits until a guest can be provisioned, and seals it.
    pub(super) async fn wait_for_guest<B: Backend>(
        &self,
        machine: &mut Guest<B>,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let timeout = self.plan.ssh.timeout;
        let ready = async {
            machine.wait_ready(timeout, self.ui).await?;
            self.seal_guest(machine).await
        };
        phases.run("wait for SSH", ready).await
    }

    /// Provisions a booting guest up to the final shut-down.
    pub(super) async fn provision_guest(
        &self,
        machine: &mut QemuMachine,
        base: &BaseDisk,
        lock_state: &LockState,
        known: Option<Lock>,
        phases: &mut Phases<'_>,
    ) -> Result<Provisioned, BuildError> {
        self.wait_for_guest(machine, phases).await?;
        let before = provision::installed_packages(machine.session()).await?;
        self.save_base_packages(machine.session(), &base.digest)
            .await;
        let lock = self
            .known_or_resolved_lock(machine, lock_state, known, phases)
            .await?;
        let epoch = epoch(&lock, base);
        if let Some(epoch) = epoch {
            machine.set_clock(epoch).await?;
        }
        let declared = lock_state.declared();
        let times = self
            .provision_machine(machine, declared, &lock, epoch, phases)
            .await?;
        let after = provision::installed_packages(machine.session()).await?;
        let requests = network::requests(machine.egress(), self.ui);
        phases
            .run("clean up", async { Ok(machine.clean_up().await?) })
            .await?;
        let declared = self.plan.packages.as_ref();
        Ok(Provisioned {
            packages: provision::attribute(&before, after, declared, &lock),
            lock,
            requests,
            times,
        })
    }

    /// Boots the finished image from a temporary overlay, which keeps the image unchanged, and runs its tests.
    pub(super) async fn test_image(
        &self,
        guest: &plan::Qemu,
        image: &disk::BaseImage,
        run: &RunDir,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        if self.plan.tests.is_empty() {
            return Ok(());
        }
        let scratch = run.path().join("test");
        std::fs::create_dir(&scratch).map_err(BuildError::RunDirectory)?;
        let mut launched = None;
        let boot = async {
            let machine = self.launch_guest(guest, image, None, &scratch).await?;
            self.wait_for_test_guest(launched.insert(machine)).await
        };
        let booted = phases.run("boot the image", boot).await;
        let Some(mut machine) = launched else {
            return booted;
        };
        let tested = match booted {
            Ok(()) => self.run_tests(&mut machine, phases).await,
            failed => failed,
        };
        if let Err(error) = tested {
            return Err(self.hold(machine, error, run).await);
        }
        machine.destroy().await;
        Ok(())
    }

    /// Waits until a guest of the finished image can be tested, and seals it.
    pub(super) async fn wait_for_test_guest<B: Backend>(
        &self,
        machine: &mut Guest<B>,
    ) -> Result<(), BuildError> {
        let within = self.plan.ssh.timeout;
        machine.wait_ready(within, self.ui).await?;
        machine.wait_booted(within, self.ui).await?;
        self.seal_test_guest(machine).await
    }

    /// Runs the tests of the plan, up to the first that fails.
    pub(super) async fn run_tests<M: Machine>(
        &self,
        machine: &mut M,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let fetched = |digest: &Digest| self.settings.cache.path(digest);
        let cx = self.step_context(&fetched);
        for (part, test) in Part::numbered("test", &self.plan.tests) {
            let work = async {
                let done = provision::test(machine, test, &cx).await;
                Ok(done.map_err(|error| error.at(&test.place, &self.plan.template))?)
            };
            let (name, shown) = (format!("test: {}", test.name), (test.name.as_str(), part));
            phases.run_part(&name, shown, work).await?;
        }
        Ok(())
    }
}
