//! Plan → AMI: the one screen of a build on EC2, with what is its own; all else is as for a guest of QEMU.
//!
//! The image is a snapshot of an instance's disk. It is read back before anything is registered, and scanned and recorded like any
//! other; what the policy refuses was never an AMI. Whatever ends the build removes all that it has made at AWS.

use std::path::{Path, PathBuf};

use super::locking::Locking;
use super::phases::Phases;
use super::{BuildError, Built, Image, Job, Made, Update, record, seal};
use crate::aws::run::MANIFEST;
use crate::aws::{Aws, AwsError, Region, Settings};
use crate::base::BaseDisk;
use crate::builder::Machine as _;
use crate::builder::ec2::{
    self, Ami, Ec2Error, Ec2Machine, Part, Place, Rental, begin_snapshot, launch, read, set_up,
};
use crate::disk::{self, clean::Owners};
use crate::lock::Lock;
use crate::manifest::{self, Inputs, ManifestId};
use crate::plan::{self, BootMode, PublishEc2};
use crate::provision;
use crate::publish::ec2::{About, Publication, Source, offer, register};
use crate::run::RunDir;
use crate::scan::whole::Check;
use crate::store::Timestamp;

/// Why its bytes are not the same twice.
const NOT_ANEW: &str = "it was made on EC2, where its disk is not written anew";

/// Where a build happens, and what it has there.
struct Site<'a> {
    ec2: &'a plan::Ec2,
    ami: Ami,
    rental: Rental,
    run: &'a RunDir,
}

/// How the bytes of an AMI can be had, to compare with.
enum Bytes {
    /// They were read before.
    Cached(PathBuf),
    /// From this snapshot, which is to be removed afterwards if it was made for that alone.
    Snapshot { id: String, ours: bool },
    /// Not at all, or nobody wants them.
    None,
}

/// What came of provisioning.
struct Provisioned {
    lock: Lock,
    packages: Vec<provision::Package>,
    requests: Vec<manifest::Request>,
}

impl Job<'_> {
    pub(super) async fn ami(
        &self,
        ec2: &plan::Ec2,
        update: Update,
        mut phases: Phases<'_>,
    ) -> Result<Built, BuildError> {
        if self.settings.twice {
            return Err(BuildError::OnceOnly);
        }
        let run = RunDir::create(&self.settings.cache.runs()).map_err(BuildError::RunDirectory)?;
        let mut locking = self.locking(ec2.arch.name(), update)?;
        phases.run("fetch files", self.fetch_files()).await?;
        let (region, ami) = phases.run("base", self.find_ami(ec2, &locking)).await?;
        let inputs = self.inputs(ami.recorded());
        let inputs = phases.run("digest inputs", inputs).await?;
        let known = self.known_lock(&mut locking, ami.locked())?;
        if let Some(lock) = &known {
            self.fetch_packages(lock, &mut phases).await?;
        }
        let rental = self.rental(region, ec2, run.path())?;
        let site = Site {
            ec2,
            ami,
            rental,
            run: &run,
        };
        let built = self.build_ami(&site, inputs, &locking, known, &mut phases);
        match built.await {
            Ok(image) => {
                run.remove().map_err(BuildError::RunDirectory)?;
                Ok(Built::Image(Box::new(image)))
            }
            Err(error) => {
                site.rental.release(self.ui).await;
                Err(error)
            }
        }
    }

    async fn build_ami(
        &self,
        site: &Site<'_>,
        inputs: Inputs,
        locking: &Locking,
        known: Option<Lock>,
        phases: &mut Phases<'_>,
    ) -> Result<Image, BuildError> {
        let started = Timestamp::now();
        let (made, snapshot) = self.make_ami(site, inputs, locking, known, phases).await?;
        let passed = phases.run("scan", self.scan(&made)).await?;
        let this = record::ThisRun {
            started,
            phases: &phases.so_far(),
            passed: passed.as_ref(),
        };
        let recorded = record::image(&made, self.plan, this, self.settings, self.ui);
        let id = phases.run("record", recorded).await?;
        let published = phases
            .whole("register", self.register(site, id, &made, &snapshot))
            .await?;
        self.copy_out(&made.manifest, phases).await?;
        Ok(Image {
            id,
            manifest: made.manifest,
            phases: phases.so_far(),
            published: Some(published),
        })
    }

    /// From the plan to a completed snapshot, with the image that was read of it in the run directory.
    async fn make_ami(
        &self,
        site: &Site<'_>,
        mut inputs: Inputs,
        locking: &Locking,
        known: Option<Lock>,
        phases: &mut Phases<'_>,
    ) -> Result<(Made, String), BuildError> {
        let Site {
            ec2, ami, rental, ..
        } = site;
        let (place, mut machine) = self.launch_instance(site, phases).await?;
        let bytes = self.bytes_of_base(site, &machine, phases).await;
        let provisioned = self.provision_instance(&mut machine, site, locking, known, phases);
        let done = match provisioned.await {
            Ok(done) => done,
            Err(error) => return Err(self.give_up(machine, error).await),
        };
        inputs.network.requests = done.requests;

        if !ec2.spot {
            phases
                .run("stop", async { Ok(machine.stop().await?) })
                .await?;
        }
        let name = &self.plan.image.name;
        let begin = begin_snapshot(&machine, Part::Image, name, rental);
        let snapshot = async { Ok(rental.make(self.cancel, begin).await?) };
        let snapshot = phases.whole("snapshot", snapshot).await?;
        let id = machine.id().to_owned();
        machine.destroy().await;

        let raw = site.run.path().join("disk");
        let bytes_of_disk = ec2.volume_size.unwrap_or(ami.size);
        let read_back = async {
            let end = ec2::end(&rental.region, &id, &place, self.ui);
            let image = self.read_snapshot(&rental.region, &snapshot, bytes_of_disk, &raw);
            let base = self.read_base(site, bytes);
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
        phases: &mut Phases<'_>,
    ) -> Result<(Place, Ec2Machine), BuildError> {
        let (rental, cancel) = (&site.rental, self.cancel);
        let set_up = async { Ok(set_up(self.plan, site.ec2, rental, cancel).await?) };
        let place = phases.whole("set up", set_up).await?;
        let (ami, run) = (&site.ami, site.run.path());
        let launch = launch(
            self.plan, site.ec2, ami, &place, rental, run, self.ui, cancel,
        );
        let machine = phases.whole("launch", async { Ok(launch.await?) }).await?;
        Ok((place, machine))
    }

    async fn wait_for_instance(
        &self,
        machine: &mut Ec2Machine,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let ready = async {
            machine.wait_ready(self.plan.ssh.timeout, self.ui).await?;
            match self.new_seal()? {
                Some(seal) => Ok(machine.seal_with(seal).await?),
                None => Ok(()),
            }
        };
        phases.run("wait for SSH", ready).await
    }

    /// As [`Self::provision_guest`], but that the clock stays as it is: AWS and the guest's own time service mind it.
    async fn provision_instance(
        &self,
        machine: &mut Ec2Machine,
        site: &Site<'_>,
        locking: &Locking,
        known: Option<Lock>,
        phases: &mut Phases<'_>,
    ) -> Result<Provisioned, BuildError> {
        self.wait_for_instance(machine, phases).await?;
        let before = provision::installed_packages(machine.session()).await?;
        self.remember(machine.session(), &site.ami.locked().digest)
            .await;
        let lock = if let Some(lock) = known {
            lock
        } else {
            let lock = self.resolve(machine, locking, phases).await?;
            locking.tell_changes(&lock, self.ui);
            self.fetch_packages(&lock, phases).await?;
            lock
        };
        self.provision(machine, locking.asked(), &lock, lock.epoch, phases)
            .await?;
        let after = provision::installed_packages(machine.session()).await?;
        let requests = seal::requests(machine.seal(), self.ui);
        let freeze = site.ec2.spot;
        let clean_up = async { Ok(machine.clean_up(freeze).await?) };
        phases.run("clean up", clean_up).await?;
        Ok(Provisioned {
            packages: provision::attribute(&before, after, &self.plan.packages),
            lock,
            requests,
        })
    }

    async fn read_snapshot(
        &self,
        region: &Region,
        snapshot: &str,
        size: u64,
        to: &Path,
    ) -> Result<(), Ec2Error> {
        region.snapshot_completed(snapshot).await?;
        read(region, snapshot, size, to, self.ui).await
    }

    /// The image of a disk that was read, with its manifest.
    async fn made(
        &self,
        site: &Site<'_>,
        inputs: Inputs,
        base: Option<BaseDisk>,
        lock: Lock,
        packages: Vec<provision::Package>,
        raw: &Path,
    ) -> Result<Made, BuildError> {
        let overlay = site.run.path().join("overlay");
        let disk = disk::Base {
            path: raw.to_owned(),
            format: "raw".to_owned(),
        };
        disk::overlay(&disk, &overlay, None).await?;
        let file = site.run.path().join("image");
        let finished = self.as_it_is(&overlay, &file, NOT_ANEW).await?;
        let arch = site.ec2.arch;
        let kind = (arch, site.ami.firmware(arch));
        let manifest = record::manifest(inputs, kind, self.plan, &finished, packages, &lock);
        Ok(Made {
            manifest,
            file,
            base,
            lock,
            accelerator: "ec2".to_owned(),
            listing: None,
            owners: Owners::default(),
        })
    }

    /// Makes an AMI of a snapshot whose image is recorded.
    async fn register(
        &self,
        site: &Site<'_>,
        id: ManifestId,
        made: &Made,
        snapshot: &str,
    ) -> Result<Publication, BuildError> {
        let rental = &site.rental;
        let mut settings = self.plan.publish.clone().unwrap_or_default();
        if site.ami.boot_mode.as_deref() == Some("uefi-preferred") {
            settings.boot_mode = settings.boot_mode.or(Some(BootMode::UefiPreferred));
        }
        settings.kms_key = site.ec2.kms_key.clone();
        let registered = self.offer(rental, id, made, snapshot, &settings).await;
        registered.map_err(|error| match error {
            BuildError::Cancelled => BuildError::Cancelled,
            error => BuildError::NotRegistered {
                id,
                region: rental.region.name().to_owned(),
                source: Box::new(error),
            },
        })
    }

    async fn offer(
        &self,
        rental: &Rental,
        id: ManifestId,
        made: &Made,
        snapshot: &str,
        settings: &PublishEc2,
    ) -> Result<Publication, BuildError> {
        let region = &rental.region;
        let about = About::new(id, &made.manifest, settings)?;
        let mut tags = settings.tags.clone();
        tags.extend(rental.tags().clone());
        tags.insert(MANIFEST.to_owned(), id.to_string());
        tags.insert("Name".to_owned(), about.name.clone());
        region.tag(&[snapshot], &tags).await?;
        let registering = async {
            let image = register(region, &about, settings, snapshot, &tags).await;
            image.map_err(Ec2Error::from)
        };
        let image = rental.make(self.cancel, registering).await?;
        let available = region.image_available(&image);
        let available = self.cancel.run_until_cancelled(available).await;
        let image = available.ok_or(BuildError::Cancelled)??;
        let (store, scratch) = (self.settings.store, self.settings.cache.runs());
        let source = Source::open(store, &made.manifest, &scratch, self.ui).await?;
        let digest = source.digest(&made.manifest).await?;
        let caller = region.caller().await?;
        let encrypted = region.snapshot(snapshot).await?.encrypted;
        offer(region, &image, settings).await?;
        Ok(Publication {
            region: region.name().to_owned(),
            account: caller.account,
            image: image.id,
            snapshot: snapshot.to_owned(),
            disk: digest,
            encrypted,
            kms_key: settings.kms_key.clone(),
            accounts: settings.accounts.clone(),
            organizations: settings.organizations.clone(),
        })
    }

    fn rental(&self, region: Region, ec2: &plan::Ec2, run: &Path) -> Result<Rental, BuildError> {
        let (image, profile) = (&self.plan.image.name, ec2.profile.as_deref());
        Ok(Rental::begin(region, image, &ec2.tags, profile, run)?)
    }

    async fn find_ami(
        &self,
        ec2: &plan::Ec2,
        locking: &Locking,
    ) -> Result<(Region, Ami), BuildError> {
        let region = region(ec2).await?;
        let Some(plan::Base::Ami(wanted)) = &self.plan.base else {
            unreachable!("a plan for EC2 has an AMI");
        };
        let path = Lock::path_of(&self.plan.template.path);
        let locked = self.settings.locked.then_some(path.as_path());
        let pinned = locking.pinned_ami();
        let ami = ec2::find(wanted, ec2.arch, &region, pinned, locked, self.ui).await?;
        Ok((region, ami))
    }
}

/// Where an image is built.
pub(super) async fn region(ec2: &plan::Ec2) -> Result<Region, AwsError> {
    let settings = Settings {
        profile: ec2.profile.clone(),
        region: ec2.region.clone(),
    };
    let aws = Aws::connect(&settings).await?;
    let own = ec2.region.as_deref().or(aws.own_region());
    Ok(aws.region(own.ok_or(AwsError::NoRegion)?))
}

/// The bytes of the AMI, with which the scan compares the image.
impl Job<'_> {
    /// An AMI's owner reads its snapshot. Of others', one is taken of the disk that an instance has only just got: it is as
    /// the AMI, but for the first seconds of a boot.
    async fn bytes_of_base(
        &self,
        site: &Site<'_>,
        machine: &Ec2Machine,
        phases: &mut Phases<'_>,
    ) -> Bytes {
        if self.settings.scan.without.contains(&Check::Undeclared) {
            return Bytes::None;
        }
        let cached = self.place_of_base(&site.ami);
        if cached.is_file() {
            return Bytes::Cached(cached);
        }
        let rental = &site.rental;
        let look = async {
            Ok(rental
                .region
                .blocks(&site.ami.pinned.snapshot)
                .await
                .is_ok())
        };
        if matches!(phases.run("look at the AMI", look).await, Ok(true)) {
            let id = site.ami.pinned.snapshot.clone();
            return Bytes::Snapshot { id, ours: false };
        }
        let name = &self.plan.image.name;
        let begin = begin_snapshot(machine, Part::Base, name, rental);
        let begin = async { Ok(rental.make(self.cancel, begin).await?) };
        match phases.whole("snapshot the AMI's disk", begin).await {
            Ok(id) => Bytes::Snapshot { id, ours: true },
            // It is found out anew at once.
            Err(BuildError::Cancelled) => Bytes::None,
            Err(error) => {
                self.ui
                    .warn(&format!("the AMI cannot be compared with: {error}"));
                Bytes::None
            }
        }
    }

    async fn read_base(&self, site: &Site<'_>, bytes: Bytes) -> Option<BaseDisk> {
        let path = match bytes {
            Bytes::None => return None,
            Bytes::Cached(path) => path,
            Bytes::Snapshot { id, ours } => {
                let read = self.read_to_cache(site, &id).await;
                if ours && let Err(error) = site.rental.region.delete_snapshot(&id).await {
                    self.ui.warn(&format!("{id} is left over: {error}"));
                }
                match read {
                    Ok(path) => path,
                    Err(error) => {
                        self.ui
                            .warn(&format!("the AMI cannot be compared with: {error}"));
                        return None;
                    }
                }
            }
        };
        let base = site.ami.locked();
        Some(BaseDisk {
            disk: disk::Base {
                path,
                format: "raw".to_owned(),
            },
            digest: base.digest,
            size: base.size,
            virtual_size: base.size,
        })
    }

    async fn read_to_cache(&self, site: &Site<'_>, snapshot: &str) -> Result<PathBuf, Ec2Error> {
        let path = self.place_of_base(&site.ami);
        let scratch = site.run.path().join("base");
        let region = &site.rental.region;
        // The instance's own disk may be larger than the AMI's.
        let bytes = site.ec2.volume_size.unwrap_or(site.ami.size);
        self.read_snapshot(region, snapshot, bytes, &scratch)
            .await?;
        let placed = crate::atomic::directory_of(&path);
        let placed =
            std::fs::create_dir_all(placed).and_then(|()| std::fs::rename(&scratch, &path));
        placed.map_err(|source| Ec2Error::Write {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    fn place_of_base(&self, ami: &Ami) -> PathBuf {
        let digest = ami.locked().digest;
        self.settings.cache.root().join("ami").join(digest.hex())
    }
}

/// The lock alone.
impl Job<'_> {
    /// Launches an instance to ask its package manager, unless the lock is known without.
    pub(super) async fn lock_on_ec2(
        &self,
        ec2: &plan::Ec2,
        update: Update,
        phases: &mut Phases<'_>,
    ) -> Result<(Option<Lock>, Lock), BuildError> {
        let mut locking = self.locking(ec2.arch.name(), update)?;
        let run = RunDir::create(&self.settings.cache.runs()).map_err(BuildError::RunDirectory)?;
        let (region, ami) = phases.run("base", self.find_ami(ec2, &locking)).await?;
        let lock = if let Some(lock) = self.known_lock(&mut locking, ami.locked())? {
            lock
        } else {
            let rental = self.rental(region, ec2, run.path())?;
            let site = Site {
                ec2,
                ami,
                rental,
                run: &run,
            };
            let lock = self.lock_in_instance(&site, &locking, phases).await;
            site.rental.release(self.ui).await;
            lock?
        };
        self.fetch_packages(&lock, phases).await?;
        run.remove().map_err(BuildError::RunDirectory)?;
        Ok((locking.into_old(), lock))
    }

    async fn lock_in_instance(
        &self,
        site: &Site<'_>,
        locking: &Locking,
        phases: &mut Phases<'_>,
    ) -> Result<Lock, BuildError> {
        let (_, mut machine) = self.launch_instance(site, phases).await?;
        let lock = async {
            self.wait_for_instance(&mut machine, phases).await?;
            self.remember(machine.session(), &site.ami.locked().digest)
                .await;
            self.resolve(&mut machine, locking, phases).await
        }
        .await;
        machine.destroy().await;
        lock
    }
}
