//! An existing host: provisioned like a guest, and no image is made.

use super::phases::Phases;
use super::{BuildError, Built, Job};
use crate::machine::Machine as _;
use crate::machine::host::HostMachine;
use crate::plan;
use crate::provision::Asked;
use crate::record::lock::{Lock, LockError, Request, Resolution};

impl Job<'_> {
    pub(super) async fn existing_host(
        &self,
        host: &plan::Host,
        mut phases: Phases<'_>,
    ) -> Result<Built, BuildError> {
        let asked = Asked::read(&self.plan.packages)?;
        if self.settings.locked {
            return Err(LockError::NoLock.into());
        }
        phases.run("fetch files", self.fetch_files()).await?;
        let connect = async { Ok(HostMachine::connect(host, &self.plan.ssh).await?) };
        let mut machine = phases.run("connect", connect).await?;
        let provisioned = self.provision_host(&mut machine, asked.as_ref(), &mut phases);
        match provisioned.await {
            Ok(()) => machine.destroy().await,
            Err(error) => return Err(self.give_up(machine, error).await),
        }
        Ok(Built::Host)
    }

    /// Resolves, fetches and installs in one go: nothing of a host is kept.
    async fn provision_host(
        &self,
        machine: &mut HostMachine,
        asked: Option<&Asked>,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let (mut request, mut resolution) = (Request::nothing(None), Resolution::default());
        if let Some(asked) = asked {
            request = asked.request(None);
            resolution = self.resolution(machine, asked, &[], phases).await?;
        }
        let lock = Lock::new(request, None, resolution);
        self.fetch_packages(&lock, phases).await?;
        self.provision(machine, asked, &lock, lock.epoch, phases)
            .await
    }
}
