//! Which AMI a build starts from: the one that the template or the lock names, or the newest that will do.

use std::path::Path;

use super::Ec2Error;
use crate::ec2::client::Region;
use crate::ec2::client::ec2::{Filter, Image};
use crate::ec2::client::run_tags::MANIFEST;
use crate::pipeline::manifest_inputs;
use crate::plan::{self, Arch, Firmware};
use crate::record::lock;
use crate::record::manifest::{self, ManifestId};
use crate::ui::Ui;

const GIB: u64 = 1 << 30;

/// An AMI to start from.
#[derive(Clone, Debug)]
pub struct Ami {
    /// Where it is, and what names it for all time.
    pub pinned: lock::LockedAmi,
    /// Its own name.
    pub name: String,
    /// Of its root volume, in bytes.
    pub size: u64,
    /// The device that its system is on.
    pub root_device: String,
    /// AWS's name of it.
    pub boot_mode: Option<String>,
    /// The image of a store that it was made of, as karat has tagged it.
    pub manifest: Option<ManifestId>,
}

impl Ami {
    /// What a launch needs to know of an image.
    ///
    /// # Errors
    /// It is not ready, or its root is not an EBS volume.
    pub fn of(image: Image, region: &Region) -> Result<Self, Ec2Error> {
        let unfit = |problem: &str| Ec2Error::Unfit {
            ami: image.id.clone(),
            problem: problem.to_owned(),
        };
        if image.state != "available" {
            return Err(unfit(&format!("it is {}", image.state)));
        }
        let snapshot = image.root_snapshot();
        let snapshot = snapshot.ok_or_else(|| unfit("its root is not an EBS volume"))?;
        Ok(Self {
            pinned: lock::LockedAmi {
                region: region.name().to_owned(),
                id: image.id.clone(),
                snapshot: snapshot.to_owned(),
            },
            manifest: image.tag(MANIFEST).and_then(|id| id.parse().ok()),
            size: image.root_size().unwrap_or_default() * GIB,
            name: image.name,
            root_device: image.root_device_name,
            boot_mode: image.boot_mode,
        })
    }

    /// What a lock says of it.
    #[must_use]
    pub fn locked(&self) -> lock::LockedBase {
        let base = self.recorded();
        lock::LockedBase {
            digest: base.digest,
            size: base.size,
            ami: Some(self.pinned.clone()),
        }
    }

    /// What a manifest says of it.
    #[must_use]
    pub fn recorded(&self) -> manifest::Base {
        let lock::LockedAmi {
            region,
            id,
            snapshot,
        } = &self.pinned;
        manifest_inputs::base_of_ami(region, id, snapshot, self.size)
    }

    /// How its instances boot.
    #[must_use]
    pub fn firmware(&self, arch: Arch) -> Firmware {
        match (arch, self.boot_mode.as_deref()) {
            (Arch::X86_64, None | Some("legacy-bios")) => Firmware::Bios,
            // Instances of today's types boot by UEFI where that is preferred.
            _ => Firmware::Uefi,
        }
    }
}

/// AWS's name of an architecture.
#[must_use]
pub fn architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "x86_64",
        Arch::Aarch64 => "arm64",
    }
}

/// Finds the AMI. `pinned` is the one of the lock; with `locked` no other will do.
///
/// # Errors
/// None will do, or the principal may not ask.
pub async fn find(
    wanted: &plan::Ami,
    arch: Arch,
    region: &Region,
    of_lock: Option<&lock::LockedAmi>,
    locked: Option<&Path>,
    ui: &Ui,
) -> Result<Ami, Ec2Error> {
    if let Some(of_lock) = of_lock {
        if let Some(ami) = pinned(wanted, arch, region, of_lock).await? {
            return Ok(ami);
        }
        let ami = format!("{} in {}", of_lock.id, of_lock.region);
        if let Some(path) = locked {
            let path = path.to_owned();
            return Err(Ec2Error::NotLocked { path, ami });
        }
        let text = "the lock names, is gone or not what [base.ami] asks for: another one is taken";
        ui.note(&format!("{ami}, which {text}"));
    }
    let ami = newest(wanted, arch, region).await?;
    ui.note(&format!("base: {} ({})", ami.pinned.id, ami.name));
    Ok(ami)
}

/// The AMI of a lock, while it is there and what the template asks for.
///
/// # Errors
/// It is for other machines, or the principal may not ask.
pub async fn pinned(
    wanted: &plan::Ami,
    arch: Arch,
    region: &Region,
    of_lock: &lock::LockedAmi,
) -> Result<Option<Ami>, Ec2Error> {
    let Some(image) = still_there(wanted, region, of_lock).await? else {
        return Ok(None);
    };
    Ami::of(check(image, arch)?, region).map(Some)
}

/// The AMI that the template names, or the newest that it asks for, whatever a lock says.
///
/// # Errors
/// None will do, or the principal may not ask.
pub async fn newest(wanted: &plan::Ami, arch: Arch, region: &Region) -> Result<Ami, Ec2Error> {
    let image = match wanted {
        plan::Ami::Id(id) => region.image(id).await?,
        plan::Ami::Newest { owners, filters } => {
            let filters = searched(filters, arch);
            let found = newest_of(owners, &filters, region).await?;
            found.ok_or_else(|| Ec2Error::NoAmi {
                region: region.name().to_owned(),
                asked: asked(owners, &filters),
            })?
        }
    };
    Ami::of(check(image, arch)?, region)
}

fn asked(owners: &[String], filters: &[Filter]) -> String {
    let filters: Vec<_> = filters.iter().map(ToString::to_string).collect();
    format!("owner {}, {}", owners.join(" or "), filters.join(", "))
}

/// The AMI of a lock, while it is still what the template asks for.
async fn still_there(
    wanted: &plan::Ami,
    region: &Region,
    pinned: &lock::LockedAmi,
) -> Result<Option<Image>, Ec2Error> {
    if pinned.region != region.name() {
        return Ok(None);
    }
    let found = match wanted {
        plan::Ami::Id(id) if *id != pinned.id => return Ok(None),
        plan::Ami::Id(id) => match region.image(id).await {
            Err(error) if error.is_not_found() => None,
            image => Some(image?),
        },
        plan::Ami::Newest { owners, filters } => {
            let mut narrowed: Vec<_> = filters
                .iter()
                .map(|(name, values)| Filter::new(name, values))
                .collect();
            narrowed.push(Filter::new("image-id", [&pinned.id]));
            let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
            region.images(&owners, &narrowed).await?.into_iter().next()
        }
    };
    Ok(found.filter(|it| {
        it.state == "available" && it.root_snapshot() == Some(pinned.snapshot.as_str())
    }))
}

/// What is searched by: what the template says, and that it can be launched here.
fn searched(filters: &std::collections::BTreeMap<String, Vec<String>>, arch: Arch) -> Vec<Filter> {
    let own = [
        ("state", "available"),
        ("architecture", architecture(arch)),
        ("root-device-type", "ebs"),
    ];
    let own = own.iter().filter(|(name, _)| !filters.contains_key(*name));
    let own = own.map(|(name, value)| Filter::new(*name, [*value]));
    let asked = filters
        .iter()
        .map(|(name, values)| Filter::new(name, values));
    asked.chain(own).collect()
}

async fn newest_of(
    owners: &[String],
    filters: &[Filter],
    region: &Region,
) -> Result<Option<Image>, Ec2Error> {
    let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
    let found = region.images(&owners, filters).await?.into_iter();
    // All dates have the same form. Two of one second are told apart by id, so that two builds choose the same.
    let age = |it: &Image| (it.creation_date.clone(), it.id.clone());
    Ok(found.max_by_key(age))
}

fn check(image: Image, arch: Arch) -> Result<Image, Ec2Error> {
    if image.architecture == architecture(arch) {
        return Ok(image);
    }
    Err(Ec2Error::Unfit {
        problem: format!(
            "it is for {}, and the instance is {}",
            image.architecture,
            architecture(arch)
        ),
        ami: image.id,
    })
}
