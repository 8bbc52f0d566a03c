//! Plan → image: the phases of a build, in order, on one screen.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{BaseContext, BaseDisk};
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
use crate::store::{Store, StoredManifest, Timestamp};
use crate::ui::Ui;

mod base_disk;
pub(crate) mod base_packages;
mod commit;
pub(crate) mod compare;
mod ec2;
mod error;
mod existing_host;
mod finish;
mod guest;
mod host_check;
mod keep_failed;
mod lock_file;
pub mod manifest_inputs;
mod network;
mod on_error;
mod packages;
mod phases;
mod provision;
pub(crate) mod rebuild;
pub(crate) mod scan;
mod step_times;
mod twice;
pub(crate) mod up_to_date;

pub(crate) use error::BuildError;
pub(crate) use lock_file::Update;
pub(crate) use on_error::OnError;
use phases::Phases;
pub(crate) use scan::ScanSettings;
pub(crate) use twice::Made;

/// Longest wait for a guest to shut down before it is killed: a guest without KVM is slow.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(90);

/// Hint of the error about a revoked base.
const ALLOW_REVOKED_HINT: &str = "`--allow-revoked` builds on it anyway";

/// Directories and options of a build.
pub(crate) struct Settings<'a> {
    /// Holds downloads, bootstrapped bases and run directories.
    pub cache: &'a Cache,
    /// Receives the image and its manifest.
    pub store: &'a Store,
    /// Replaces a file at `output.path`.
    pub force: bool,
    /// Fate of a machine whose provisioning or test failed.
    pub on_error: OnError,
    /// Refuses a missing or stale lock file.
    pub locked: bool,
    /// Searched for packages before their archives.
    pub mirrors: &'a [Mirror],
    /// Builds twice, and compares before anything is recorded.
    pub twice: bool,
    /// Disk that stands in for the plan's base, with the same content.
    pub base: Option<&'a BaseDisk>,
    pub revoked_base: RevokedBase,
    pub scan: &'a ScanSettings,
}

/// Treatment of a base that is a revoked image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RevokedBase {
    Refuse,
    Allow,
}

/// Result of a build.
#[derive(Debug)]
pub(crate) enum Built {
    Image(Box<Image>),
    /// The newest image is up to date: no build ran.
    Unchanged(Box<StoredManifest>),
    /// An existing host was provisioned, without an image.
    Host,
}

/// An image that was built and recorded.
#[derive(Debug)]
pub(crate) struct Image {
    pub id: ManifestId,
    pub manifest: Manifest,
    /// Durations of the phases, in order.
    pub phases: Vec<(String, Duration)>,
    /// AMI registered by a build on EC2.
    pub published: Option<Publication>,
}

/// Returns the time of a build's clock: of the newest archive in its lock, else of its base.
fn epoch(lock: &Lock, base: &BaseDisk) -> Option<Timestamp> {
    lock.epoch
        .or_else(|| disk::creation_time(&base.disk).map(Timestamp::from_seconds))
}

/// Arguments of one build. Each phase is a method, in the file that is named after it.
pub(crate) struct Job<'a> {
    pub plan: &'a Plan,
    pub secrets: &'a Secrets,
    pub settings: &'a Settings<'a>,
    pub ui: &'a Ui,
    pub cancel: &'a CancellationToken,
}

impl Job<'_> {
    /// Builds an image from a plan, or provisions its host. After an error the machine is destroyed, unless `on_error` keeps it.
    pub(crate) async fn build(&self, update: Update) -> Result<Built, BuildError> {
        let phases = Phases::new(self.ui, self.cancel);
        match &self.plan.builder {
            // On the heap: with a second build inside, the future is large for the stack.
            Builder::Qemu(guest) => Box::pin(self.build_image(guest, update, phases)).await,
            Builder::Host(host) => self.provision_existing_host(host, phases).await,
            Builder::Ec2(instance) => Box::pin(self.ami(instance, update, phases)).await,
        }
    }

    /// Updates the lock file of a template and fetches its packages into the cache, without installing them. Returns the
    /// previous lock and the current one.
    pub(crate) async fn lock(&self, update: Update) -> Result<(Option<Lock>, Lock), BuildError> {
        let mut phases = Phases::new(self.ui, self.cancel);
        match &self.plan.builder {
            Builder::Qemu(guest) => self.update_lock(guest, update, &mut phases).await,
            Builder::Host(_) => Err(LockError::NoLock.into()),
            Builder::Ec2(instance) => self.lock_on_ec2(instance, update, &mut phases).await,
        }
    }

    /// Prepares the base of the plan, whose disk must not be larger than that of the guest.
    async fn prepare_base(&self, wanted: &plan::Base, run: &Path) -> Result<BaseDisk, BuildError> {
        let Settings { cache, store, .. } = *self.settings;
        let context = BaseContext { cache, run };
        let base = base_disk::prepare(wanted, store, context, self.ui).await?;
        if let Builder::Qemu(guest) = &self.plan.builder {
            disk::require_fit(guest.disk_size, base.virtual_size)?;
        }
        Ok(base)
    }

    async fn build_image(
        &self,
        guest: &plan::Qemu,
        update: Update,
        mut phases: Phases<'_>,
    ) -> Result<Built, BuildError> {
        let started = Timestamp::now();
        let run = RunDir::create(&self.settings.cache.runs()).map_err(BuildError::RunDirectory)?;
        let mut made = self.make_image(guest, update, &run, &mut phases).await?;
        let image = disk::BaseImage {
            path: made.file.clone(),
            format: disk::qemu_format(self.plan.output.format).to_owned(),
        };
        let passed = phases.run("scan", self.scan_image(&made)).await?;
        if let Err(error) = self.test_image(guest, &image, &run, &mut phases).await {
            return Err(self.keep_failed_image(&made, error));
        }
        if self.settings.twice {
            Box::pin(self.compare_second_build(&made, &mut phases)).await?;
        }
        made.explain(passed.as_ref());
        let id = self
            .record_image(&made, started, passed.as_ref(), &mut phases)
            .await?;
        run.remove().map_err(BuildError::RunDirectory)?;
        Ok(Built::Image(Box::new(Image {
            id,
            manifest: made.manifest,
            phases: phases.durations(),
            published: None,
        })))
    }

    /// Makes a finished image in the run directory, with its manifest.
    async fn make_image(
        &self,
        guest: &plan::Qemu,
        update: Update,
        run: &RunDir,
        phases: &mut Phases<'_>,
    ) -> Result<Made, BuildError> {
        let wanted = self.plan.base.as_ref().expect("a plan for QEMU has a base");
        let mut lock_state = self.read_lock(guest.arch.name(), update)?;
        self.check_host(guest).await?;
        phases.run("fetch files", self.fetch_files()).await?;
        let base = phases
            .run("base", self.obtain_base(wanted, run.path()))
            .await?;
        self.check_space(&base)?;
        if self.settings.revoked_base == RevokedBase::Refuse {
            self.settings
                .store
                .allow_base(base.digest, ALLOW_REVOKED_HINT)?;
        }
        let recorded = manifest_inputs::base_of(wanted, &base);
        let mut inputs = phases
            .run("digest inputs", self.digest_inputs(recorded))
            .await?;
        let known = self.settle_lock(&mut lock_state, base.locked())?;
        if let Some(lock) = &known {
            self.fetch_packages(lock, phases).await?;
        }

        self.require_rewritable(&base.disk).await?;
        let clock = known.as_ref().and_then(|lock| epoch(lock, &base));
        let launch = self.launch_guest(guest, &base.disk, clock, run.path());
        let mut machine = phases.run("launch", launch).await?;
        let accelerator = machine.accelerator().to_owned();
        let provisioned = self.provision_guest(&mut machine, &base, &lock_state, known, phases);
        let provisioned = match provisioned.await {
            Ok(done) => done,
            Err(error) => return Err(self.handle_failure(machine, error, run).await),
        };
        let lock = provisioned.lock;
        inputs.network.requests = provisioned.requests;
        let shut_down = async { Ok(machine.shut_down(SHUTDOWN_TIMEOUT).await?) };
        let overlays = phases.run("shut down", shut_down).await?;

        let file = run.path().join("image");
        let disk = self.normalize_request(overlays, &base.disk, epoch(&lock, &base));
        let finish = self.finish_disk(disk.clone(), &file);
        let finished = phases.run("finish", finish).await?;
        let kind = (guest.arch, guest.firmware);
        let manifest = commit::compose_manifest(
            inputs,
            kind,
            self.plan,
            &finished,
            provisioned.packages,
            &lock,
        );
        Ok(Made {
            manifest,
            file,
            base: Some(base),
            disk: Some(disk),
            times: provisioned.times,
            lock,
            accelerator,
            listing: finished.listing,
            owners: finished.owners,
        })
    }

    /// Records the image, and exports it to `output.path`.
    async fn record_image(
        &self,
        made: &Made,
        started: Timestamp,
        passed: Option<&scan::AcceptedScan>,
        phases: &mut Phases<'_>,
    ) -> Result<ManifestId, BuildError> {
        let took = phases.durations();
        let recorded = self.commit_image(made, started, &took, passed);
        let id = phases.run("record", recorded).await?;
        self.export_image(&made.manifest, phases).await?;
        Ok(id)
    }

    /// Exports the image from the store to `output.path`.
    async fn export_image(
        &self,
        manifest: &Manifest,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let Some(path) = &self.plan.output.path else {
            return Ok(());
        };
        let Settings { store, force, .. } = self.settings;
        let export = async { Ok(store.export(manifest, path, *force, self.ui).await?) };
        phases.run("copy the image", export).await.map(drop)
    }

    /// Returns the disk that the build starts from: the one given in the settings, else the plan's.
    async fn obtain_base(&self, wanted: &plan::Base, run: &Path) -> Result<BaseDisk, BuildError> {
        match self.settings.base {
            Some(base) => Ok(base.clone()),
            None => self.prepare_base(wanted, run).await,
        }
    }

    async fn fetch_files(&self) -> Result<(), BuildError> {
        for (url, sha256) in self.plan.downloads() {
            let checksum = Checksum::Sha256(sha256);
            self.settings.cache.fetch(url, &checksum, self.ui).await?;
        }
        Ok(())
    }

    async fn digest_inputs(&self, base: manifest::Base) -> Result<Inputs, BuildError> {
        let plan = self.plan.clone();
        Ok(hash_stream::blocking(move |stop| manifest_inputs::collect(&plan, base, stop)).await?)
    }

    fn step_context<'a>(&'a self, fetched: &'a dyn Fn(&Digest) -> PathBuf) -> Context<'a> {
        Context {
            variables: &self.plan.variables,
            secrets: self.secrets,
            ui: self.ui,
            epoch: None,
            fetched,
        }
    }
}
