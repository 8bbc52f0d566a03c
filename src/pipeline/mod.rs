//! Plan → Image: the one screen. Everything that happens to a machine happens here, in this order.

pub mod manifest_inputs;
pub(crate) mod rebuild;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{self, BaseDisk};
use crate::digest::Digest;
use crate::disk;
use crate::ec2::publish::Publication;
use crate::fetch::{Cache, Mirror};
use crate::os::hash_stream;
use crate::os::run_dir::RunDir;
use crate::plan::{self, Builder, Checksum, Plan};
use crate::provision::Context;
use crate::record::lock::{Lock, LockError};
use crate::record::manifest::{self, Inputs, Manifest, ManifestId};
use crate::secret::Secrets;
use crate::store::{Store, Stored, Timestamp};
use crate::ui::Ui;

pub(crate) mod base_packages;
mod commit;
pub(crate) mod compare;
mod ec2;
mod error;
mod existing_host;
mod finish;
mod guest;
mod locking;
mod network;
mod on_error;
mod phases;
pub(crate) mod scan;
mod twice;
pub(crate) mod up_to_date;

pub use error::BuildError;
pub use locking::Update;
pub use on_error::OnError;
use phases::Phases;
pub use scan::{GateError, ScanSettings};
pub use twice::{Made, again};

/// How long a guest may take to shut down by itself before it is ended: a guest without KVM is slow.
const SHUTDOWN: Duration = Duration::from_secs(90);

/// How to build on an image that is forbidden.
const UNLESS: &str = "`--allow-revoked` builds on this one all the same";

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
    /// Whether to build on an image that was revoked.
    pub revoked_base: RevokedBase,
    /// How the finished image is scanned.
    pub scan: &'a ScanSettings,
}

/// What becomes of a build on an image that was revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RevokedBase {
    /// It fails.
    Refuse,
    /// It is built all the same.
    Allow,
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
    /// The AMI that was made of it, by a build on EC2.
    pub published: Option<Publication>,
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
        Builder::Ec2(instance) => Box::pin(job.ami(instance, update, phases)).await,
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
        Builder::Ec2(instance) => job.lock_on_ec2(instance, update, &mut phases).await,
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
    /// Where its base is looked for.
    fn places<'p>(&'p self, run: &'p Path) -> base::Places<'p> {
        base::Places {
            cache: self.settings.cache,
            store: self.settings.store,
            run,
        }
    }

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
        let passed = phases.run("scan", self.scan(&made)).await?;
        self.test(guest, &image, &run, &mut phases).await?;
        if self.settings.twice {
            Box::pin(self.make_again(guest, &made, &mut phases)).await?;
        }

        let this = commit::ThisRun {
            started,
            phases: &phases.so_far(),
            passed: passed.as_ref(),
        };
        let recorded = commit::image(&made, self.plan, this, self.settings, self.ui);
        let id = phases.run("record", recorded).await?;
        self.copy_out(&made.manifest, &mut phases).await?;
        run.remove().map_err(BuildError::RunDirectory)?;
        Ok(Built::Image(Box::new(Image {
            id,
            manifest: made.manifest,
            phases: phases.so_far(),
            published: None,
        })))
    }

    /// From the plan to a finished image in the run directory, with its manifest.
    pub(super) async fn make(
        &self,
        guest: &plan::Qemu,
        update: Update,
        run: &RunDir,
        phases: &mut Phases<'_>,
    ) -> Result<Made, BuildError> {
        let wanted = self.plan.base.as_ref().expect("a plan for QEMU has a base");
        let mut locking = self.locking(guest.arch.name(), update)?;
        phases.run("fetch files", self.fetch_files()).await?;
        let obtain = async {
            match self.settings.base {
                Some(base) => Ok(base.clone()),
                None => Ok(base::obtain(wanted, self.places(run.path()), self.ui).await?),
            }
        };
        let base = phases.run("base", obtain).await?;
        if self.settings.revoked_base == RevokedBase::Refuse {
            self.settings.store.allow_base(base.digest, UNLESS)?;
        }
        let of_base = manifest_inputs::base_of(wanted, &base);
        let mut inputs = phases.run("digest inputs", self.inputs(of_base)).await?;
        let known = self.known_lock(&mut locking, base.locked())?;
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
        let kind = (guest.arch, guest.firmware);
        let manifest = commit::manifest(inputs, kind, self.plan, &finished, packages, &lock);
        Ok(Made {
            manifest,
            file,
            base: Some(base),
            lock,
            accelerator,
            listing: finished.listing,
            owners: finished.owners,
        })
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
        for (url, sha256) in self.plan.downloads() {
            let checksum = Checksum::Sha256(sha256);
            self.settings.cache.fetch(url, &checksum, self.ui).await?;
        }
        Ok(())
    }

    async fn inputs(&self, base: manifest::Base) -> Result<Inputs, BuildError> {
        let plan = self.plan.clone();
        Ok(hash_stream::blocking(move |stop| manifest_inputs::collect(&plan, base, stop)).await?)
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
