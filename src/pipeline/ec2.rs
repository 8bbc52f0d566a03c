//! Builds on EC2: the steps from a plan to an AMI, as far as they differ from a build with QEMU.
//!
//! The image is a snapshot of an instance's disk. It is read back before anything is registered, and scanned and recorded like
//! any other; an image that the policy refuses never becomes an AMI. A build that fails removes all resources it has created at
//! AWS.

mod base_data;
mod lock;
mod register;
mod test;

use std::path::Path;

use super::guest::Provisioned;
use super::lock_file::LockState;
use super::phases::Phases;
use super::{
    ALLOW_REVOKED_HINT, BuildError, Built, Image, Job, Made, RevokedBase, Update, commit, network,
};
use crate::base::BaseDisk;
use crate::disk::{self, clean::Owners};
use crate::ec2::client::ec2::snapshots;
use crate::ec2::client::{Aws, AwsError, Region, Settings};
use crate::ec2::machine::{
    BaseAmi, Ec2Error, Ec2Machine, InstanceNetwork, ResourceGuard, SnapshotKind, begin_snapshot,
    find_ami, launch, read_snapshot, set_up, tear_down,
};
use crate::machine::Machine as _;
use crate::os::run_dir::RunDir;
use crate::plan;
use crate::provision;
use crate::record::lock::Lock;
use crate::record::manifest::{self, Inputs};
use crate::store::Timestamp;

/// Reason why the image is not reproducible bit for bit. It is part of manifests, so another text would change their ids.
const NOT_NORMALIZED: &str = "it was made on EC2, where its disk is not written anew";

/// AMI, resources and run directory of a build.
struct Site<'a> {
    ec2: &'a plan::Ec2,
    ami: BaseAmi,
    resources: ResourceGuard,
    run: &'a RunDir,
    started: Timestamp,
}

impl Job<'_> {
    pub(super) async fn ami(
        &self,
        ec2: &plan::Ec2,
        update: Update,
        mut phases: Phases<'_>,
    ) -> Result<Built, BuildError> {
        if self.settings.twice {
            return Err(BuildError::NotReproducible);
        }
        let started = Timestamp::now();
        let run = RunDir::create(&self.settings.cache.runs()).map_err(BuildError::RunDirectory)?;
        let mut lock_state = self.read_lock(ec2.arch.name(), update)?;
        phases.run("fetch files", self.fetch_files()).await?;
        let (region, ami) = phases.run("base", self.find_ami(ec2, &lock_state)).await?;
        if let Some(id) = ami
            .manifest
            .filter(|_| self.settings.revoked_base == RevokedBase::Refuse)
        {
            self.settings.store.allow(id, ALLOW_REVOKED_HINT)?;
        }
        let inputs = self.digest_inputs(ami.recorded());
        let inputs = phases.run("digest inputs", inputs).await?;
        let known = self.settle_lock(&mut lock_state, ami.locked())?;
        if let Some(lock) = &known {
            self.fetch_packages(lock, &mut phases).await?;
        }
        let site = Site {
            ec2,
            ami,
            resources: self.resources(region, ec2, run.path())?,
            run: &run,
            started,
        };
        let built = self.build_ami(&site, inputs, &lock_state, known, &mut phases);
        match built.await {
            Ok(image) => {
                run.remove().map_err(BuildError::RunDirectory)?;
                Ok(Built::Image(Box::new(image)))
            }
            Err(error) => {
                site.resources.release(self.ui).await;
                Err(error)
            }
        }
    }

    async fn build_ami(
        &self,
        site: &Site<'_>,
        inputs: Inputs,
        lock_state: &LockState,
        known: Option<Lock>,
        phases: &mut Phases<'_>,
    ) -> Result<Image, BuildError> {
        let (mut made, snapshot) = self
            .make_ami(site, inputs, lock_state, known, phases)
            .await?;
        let passed = phases.run("scan", self.scan_image(&made)).await?;
        if let Err(error) = self.test_ami(site, &made, &snapshot, phases).await {
            return Err(self.keep_failed_image(&made, error));
        }
        made.explain(passed.as_ref());
        let id = self
            .record_image(&made, site.started, passed.as_ref(), phases)
            .await?;
        // Comes last: a published AMI is not removed again.
        let published = phases
            .run_to_end("register", self.register(site, id, &made, &snapshot))
            .await?;
        Ok(Image {
            id,
            manifest: made.manifest,
            phases: phases.durations(),
            published: Some(published),
        })
    }

    /// Provisions an instance, takes a snapshot of its disk, and reads the image back into the run directory.
    async fn make_ami(
        &self,
        site: &Site<'_>,
        mut inputs: Inputs,
        lock_state: &LockState,
        known: Option<Lock>,
        phases: &mut Phases<'_>,
    ) -> Result<(Made, String), BuildError> {
        let (ec2, ami, resources) = (site.ec2, &site.ami, &site.resources);
        let launched = self.launch_instance(site, ami, "build", site.run.path(), phases);
        let (network, mut machine) = launched.await?;
        let base_data = self.find_base_data(site, &machine, phases).await;
        let provisioned = self.provision_instance(&mut machine, site, lock_state, known, phases);
        let done = match provisioned.await {
            Ok(done) => done,
            Err(error) => return Err(self.handle_failure(machine, error, site.run).await),
        };
        inputs.network.requests = done.requests;

        if !ec2.spot {
            phases
                .run("stop", async { Ok(machine.stop().await?) })
                .await?;
        }
        let name = &self.plan.image.name;
        let begin = begin_snapshot(&machine, SnapshotKind::Image, name, resources);
        let snapshot = async { Ok(resources.create(self.cancel, begin).await?) };
        let snapshot = phases.run_to_end("snapshot", snapshot).await?;
        let id = machine.id().to_owned();
        machine.destroy().await;

        let raw = site.run.path().join("disk");
        let bytes_of_disk = ec2.volume_size.unwrap_or(ami.size);
        let read_back = async {
            let end = tear_down(&resources.region, &id, &network, self.ui);
            let image = self.read_snapshot(&resources.region, &snapshot, bytes_of_disk, &raw);
            let base = self.read_base(site, base_data);
            let ((), image, base) = tokio::join!(end, image, base);
            image?;
            Ok(base)
        };
        let base = phases.run("read back", read_back).await?;
        let made = self.made(site, inputs, base, done.lock, done.packages, &raw);
        Ok((phases.run("finish", made).await?, snapshot))
    }

    async fn launch_instance(
        &self,
        site: &Site<'_>,
        ami: &BaseAmi,
        name: &str,
        run: &Path,
        phases: &mut Phases<'_>,
    ) -> Result<(InstanceNetwork, Ec2Machine), BuildError> {
        let (resources, cancel) = (&site.resources, self.cancel);
        let set_up = async { Ok(set_up(self.plan, site.ec2, resources, name, cancel).await?) };
        let network = phases.run_to_end("set up", set_up).await?;
        let launch = launch(
            self.plan, site.ec2, ami, &network, resources, run, self.ui, cancel,
        );
        let machine = phases
            .run_to_end("launch", async { Ok(launch.await?) })
            .await?;
        Ok((network, machine))
    }

    /// As [`Self::provision_guest`], but without setting the clock, which AWS and the guest's own time service control.
    async fn provision_instance(
        &self,
        machine: &mut Ec2Machine,
        site: &Site<'_>,
        lock_state: &LockState,
        known: Option<Lock>,
        phases: &mut Phases<'_>,
    ) -> Result<Provisioned, BuildError> {
        self.wait_for_guest(machine, phases).await?;
        let before = provision::installed_packages(machine.session()).await?;
        self.save_base_packages(machine.session(), &site.ami.locked().digest)
            .await;
        let lock = self
            .known_or_resolved_lock(machine, lock_state, known, phases)
            .await?;
        let declared = lock_state.declared();
        let times = self
            .provision_machine(machine, declared, &lock, lock.epoch, phases)
            .await?;
        let after = provision::installed_packages(machine.session()).await?;
        let requests = network::requests(machine.egress(), self.ui);
        let freeze = site.ec2.spot;
        let clean_up = async { Ok(machine.clean_up(freeze).await?) };
        phases.run("clean up", clean_up).await?;
        Ok(Provisioned {
            packages: provision::attribute(&before, after, self.plan.packages.as_ref(), &lock),
            lock,
            requests,
            times,
        })
    }

    async fn read_snapshot(
        &self,
        region: &Region,
        snapshot: &str,
        size: u64,
        to: &Path,
    ) -> Result<(), Ec2Error> {
        snapshots::wait_completed(region, snapshot).await?;
        read_snapshot(region, snapshot, size, to, self.ui).await
    }

    /// Makes the image from the disk that was read back, with its manifest.
    async fn made(
        &self,
        site: &Site<'_>,
        inputs: Inputs,
        base: Option<BaseDisk>,
        lock: Lock,
        packages: Vec<manifest::Package>,
        raw: &Path,
    ) -> Result<Made, BuildError> {
        let overlay = site.run.path().join("overlay");
        let disk = disk::BaseImage {
            path: raw.to_owned(),
            format: "raw".to_owned(),
        };
        disk::overlay(&disk, &overlay, None).await?;
        let file = site.run.path().join("image");
        let finished = self.convert_disk(&overlay, &file, NOT_NORMALIZED).await?;
        let arch = site.ec2.arch;
        let kind = (arch, site.ami.firmware(arch));
        let manifest =
            commit::compose_manifest(inputs, kind, self.plan, &finished, packages, &lock);
        Ok(Made {
            manifest,
            file,
            base,
            disk: None,
            times: Vec::new(),
            lock,
            accelerator: "ec2".to_owned(),
            listing: None,
            owners: Owners::default(),
        })
    }

    fn resources(
        &self,
        region: Region,
        ec2: &plan::Ec2,
        run: &Path,
    ) -> Result<ResourceGuard, BuildError> {
        let (image, profile) = (&self.plan.image.name, ec2.profile.as_deref());
        Ok(ResourceGuard::begin(
            region, image, &ec2.tags, profile, run,
        )?)
    }

    async fn find_ami(
        &self,
        ec2: &plan::Ec2,
        lock_state: &LockState,
    ) -> Result<(Region, BaseAmi), BuildError> {
        let region = region(ec2).await?;
        let Some(plan::Base::Ami(wanted)) = &self.plan.base else {
            unreachable!("a plan for EC2 has an AMI");
        };
        let path = Lock::path_of(&self.plan.template.path);
        let locked = self.settings.locked.then_some(path.as_path());
        let pinned = lock_state.pinned_ami();
        let ami = find_ami(wanted, ec2.arch, &region, pinned, locked, self.ui).await?;
        Ok((region, ami))
    }
}

/// Returns the region that an image is built in.
pub(super) async fn region(ec2: &plan::Ec2) -> Result<Region, AwsError> {
    let settings = Settings {
        profile: ec2.profile.clone(),
        region: ec2.region.clone(),
    };
    let aws = Aws::connect(&settings).await?;
    let own = ec2.region.as_deref().or(aws.own_region());
    Ok(aws.region(own.ok_or(AwsError::NoRegion)?))
}
