//! The lock file of a build: read beside the template, or resolved by the guest's package manager and written there.

use std::path::{Path, PathBuf};

use super::{BuildError, Job, phases::Phases};
use crate::base::BaseDisk;
use crate::digest::Digest;
use crate::machine::Machine;
use crate::machine::guest::{Backend, Guest};
use crate::os::run_dir::RunDir;
use crate::plan;
use crate::provision::{DeclaredPackages, PinnedVersion};
use crate::record::lock::{self, Lock, LockError, PackageRequest, Resolution};
use crate::ui::Ui;

/// Treatment of an existing lock file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Update {
    /// Keeps a fresh lock; of a stale one, the versions that are still available.
    #[default]
    Keep,
    /// Resolves all packages again.
    All,
    /// Resolves these packages again; the others keep their versions if possible.
    Only(Vec<String>),
}

/// State of a template's lock file before the build.
pub(super) struct LockState {
    path: PathBuf,
    request: PackageRequest,
    declared: Option<DeclaredPackages>,
    base: Option<lock::LockedBase>,
    old: Option<Lock>,
    update: Update,
}

impl Job<'_> {
    /// Reads the lock file. With `--locked`, a lock that is missing or of another template is an error.
    pub(super) fn read_lock(
        &self,
        architecture: &str,
        update: Update,
    ) -> Result<LockState, BuildError> {
        let declared = DeclaredPackages::read(self.plan.packages.as_ref())?;
        let request = match &declared {
            Some(declared) => declared.request(Some(architecture)),
            None => PackageRequest::nothing(Some(architecture)),
        };
        let path = Lock::path_of(&self.plan.template.path);
        let old = Lock::read(&path)?;
        if let Update::Only(names) = &update {
            let known = |name: &&String| {
                let mut packages = old.iter().flat_map(|lock| &lock.packages);
                packages.any(|package| package.name == **name)
            };
            let names: Vec<_> = names.iter().filter(|name| !known(name)).cloned().collect();
            if !names.is_empty() {
                return Err(LockError::NotLocked { path, names }.into());
            }
        }
        if self.settings.locked {
            let Some(lock) = &old else {
                return Err(LockError::Missing(path).into());
            };
            let differences = lock.request.differences(&request);
            if !differences.is_empty() {
                return Err(LockError::Stale { path, differences }.into());
            }
        }
        Ok(LockState {
            path,
            request,
            declared,
            base: None,
            old,
            update,
        })
    }

    /// Returns the lock of this build if no package manager has to resolve it: it is fresh, or the template wants no
    /// packages. With `--locked`, a lock of another base is an error.
    pub(super) fn settle_lock(
        &self,
        lock_state: &mut LockState,
        base: lock::LockedBase,
    ) -> Result<Option<Lock>, BuildError> {
        let differences = lock_state
            .old
            .as_ref()
            .map(|lock| lock.differences(&lock_state.request, Some(&base)));
        lock_state.base = Some(base);
        match differences {
            Some(differences) if differences.is_empty() && lock_state.update == Update::Keep => {
                if let Some(lock) = &lock_state.old {
                    self.check_accepted(lock, &lock_state.path)?;
                }
                return Ok(lock_state.old.clone());
            }
            Some(differences) if self.settings.locked => {
                let path = lock_state.path.clone();
                return Err(LockError::Stale { path, differences }.into());
            }
            Some(differences) => {
                for line in &differences {
                    self.ui.note(&format!(
                        "{} is out of date: {line}",
                        lock_state.path.display()
                    ));
                }
            }
            None => {}
        }
        if lock_state.declared.is_some() {
            return Ok(None);
        }
        let (request, base) = (lock_state.request.clone(), lock_state.base.clone());
        let lock = Lock::new(request, base, Resolution::default());
        lock.write(&lock_state.path)?;
        self.check_accepted(&lock, &lock_state.path)?;
        Ok(Some(lock))
    }

    /// Returns the known lock, or resolves one in the machine and fetches its packages.
    pub(super) async fn known_or_resolved_lock<M: Machine>(
        &self,
        machine: &mut M,
        lock_state: &LockState,
        known: Option<Lock>,
        phases: &mut Phases<'_>,
    ) -> Result<Lock, BuildError> {
        if let Some(lock) = known {
            return Ok(lock);
        }
        let lock = self.resolve_lock(machine, lock_state, phases).await?;
        lock_state.tell_changes(&lock, self.ui);
        self.fetch_packages(&lock, phases).await?;
        Ok(lock)
    }

    /// Resolves the packages with the machine's package manager, and writes the lock file.
    pub(super) async fn resolve_lock<M: Machine>(
        &self,
        machine: &mut M,
        lock_state: &LockState,
        phases: &mut Phases<'_>,
    ) -> Result<Lock, BuildError> {
        let declared = lock_state
            .declared
            .as_ref()
            .expect("a template without packages needs no resolving");
        let resolution = self
            .resolve_packages(machine, declared, &lock_state.pins(), phases)
            .await?;
        let (request, base) = (lock_state.request.clone(), lock_state.base.clone());
        let lock = Lock::new(request, base, resolution);
        lock.write(&lock_state.path)?;
        let count = lock.packages.len();
        self.ui.note(&format!(
            "{}: {count} packages locked",
            lock_state.path.display()
        ));
        self.check_accepted(&lock, &lock_state.path)?;
        Ok(lock)
    }

    /// Refuses an `accept` of a package that the lock file does not have.
    fn check_accepted(&self, lock: &Lock, path: &Path) -> Result<(), LockError> {
        let accepted = self.plan.packages.iter().flat_map(|set| &set.accept);
        let names = accepted.map(|accepted| accepted.package.clone());
        let is_locked = |name: &String| {
            let mut packages = lock.packages.iter();
            packages.any(|package| package.name == *name)
        };
        let names: Vec<_> = names.filter(|name| !is_locked(name)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let path = path.to_owned();
        Err(LockError::NotAccepted { path, names })
    }
}

impl Job<'_> {
    /// Updates the lock file and fetches its packages. Boots the base only if its package manager has to resolve them.
    pub(super) async fn update_lock(
        &self,
        guest: &plan::Qemu,
        update: Update,
        phases: &mut Phases<'_>,
    ) -> Result<(Option<Lock>, Lock), BuildError> {
        let cache = self.settings.cache;
        let wanted = self.plan.base.as_ref().expect("a plan for QEMU has a base");
        let mut lock_state = self.read_lock(guest.arch.name(), update)?;
        let run = RunDir::create(&cache.runs()).map_err(BuildError::RunDirectory)?;
        let base = self.prepare_base(wanted, run.path());
        let base = phases.run("base", base).await?;
        let lock = match self.settle_lock(&mut lock_state, base.locked())? {
            Some(lock) => lock,
            None => {
                self.resolve_in_guest(guest, &base, &run, &lock_state, phases)
                    .await?
            }
        };
        self.fetch_packages(&lock, phases).await?;
        run.remove().map_err(BuildError::RunDirectory)?;
        Ok((lock_state.into_old(), lock))
    }

    async fn resolve_in_guest(
        &self,
        guest: &plan::Qemu,
        base: &BaseDisk,
        run: &RunDir,
        lock_state: &LockState,
        phases: &mut Phases<'_>,
    ) -> Result<Lock, BuildError> {
        let launch = self.launch_guest(guest, &base.disk, None, run.path());
        let machine = phases.run("launch", launch).await?;
        self.resolve_and_destroy(machine, &base.digest, lock_state, phases)
            .await
    }

    /// Resolves the packages in a booting guest, which ends with it.
    pub(super) async fn resolve_and_destroy<B: Backend>(
        &self,
        mut machine: Guest<B>,
        base: &Digest,
        lock_state: &LockState,
        phases: &mut Phases<'_>,
    ) -> Result<Lock, BuildError> {
        let lock = async {
            self.wait_for_guest(&mut machine, phases).await?;
            self.save_base_packages(machine.session(), base).await;
            self.resolve_lock(&mut machine, lock_state, phases).await
        }
        .await;
        machine.destroy().await;
        lock
    }
}

impl LockState {
    /// Returns the template's packages and repositories, with their keys.
    pub(super) fn declared(&self) -> Option<&DeclaredPackages> {
        self.declared.as_ref()
    }

    /// Shows the changes from the previous lock.
    pub(super) fn tell_changes(&self, lock: &Lock, ui: &Ui) {
        for change in self.old.iter().flat_map(|old| lock::diff(old, lock)) {
            ui.note(&change.to_string());
        }
    }

    /// Returns the AMI of the previous lock, unless everything is to be resolved again.
    pub(super) fn pinned_ami(&self) -> Option<&lock::LockedAmi> {
        let base = self.old.as_ref()?.base.as_ref()?;
        base.ami.as_ref().filter(|_| self.update != Update::All)
    }

    /// Returns the previous lock.
    pub(super) fn into_old(self) -> Option<Lock> {
        self.old
    }

    /// Returns the versions to keep.
    fn pins(&self) -> Vec<PinnedVersion> {
        let packages = self.old.iter().flat_map(|lock| &lock.packages);
        let kept = packages.filter(|package| match &self.update {
            Update::Keep => true,
            Update::All => false,
            Update::Only(names) => !names.contains(&package.name),
        });
        kept.map(|package| PinnedVersion {
            name: package.name.clone(),
            version: package.version.clone(),
        })
        .collect()
    }
}
