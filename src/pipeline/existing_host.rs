//! Provisioning of an existing host, without an image.

use super::phases::Phases;
use super::{BuildError, Built, Job};
use crate::machine::Machine as _;
use crate::machine::host::HostMachine;
use crate::os::run_dir::RunDir;
use crate::plan;
use crate::provision::DeclaredPackages;
use crate::record::lock::{Lock, LockError, PackageRequest, Resolution};
use crate::ui::text::with_causes;

impl Job<'_> {
    pub(super) async fn provision_existing_host(
        &self,
        host: &plan::Host,
        mut phases: Phases<'_>,
    ) -> Result<Built, BuildError> {
        let declared = DeclaredPackages::read(self.plan.packages.as_ref())?;
        if self.settings.locked {
            return Err(LockError::NoLock.into());
        }
        phases.run("fetch files", self.fetch_files()).await?;
        let connect = async { Ok(HostMachine::connect(host, &self.plan.ssh).await?) };
        let mut machine = phases.run("connect", connect).await?;
        let provisioned = self.provision_host(&mut machine, declared.as_ref(), &mut phases);
        match provisioned.await {
            Ok(()) => machine.destroy().await,
            Err(error) => {
                // Only a machine that is held needs files; until then SIGKILL leaves none.
                return Err(match RunDir::create(&self.settings.cache.runs()) {
                    Ok(run) => self.handle_failure(machine, error, &run).await,
                    Err(source) => {
                        self.ui
                            .warn(&with_causes(&BuildError::RunDirectory(source)));
                        machine.destroy().await;
                        error
                    }
                });
            }
        }
        Ok(Built::Host)
    }

    /// Resolves, fetches, installs and runs the steps. No lock file is written for a host.
    async fn provision_host(
        &self,
        machine: &mut HostMachine,
        declared: Option<&DeclaredPackages>,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let (mut request, mut resolution) = (PackageRequest::nothing(None), Resolution::default());
        if let Some(declared) = declared {
            request = declared.request(None);
            resolution = self
                .resolve_packages(machine, declared, &[], phases)
                .await?;
        }
        let lock = Lock::new(request, None, resolution);
        self.fetch_packages(&lock, phases).await?;
        self.provision_machine(machine, declared, &lock, lock.epoch, phases)
            .await
            .map(drop)
    }
}
