//! What the packages of a build are: read from the lock beside the template, or resolved and written there.

use std::path::PathBuf;

use super::{BuildError, Job, phases::Phases};
use crate::base::{self, BaseDisk};
use crate::fetch::{Places, Wanted};
use crate::machine::Machine;
use crate::os::run_dir::RunDir;
use crate::plan;
use crate::provision::{self, Asked, Pin};
use crate::record::lock::{self, Lock, LockError, Request, Resolution};
use crate::ui::Ui;

/// What is to happen to a lock that is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Update {
    /// Nothing while it is fresh. Of a stale one, the versions that can still be had are kept.
    #[default]
    Keep,
    /// Everything is resolved anew.
    All,
    /// These packages are; the others keep their versions if they can.
    Only(Vec<String>),
}

/// What is known about a template's lock.
pub(super) struct Locking {
    path: PathBuf,
    request: Request,
    asked: Option<Asked>,
    base: Option<lock::Base>,
    old: Option<Lock>,
    update: Update,
}

impl Job<'_> {
    /// Reads the lock. With `--locked`, what can be said without the base is said now.
    pub(super) fn locking(
        &self,
        architecture: &str,
        update: Update,
    ) -> Result<Locking, BuildError> {
        let asked = Asked::read(&self.plan.packages)?;
        let request = match &asked {
            Some(asked) => asked.request(Some(architecture)),
            None => Request::nothing(Some(architecture)),
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
        Ok(Locking {
            path,
            request,
            asked,
            base: None,
            old,
            update,
        })
    }

    /// The lock that this build is made from, if that is known without asking the package manager: it is fresh, or there
    /// is nothing to ask.
    ///
    /// # Errors
    /// `--locked`, and it is of another base.
    pub(super) fn known_lock(
        &self,
        locking: &mut Locking,
        base: lock::Base,
    ) -> Result<Option<Lock>, BuildError> {
        let differences = locking
            .old
            .as_ref()
            .map(|lock| lock.differences(&locking.request, Some(&base)));
        locking.base = Some(base);
        match differences {
            Some(differences) if differences.is_empty() && locking.update == Update::Keep => {
                return Ok(locking.old.clone());
            }
            Some(differences) if self.settings.locked => {
                let path = locking.path.clone();
                return Err(LockError::Stale { path, differences }.into());
            }
            Some(differences) => {
                for line in &differences {
                    self.ui.note(&format!(
                        "{} is out of date: {line}",
                        locking.path.display()
                    ));
                }
            }
            None => {}
        }
        if locking.asked.is_some() {
            return Ok(None);
        }
        let (request, base) = (locking.request.clone(), locking.base.clone());
        let lock = Lock::new(request, base, Resolution::default());
        lock.write(&locking.path)?;
        Ok(Some(lock))
    }

    /// Asks the machine's package manager, and writes the lock.
    pub(super) async fn resolve<M: Machine>(
        &self,
        machine: &mut M,
        locking: &Locking,
        phases: &mut Phases<'_>,
    ) -> Result<Lock, BuildError> {
        let asked = locking
            .asked
            .as_ref()
            .expect("without it the lock is known");
        let resolution = self
            .resolution(machine, asked, &locking.pins(), phases)
            .await?;
        let (request, base) = (locking.request.clone(), locking.base.clone());
        let lock = Lock::new(request, base, resolution);
        lock.write(&locking.path)?;
        let count = lock.packages.len();
        self.ui.note(&format!(
            "{}: {count} packages locked",
            locking.path.display()
        ));
        Ok(lock)
    }

    pub(super) async fn resolution<M: Machine>(
        &self,
        machine: &mut M,
        asked: &Asked,
        pins: &[Pin],
        phases: &mut Phases<'_>,
    ) -> Result<Resolution, BuildError> {
        let template = self.plan.template.path.file_name().unwrap_or_default();
        let template = template.to_string_lossy().into_owned();
        let fetched = |digest: &_| self.settings.cache.path(digest);
        let cx = self.context(&fetched);
        let work = async { Ok(provision::resolve(machine, asked, pins, &template, &cx).await?) };
        phases.run("resolve packages", work).await
    }

    /// Gets every package of a lock into the cache.
    pub(super) async fn fetch_packages(
        &self,
        lock: &Lock,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        if lock.packages.is_empty() {
            return Ok(());
        }
        let wanted = lock.packages.iter().map(|package| Wanted {
            name: format!(
                "{} {} {}",
                package.name, package.version, package.architecture
            ),
            digest: package.sha256,
            size: package.size,
            url: package.url(),
            path: package.path.clone(),
        });
        let wanted: Vec<_> = wanted.collect();
        let store = |digest: &_| self.settings.store.blob(digest);
        let places = Places {
            store: Some(&store),
            mirrors: self.settings.mirrors,
        };
        let fetch = async {
            Ok(self
                .settings
                .cache
                .fetch_all(&wanted, places, self.ui)
                .await?)
        };
        phases.run("fetch packages", fetch).await
    }

    /// Installs what the lock says.
    pub(super) async fn install<M: Machine>(
        &self,
        machine: &mut M,
        asked: Option<&Asked>,
        lock: &Lock,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let Some(asked) = asked else { return Ok(()) };
        let fetched = |digest: &_| self.settings.cache.path(digest);
        let cx = self.context(&fetched);
        let work = async { Ok(provision::install(machine, asked, lock, &cx).await?) };
        phases.run("install packages", work).await
    }
}

impl Job<'_> {
    /// Boots the base to ask its package manager, unless the lock is known without.
    pub(super) async fn lock(
        &self,
        guest: &plan::Qemu,
        update: Update,
        phases: &mut Phases<'_>,
    ) -> Result<(Option<Lock>, Lock), BuildError> {
        let cache = self.settings.cache;
        let wanted = self.plan.base.as_ref().expect("a plan for QEMU has a base");
        let mut locking = self.locking(guest.arch.name(), update)?;
        let run = RunDir::create(&cache.runs()).map_err(BuildError::RunDirectory)?;
        let obtain = async { Ok(base::obtain(wanted, self.places(run.path()), self.ui).await?) };
        let base = phases.run("base", obtain).await?;
        let lock = match self.known_lock(&mut locking, base.locked())? {
            Some(lock) => lock,
            None => {
                self.lock_in_guest(guest, &base, &run, &locking, phases)
                    .await?
            }
        };
        self.fetch_packages(&lock, phases).await?;
        run.remove().map_err(BuildError::RunDirectory)?;
        Ok((locking.into_old(), lock))
    }

    async fn lock_in_guest(
        &self,
        guest: &plan::Qemu,
        base: &BaseDisk,
        run: &RunDir,
        locking: &Locking,
        phases: &mut Phases<'_>,
    ) -> Result<Lock, BuildError> {
        let launch = self.launch(guest, &base.disk, None, run.path());
        let mut machine = phases.run("launch", launch).await?;
        let lock = async {
            self.wait_ready(&mut machine, phases).await?;
            self.remember(machine.session(), &base.digest).await;
            self.resolve(&mut machine, locking, phases).await
        }
        .await;
        machine.destroy().await;
        lock
    }
}

impl Locking {
    /// What the template asks, with its keys.
    pub(super) fn asked(&self) -> Option<&Asked> {
        self.asked.as_ref()
    }

    /// Says what has changed from the lock that was there before.
    pub(super) fn tell_changes(&self, lock: &Lock, ui: &Ui) {
        for change in self.old.iter().flat_map(|old| lock::diff(old, lock)) {
            ui.note(&change.to_string());
        }
    }

    /// The AMI that the lock which was there before names, unless everything is to be looked for anew.
    pub(super) fn pinned_ami(&self) -> Option<&lock::Ami> {
        let base = self.old.as_ref()?.base.as_ref()?;
        base.ami.as_ref().filter(|_| self.update != Update::All)
    }

    /// The lock that was there before.
    pub(super) fn into_old(self) -> Option<Lock> {
        self.old
    }

    /// Versions to keep.
    fn pins(&self) -> Vec<Pin> {
        let packages = self.old.iter().flat_map(|lock| &lock.packages);
        let kept = packages.filter(|package| match &self.update {
            Update::Keep => true,
            Update::All => false,
            Update::Only(names) => !names.contains(&package.name),
        });
        let mut pins: Vec<Pin> = Vec::new();
        for package in kept {
            pins.push(Pin {
                name: package.name.clone(),
                version: package.version.clone(),
            });
        }
        pins
    }
}
