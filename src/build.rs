//! Plan → Image: the one screen. Everything that happens to a machine happens here, in this order.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{self, BaseDisk};
use crate::builder::host::HostMachine;
use crate::builder::qemu::{self, QemuMachine};
use crate::builder::{Machine, MachineError};
use crate::digest::Digest;
use crate::disk::{self, clean::Owners};
use crate::fetch::{Cache, Mirror};
use crate::hashing;
use crate::lock::{Lock, LockError, Request, Resolution};
use crate::manifest::{self, Inputs, Manifest, ManifestId};
use crate::plan::{self, Builder, Checksum, Plan, UploadSource};
use crate::provision::{self, Asked, Context, Failure};
use crate::run::RunDir;
use crate::secret::Secrets;
use crate::store::{Store, Stored, Timestamp};
use crate::ui::Ui;
use compare::{Compared, Level, compare};

pub mod compare;
mod error;
mod finish;
mod locking;
mod on_error;
mod phases;
mod record;
pub mod remember;
mod seal;
pub mod skip;

pub use error::BuildError;
use locking::Locking;
pub use locking::Update;
pub use on_error::OnError;
use phases::Phases;

/// How long a guest may take to shut down by itself before it is ended: a guest without KVM is slow.
const SHUTDOWN: Duration = Duration::from_secs(90);

/// Where a build keeps things, and what it does when a step fails.
pub struct Settings<'a> {
    /// Downloads, bootstrapped bases and run directories.
    pub cache: &'a Cache,
    /// Where the image is recorded.
    pub store: &'a Store,
    /// Replace a file at `output.path`.
    pub force: bool,
    /// What to do with a machine whose provisioning failed.
    pub on_error: OnError,
    /// Refuse a lock that is missing or stale.
    pub locked: bool,
    /// Where packages are looked for before their archives are asked.
    pub mirrors: &'a [Mirror],
    /// Build twice, and compare before anything is recorded.
    pub twice: bool,
    /// Start from this disk, which is the plan's base, wherever that would come from.
    pub base: Option<&'a BaseDisk>,
}

/// What a build made.
#[derive(Debug)]
pub enum Built {
    /// An image, recorded under this id.
    Image(Box<Image>),
    /// Nothing has changed since this image was built, so nothing was done.
    Unchanged(Box<Stored>),
    /// An existing host was provisioned; there is no image.
    Host,
}

/// A recorded image.
#[derive(Debug)]
pub struct Image {
    /// The id of its manifest.
    pub id: ManifestId,
    /// The manifest.
    pub manifest: Manifest,
    /// What took how long, in order.
    pub phases: Vec<(String, Duration)>,
}

/// An image that was made, and not recorded.
#[derive(Debug)]
pub struct Made {
    /// Its manifest.
    pub manifest: Manifest,
    file: PathBuf,
    base: BaseDisk,
    lock: Lock,
    accelerator: String,
    listing: Option<String>,
    owners: Owners,
}

impl Made {
    /// What of it is compared with another build.
    #[must_use]
    pub fn compared(&self) -> Compared<'_> {
        Compared {
            manifest: &self.manifest,
            listing: self.listing.as_deref(),
        }
    }

    /// The package that has a path of the image.
    #[must_use]
    pub fn owner(&self, path: &str) -> Option<String> {
        self.owners.of(path.as_bytes()).map(str::to_owned)
    }
}

/// Makes an image, compares nothing, tests nothing and records nothing: its file is gone when this returns.
///
/// # Errors
/// See [`BuildError`].
pub async fn again(
    plan: &Plan,
    secrets: &Secrets,
    settings: &Settings<'_>,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<Made, BuildError> {
    let Builder::Qemu(guest) = &plan.builder else {
        return Err(LockError::NoLock.into());
    };
    let job = Job {
        plan,
        secrets,
        settings,
        ui,
        cancel,
    };
    let run = RunDir::create(&settings.cache.runs()).map_err(BuildError::RunDirectory)?;
    let mut phases = Phases::new(ui, cancel);
    let made = job.make(guest, Update::Keep, &run, &mut phases).await?;
    run.remove().map_err(BuildError::RunDirectory)?;
    Ok(made)
}

/// Builds what the plan says. `update` tells what becomes of a lock that is up to date.
///
/// # Errors
/// See [`BuildError`]. The machine is destroyed first, unless `on_error` says otherwise.
pub async fn build(
    plan: &Plan,
    update: Update,
    secrets: &Secrets,
    settings: &Settings<'_>,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<Built, BuildError> {
    let phases = Phases::new(ui, cancel);
    let job = Job {
        plan,
        secrets,
        settings,
        ui,
        cancel,
    };
    match &plan.builder {
        // On the heap: with a second build inside, it is large for the stack.
        Builder::Qemu(guest) => Box::pin(job.image(guest, update, phases)).await,
        Builder::Host(host) => job.existing_host(host, phases).await,
    }
}

/// Brings the lock of a template up to date, and gets its packages into the cache; nothing is installed. Returns the
/// lock that was there before, and the one that is there now.
///
/// # Errors
/// See [`BuildError`]. The machine is destroyed in every case.
pub async fn lock(
    plan: &Plan,
    update: Update,
    settings: &Settings<'_>,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<(Option<Lock>, Lock), BuildError> {
    let mut phases = Phases::new(ui, cancel);
    let job = Job {
        plan,
        secrets: &Secrets::default(),
        settings,
        ui,
        cancel,
    };
    match &plan.builder {
        Builder::Qemu(guest) => job.lock(guest, update, &mut phases).await,
        Builder::Host(_) => Err(LockError::NoLock.into()),
    }
}

/// What time it is in a build: that of the newest archive it was locked from, or, without any, of its base.
fn epoch(lock: &Lock, base: &BaseDisk) -> Option<Timestamp> {
    lock.epoch
        .or_else(|| disk::made(&base.disk).map(Timestamp::from_seconds))
}

/// One build's arguments, for all its parts.
struct Job<'a> {
    plan: &'a Plan,
    secrets: &'a Secrets,
    settings: &'a Settings<'a>,
    ui: &'a Ui,
    cancel: &'a CancellationToken,
}

impl Job<'_> {
    async fn image(
        &self,
        guest: &plan::Qemu,
        update: Update,
        mut phases: Phases<'_>,
    ) -> Result<Built, BuildError> {
        let started = Timestamp::now();
        let run = RunDir::create(&self.settings.cache.runs()).map_err(BuildError::RunDirectory)?;
        let made = self.make(guest, update, &run, &mut phases).await?;
        let image = disk::Base {
            path: made.file.clone(),
            format: disk::driver(self.plan.output.format).to_owned(),
        };
        self.test(guest, &image, &run, &mut phases).await?;
        if self.settings.twice {
            Box::pin(self.make_again(guest, &made, &mut phases)).await?;
        }

        let this = record::ThisRun {
            started,
            phases: &phases.so_far(),
        };
        let recorded = record::image(&made, self.plan, this, self.settings, self.ui);
        let id = phases.run("record", recorded).await?;
        self.copy_out(&made.manifest, &mut phases).await?;
        run.remove().map_err(BuildError::RunDirectory)?;
        Ok(Built::Image(Box::new(Image {
            id,
            manifest: made.manifest,
            phases: phases.so_far(),
        })))
    }

    /// From the plan to a finished image in the run directory, with its manifest.
    async fn make(
        &self,
        guest: &plan::Qemu,
        update: Update,
        run: &RunDir,
        phases: &mut Phases<'_>,
    ) -> Result<Made, BuildError> {
        let cache = self.settings.cache;
        let wanted = self.plan.base.as_ref().expect("a plan for QEMU has a base");
        let mut locking = self.locking(guest.arch.name(), update)?;
        phases.run("fetch files", self.fetch_files()).await?;
        let obtain = async {
            match self.settings.base {
                Some(base) => Ok(base.clone()),
                None => Ok(base::obtain(wanted, cache, run.path(), self.ui).await?),
            }
        };
        let base = phases.run("base", obtain).await?;
        let mut inputs = phases
            .run("digest inputs", self.inputs(wanted, &base))
            .await?;
        let known = self.known_lock(&mut locking, &base)?;
        if let Some(lock) = &known {
            self.fetch_packages(lock, phases).await?;
        }

        let clock = known.as_ref().and_then(|lock| epoch(lock, &base));
        let launch = self.launch(guest, &base.disk, clock, run.path());
        let mut machine = phases.run("launch", launch).await?;
        let accelerator = machine.accelerator().to_owned();
        let provisioned = self.provision_guest(&mut machine, &base, &locking, known, phases);
        let (lock, packages, requests) = match provisioned.await {
            Ok(done) => done,
            Err(error) => return Err(self.give_up(machine, error).await),
        };
        inputs.network.requests = requests;
        let overlay = phases
            .run("shut down", async {
                Ok(machine.shut_down(SHUTDOWN).await?)
            })
            .await?;

        let file = run.path().join("image");
        let finish = self.finish(overlay, &base.disk, epoch(&lock, &base), &file);
        let finished = phases.run("finish", finish).await?;
        let manifest = record::manifest(inputs, guest, self.plan, &finished, packages, &lock)?;
        Ok(Made {
            manifest,
            file,
            base,
            lock,
            accelerator,
            listing: finished.listing,
            owners: finished.owners,
        })
    }

    /// Does the same once more, from the lock, and compares.
    async fn make_again(
        &self,
        guest: &plan::Qemu,
        first: &Made,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let settings = Settings {
            locked: true,
            base: Some(&first.base),
            ..*self.settings
        };
        let job = Job {
            settings: &settings,
            ..*self
        };
        let run = RunDir::create(&self.settings.cache.runs()).map_err(BuildError::RunDirectory)?;
        let again = async {
            let mut inner = Phases::new(self.ui, self.cancel);
            let second = job.make(guest, Update::Keep, &run, &mut inner).await?;
            Ok(compare(first.compared(), second.compared(), |path| {
                second.owner(path)
            }))
        };
        let comparison = phases.run("build again", Box::pin(again)).await?;
        run.remove().map_err(BuildError::RunDirectory)?;
        let claimed = Level::claimed(&first.manifest);
        self.ui.note(&format!("twice: {}", comparison.level));
        if comparison.level < claimed {
            return Err(BuildError::Differs {
                claimed,
                comparison,
            });
        }
        Ok(())
    }

    async fn launch(
        &self,
        guest: &plan::Qemu,
        disk: &disk::Base,
        clock: Option<Timestamp>,
        run: &Path,
    ) -> Result<QemuMachine, BuildError> {
        let plan::Plan { ssh, network, .. } = self.plan;
        Ok(qemu::launch(guest, ssh, network, disk, clock, run, self.ui).await?)
    }

    async fn existing_host(
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

    /// Boots the base to ask its package manager, unless the lock is known without.
    async fn lock(
        &self,
        guest: &plan::Qemu,
        update: Update,
        phases: &mut Phases<'_>,
    ) -> Result<(Option<Lock>, Lock), BuildError> {
        let cache = self.settings.cache;
        let wanted = self.plan.base.as_ref().expect("a plan for QEMU has a base");
        let mut locking = self.locking(guest.arch.name(), update)?;
        let run = RunDir::create(&cache.runs()).map_err(BuildError::RunDirectory)?;
        let obtain = async { Ok(base::obtain(wanted, cache, run.path(), self.ui).await?) };
        let base = phases.run("base", obtain).await?;
        let lock = match self.known_lock(&mut locking, &base)? {
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

    async fn wait_ready(
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
    async fn provision_guest(
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
        let requests = seal::requests(machine.seal(), self.ui);
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

    async fn provision<M: Machine>(
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
    async fn test(
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

    /// Runs the steps of `on_error`, then ends the machine or keeps it for the user; returns the error it was given.
    async fn give_up<M: Machine>(&self, mut machine: M, error: BuildError) -> BuildError {
        if !matches!(error, BuildError::Cancelled) {
            let text = self.ui.redact(&error::with_causes(&error));
            let failure = Failure {
                step: error.step(),
                error: &text,
            };
            let fetched = |digest: &Digest| self.settings.cache.path(digest);
            let cx = self.context(&fetched);
            let steps = provision::on_error(&mut machine, &self.plan.on_error, failure, &cx);
            self.cancel
                .run_until_cancelled(async {
                    if !self.plan.on_error.is_empty() {
                        steps.await;
                    }
                })
                .await;
            self.settings
                .on_error
                .hold(&machine, &text, self.ui, self.cancel)
                .await;
        }
        machine.destroy().await;
        error
    }

    /// Puts the image where `output.path` wants it, besides the store.
    async fn copy_out(
        &self,
        manifest: &Manifest,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let Some(path) = &self.plan.output.path else {
            return Ok(());
        };
        let export = async {
            Ok(self
                .settings
                .store
                .export(manifest, path, self.settings.force, self.ui)
                .await?)
        };
        phases.run("copy the image", export).await.map(drop)
    }

    async fn fetch_files(&self) -> Result<(), BuildError> {
        let uploads = self
            .plan
            .uploads()
            .filter_map(|upload| match &upload.source {
                UploadSource::Url { url, sha256 } => Some((url, *sha256)),
                _ => None,
            });
        let allowed = self.plan.network.allow.iter();
        let allowed = allowed.filter_map(|allow| Some((&allow.url, allow.sha256?)));
        for (url, sha256) in uploads.chain(allowed) {
            let checksum = Checksum::Sha256(sha256);
            self.settings.cache.fetch(url, &checksum, self.ui).await?;
        }
        Ok(())
    }

    async fn inputs(&self, wanted: &plan::Base, base: &BaseDisk) -> Result<Inputs, BuildError> {
        let (plan, wanted, base) = (self.plan.clone(), wanted.clone(), base.clone());
        Ok(
            hashing::blocking(move |stop| manifest::inputs::collect(&plan, &wanted, &base, stop))
                .await?,
        )
    }

    fn context<'a>(&'a self, fetched: &'a dyn Fn(&Digest) -> PathBuf) -> Context<'a> {
        Context {
            variables: &self.plan.variables,
            secrets: self.secrets,
            ui: self.ui,
            epoch: None,
            fetched,
        }
    }
}
