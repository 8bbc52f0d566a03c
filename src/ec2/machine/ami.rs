//! AMI that a build starts from: the one that the template or the lock file names, or the newest that matches.

use std::path::Path;

use super::Ec2Error;
use crate::ec2::client::Region;
use crate::ec2::client::ec2::{Filter, Image, images};
use crate::ec2::client::run_tags::MANIFEST;
use crate::plan::{self, Arch, Firmware};
use crate::record::lock;
use crate::record::manifest::{self, ManifestId};
use crate::size::GIB;
use crate::ui::Ui;

/// AMI to start a build from.
#[derive(Clone, Debug)]
pub struct BaseAmi {
    /// Region, id and snapshot, which identify it for good.
    pub pinned: lock::LockedAmi,
    pub name: String,
    /// Size of its root volume, in bytes.
    pub size: u64,
    /// Device that holds its system.
    pub root_device: String,
    /// AWS's name of its boot mode.
    pub boot_mode: Option<String>,
    /// Id of the karat image that it was made from, by its tag.
    pub manifest: Option<ManifestId>,
}

impl BaseAmi {
    /// Extracts what a launch needs. Refuses an AMI that is not available or whose root is not an EBS volume.
    pub fn from_image(image: Image, region: &Region) -> Result<Self, Ec2Error> {
        let unfit = |problem: &str| Ec2Error::Unfit {
            ami: image.id.clone(),
            problem: problem.to_owned(),
        };
        if image.state != "available" {
            return Err(unfit(&format!("it is {}", image.state)));
        }
        let Some(snapshot) = image.root_snapshot() else {
            return Err(unfit("its root is not an EBS volume"));
        };
        Ok(Self {
            pinned: lock::LockedAmi {
                region: region.name().to_owned(),
                id: image.id.clone(),
                snapshot: snapshot.to_owned(),
            },
            manifest: image.tags.get(MANIFEST).and_then(|id| id.parse().ok()),
            size: image.root_size().unwrap_or_default() * GIB,
            name: image.name,
            root_device: image.root_device_name,
            boot_mode: image.boot_mode,
        })
    }

    /// Returns its entry in a lock file.
    pub fn locked(&self) -> lock::LockedBase {
        let base = self.recorded();
        lock::LockedBase {
            digest: base.digest,
            size: base.size,
            ami: Some(self.pinned.clone()),
        }
    }

    /// Returns its entry in a manifest.
    pub fn recorded(&self) -> manifest::Base {
        let lock::LockedAmi {
            region,
            id,
            snapshot,
        } = &self.pinned;
        manifest::Base::of_ami(region, id, snapshot, self.size)
    }

    /// Returns the firmware that its instances boot with.
    pub fn firmware(&self, arch: Arch) -> Firmware {
        match (arch, self.boot_mode.as_deref()) {
            (Arch::X86_64, None | Some("legacy-bios")) => Firmware::Bios,
            // Current instance types boot with UEFI where that is preferred.
            _ => Firmware::Uefi,
        }
    }
}

/// Returns AWS's name of an architecture.
pub fn architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "x86_64",
        Arch::Aarch64 => "arm64",
    }
}

/// Finds the AMI to build on: the locked one while it matches the template, or else the newest that does. With `locked`, the
/// path of the lock file, only the locked one is accepted.
pub async fn find_ami(
    wanted: &plan::Ami,
    arch: Arch,
    region: &Region,
    of_lock: Option<&lock::LockedAmi>,
    locked: Option<&Path>,
    ui: &Ui,
) -> Result<BaseAmi, Ec2Error> {
    if let Some(of_lock) = of_lock {
        if let Some(ami) = pinned_ami(wanted, arch, region, of_lock).await? {
            return Ok(ami);
        }
        let ami = format!("{} in {}", of_lock.id, of_lock.region);
        if let Some(path) = locked {
            let path = path.to_owned();
            return Err(Ec2Error::NotLocked { path, ami });
        }
        ui.note(&format!(
            "the locked AMI {ami} is gone or does not match [base.ami]: using another one"
        ));
    }
    let ami = newest_ami(wanted, arch, region).await?;
    ui.note(&format!("base: {} ({})", ami.pinned.id, ami.name));
    Ok(ami)
}

/// Returns the locked AMI if it still exists and matches the template.
pub async fn pinned_ami(
    wanted: &plan::Ami,
    arch: Arch,
    region: &Region,
    of_lock: &lock::LockedAmi,
) -> Result<Option<BaseAmi>, Ec2Error> {
    match find_pinned(wanted, region, of_lock).await? {
        Some(image) => BaseAmi::from_image(check_architecture(image, arch)?, region).map(Some),
        None => Ok(None),
    }
}

/// Returns the AMI that the template names, or the newest that matches it, regardless of a lock file.
pub async fn newest_ami(
    wanted: &plan::Ami,
    arch: Arch,
    region: &Region,
) -> Result<BaseAmi, Ec2Error> {
    let image = match wanted {
        plan::Ami::Id(id) => images::get(region, id).await?,
        plan::Ami::Newest { owners, filters } => {
            let filters = search_filters(filters, arch);
            let found = newest_of(owners, &filters, region).await?;
            found.ok_or_else(|| Ec2Error::NoAmi {
                region: region.name().to_owned(),
                asked: describe_search(owners, &filters),
            })?
        }
    };
    BaseAmi::from_image(check_architecture(image, arch)?, region)
}

fn describe_search(owners: &[String], filters: &[Filter]) -> String {
    let filters: Vec<_> = filters.iter().map(ToString::to_string).collect();
    format!("owner {}, {}", owners.join(" or "), filters.join(", "))
}

async fn find_pinned(
    wanted: &plan::Ami,
    region: &Region,
    pinned: &lock::LockedAmi,
) -> Result<Option<Image>, Ec2Error> {
    if pinned.region != region.name() {
        return Ok(None);
    }
    let found = match wanted {
        plan::Ami::Id(id) if *id != pinned.id => return Ok(None),
        plan::Ami::Id(id) => match images::get(region, id).await {
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
            images::list(region, &owners, &narrowed)
                .await?
                .into_iter()
                .next()
        }
    };
    Ok(found.filter(|image| {
        image.state == "available" && image.root_snapshot() == Some(pinned.snapshot.as_str())
    }))
}

/// Adds to the filters of the template that the AMI can be launched here.
fn search_filters(
    filters: &std::collections::BTreeMap<String, Vec<String>>,
    arch: Arch,
) -> Vec<Filter> {
    let own = [
        ("state", "available"),
        ("architecture", architecture(arch)),
        ("root-device-type", "ebs"),
    ];
    let own = own
        .iter()
        .filter(|(name, _)| !filters.contains_key(*name))
        .map(|(name, value)| Filter::new(*name, [*value]));
    let of_template = filters
        .iter()
        .map(|(name, values)| Filter::new(name, values));
    of_template.chain(own).collect()
}

async fn newest_of(
    owners: &[String],
    filters: &[Filter],
    region: &Region,
) -> Result<Option<Image>, Ec2Error> {
    let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
    let found = images::list(region, &owners, filters).await?.into_iter();
    // All dates have the same form. The id decides between two of the same second, so that two builds choose the same AMI.
    let age = |image: &Image| (image.creation_date.clone(), image.id.clone());
    Ok(found.max_by_key(age))
}

fn check_architecture(image: Image, arch: Arch) -> Result<Image, Ec2Error> {
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
