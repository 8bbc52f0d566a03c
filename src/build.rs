//! Plan → Image: the one screen. Everything that happens to a machine happens here, in this order.

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base;
use crate::builder::host::HostMachine;
use crate::builder::qemu::{self, QemuMachine};
use crate::builder::{Machine, MachineError};
use crate::digest::Digest;
use crate::disk;
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

mod error;
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
        Builder::Qemu(guest) => job.image(guest, update, phases).await,
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
        let plan = self.plan;
        let cache = self.settings.cache;
        let started = Timestamp::now();
        let wanted = plan.base.as_ref().expect("a plan for QEMU has a base");
        let run = RunDir::create(&cache.runs()).map_err(BuildError::RunDirectory)?;

        let mut locking = self.locking(guest.arch.name(), update)?;
        phases.run("fetch files", self.fetch_files()).await?;
        let base = phases
            .run("base", async {
                Ok(base::obtain(wanted, cache, run.path(), self.ui).await?)
            })
            .await?;
        let mut inputs = phases
            .run("digest inputs", self.inputs(wanted, &base))
            .await?;
        let known = self.known_lock(&mut locking, &base)?;
        if let Some(lock) = &known {
            self.fetch_packages(lock, &mut phases).await?;
        }

        let launch = async {
            Ok(qemu::launch(
                guest,
                &plan.ssh,
                &plan.network,
                &base.disk,
                run.path(),
                self.ui,
            )
            .await?)
        };
        let mut machine = phases.run("launch", launch).await?;
        let accelerator = machine.accelerator().to_owned();
        let provisioned =
            self.provision_guest(&mut machine, &base.digest, &locking, known, &mut phases);
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
        let finish =
            async { Ok(disk::finish(&overlay, plan.output.format, &file, self.ui).await?) };
        let finished = phases.run("finish", finish).await?;
        self.test(
            guest,
            &disk::Base {
                path: file.clone(),
                format: disk::driver(plan.output.format).to_owned(),
            },
            &run,
            &mut phases,
        )
        .await?;

        let manifest = record::manifest(inputs, guest, plan, &finished, packages, &lock);
        let this = record::ThisRun {
            started,
            accelerator,
            phases: &phases.so_far(),
        };
        let recorded = record::image(&manifest, &file, &lock, this, self.settings, self.ui);
        let id = phases.run("record", recorded).await?;
        self.copy_out(&manifest, &mut phases).await?;
        run.remove().map_err(BuildError::RunDirectory)?;
        Ok(Built::Image(Box::new(Image {
            id,
            manifest,
            phases: phases.so_far(),
        })))
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
        self.provision(machine, asked, &lock, phases).await
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
        base: &base::BaseDisk,
        run: &RunDir,
        locking: &Locking,
        phases: &mut Phases<'_>,
    ) -> Result<Lock, BuildError> {
        let launch = async {
            Ok(qemu::launch(
                guest,
                &self.plan.ssh,
                &self.plan.network,
                &base.disk,
                run.path(),
                self.ui,
            )
            .await?)
        };
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
        base: &Digest,
        locking: &Locking,
        known: Option<Lock>,
        phases: &mut Phases<'_>,
    ) -> Result<(Lock, Vec<provision::Package>, Vec<manifest::Request>), BuildError> {
        self.wait_ready(machine, phases).await?;
        let before = provision::installed_packages(machine.session()).await?;
        self.remember(machine.session(), base).await;
        let lock = if let Some(lock) = known {
            lock
        } else {
            let lock = self.resolve(machine, locking, phases).await?;
            locking.tell_changes(&lock, self.ui);
            self.fetch_packages(&lock, phases).await?;
            lock
        };
        self.provision(machine, locking.asked(), &lock, phases)
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
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let fetched = |digest: &Digest| self.settings.cache.path(digest);
        let cx = self.context(&fetched);
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
            let mut machine = qemu::launch(
                guest,
                &self.plan.ssh,
                &self.plan.network,
                image,
                &scratch,
                self.ui,
            )
            .await?;
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

    async fn inputs(
        &self,
        wanted: &plan::Base,
        base: &base::BaseDisk,
    ) -> Result<Inputs, BuildError> {
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
            fetched,
        }
    }
}
