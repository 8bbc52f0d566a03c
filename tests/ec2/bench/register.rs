//! How images come to be: registered with snapshots, or made of an instance.

use std::collections::BTreeSet;
use std::sync::Arc;

use karat::time::Timestamp;

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::form::Form;
use super::store::Blocks;
use super::world::{Device, Image, Instance, Progress, State, World};
use super::xml::Node;
use super::{Inner, instances, snapshots, tags};

/// EC2's rule for names of images.
const NAME_LENGTH: std::ops::RangeInclusive<usize> = 3..=128;
const NAME_SIGNS: &str = "()[] ./-'@_";

/// Refuses a name that EC2 does not take, or that the account has already.
pub fn check_name(world: &World, call: &Call, name: &str) -> Result<(), Refusal> {
    let is_good = |sign: char| sign.is_ascii_alphanumeric() || NAME_SIGNS.contains(sign);
    if !NAME_LENGTH.contains(&name.len()) || !name.chars().all(is_good) {
        let message = "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', '-', '/' and '_'";
        return Err(Refusal::new("InvalidAMIName.Malformed", message));
    }
    let has = |image: &&Image| {
        !image.deregistered
            && image.owner == call.account
            && image.region == call.region
            && image.name == name
    };
    match world.images.values().find(has) {
        None => Ok(()),
        Some(image) => {
            let message = format!("AMI name {name} is already in use by AMI {}", image.id);
            Err(Refusal::new("InvalidAMIName.Duplicate", message))
        }
    }
}

/// An image of the caller's, with what EC2 assumes.
pub fn blank(call: &Call, name: &str, progress: Progress) -> Image {
    Image {
        id: super::id::resource("ami"),
        owner: call.account.clone(),
        region: call.region.clone(),
        name: name.to_owned(),
        description: call.form.text("Description").to_owned(),
        architecture: "i386".to_owned(),
        boot_mode: None,
        imds: None,
        tpm: None,
        ena: false,
        root: String::new(),
        devices: Vec::new(),
        progress,
        tags: tags::specified(&call.form, "image"),
        created: Timestamp::now().to_string().replace('Z', ".000Z"),
        shared: BTreeSet::new(),
        deprecated: None,
        protection: "disabled",
        disabled: false,
        source: None,
        deregistered: false,
    }
}

fn one_of(form: &Form, name: &str, allowed: &[&str]) -> Result<Option<String>, Refusal> {
    match form.get(name) {
        Some(value) if !allowed.contains(&value) => {
            let message = format!("Value ({value}) for parameter {name} is invalid.");
            Err(Refusal::new("InvalidParameterValue", message))
        }
        value => Ok(value.map(str::to_owned)),
    }
}

pub fn register(inner: &Inner, call: &Call, fails: bool) -> Outcome {
    let progress = Progress::after(inner.delay(&call.account), fails);
    let mut world = inner.world.lock().unwrap();
    let form = &call.form;
    check_name(&world, call, form.text("Name"))?;
    let mut image = blank(call, form.text("Name"), progress);
    let architectures = ["i386", "x86_64", "arm64", "x86_64_mac", "arm64_mac"];
    if let Some(architecture) = one_of(form, "Architecture", &architectures)? {
        image.architecture = architecture;
    }
    image.boot_mode = one_of(form, "BootMode", &["legacy-bios", "uefi", "uefi-preferred"])?;
    image.imds = one_of(form, "ImdsSupport", &["v2.0"])?;
    image.tpm = one_of(form, "TpmSupport", &["v2.0"])?;
    one_of(form, "VirtualizationType", &["hvm"])?;
    if form.get("VirtualizationType").is_none() {
        let message = "Paravirtual images need a kernel; ask for hvm";
        return Err(Refusal::new("InvalidParameterCombination", message));
    }
    image.ena = form.is_true("EnaSupport");
    let root = form.get("RootDeviceName").unwrap_or("/dev/sda1");
    root.clone_into(&mut image.root);
    for mapping in form.groups("BlockDeviceMapping") {
        image.devices.push(device(&world, call, &mapping)?);
    }
    if image
        .root_device()
        .is_none_or(|root| root.snapshot.is_none())
    {
        let message = "The request must contain a snapshot of the root device";
        return Err(Refusal::new("InvalidBlockDeviceMapping", message));
    }
    let answer = Answer::xml(&call.action, vec![Node::text("imageId", &image.id)]);
    world.images.insert(image.id.clone(), image);
    Ok(answer)
}

fn device(world: &World, call: &Call, mapping: &Form) -> Result<Device, Refusal> {
    let snapshot = mapping.get("Ebs.SnapshotId").map(str::to_owned);
    let size = mapping
        .get("Ebs.VolumeSize")
        .and_then(|size| size.parse().ok());
    let (mut least, mut encrypted) = (1, mapping.is_true("Ebs.Encrypted"));
    if let Some(id) = &snapshot {
        let snapshot = world.snapshot(id, &call.account, &call.region)?;
        if snapshot.status() != "completed" {
            let message = format!("The snapshot '{id}' is not completed");
            return Err(Refusal::new("IncorrectState", message));
        }
        (least, encrypted) = (snapshot.gib, snapshot.encrypted);
    }
    let gib = size.unwrap_or(least);
    if gib < least {
        return Err(too_small(gib, least, snapshot.as_deref()));
    }
    Ok(Device {
        name: mapping.text("DeviceName").to_owned(),
        snapshot,
        gib,
        kind: mapping.get("Ebs.VolumeType").unwrap_or("gp2").to_owned(),
        delete: mapping.get("Ebs.DeleteOnTermination") != Some("false"),
        encrypted,
    })
}

/// A volume has to hold its snapshot.
pub fn too_small(gib: u64, least: u64, snapshot: Option<&str>) -> Refusal {
    let snapshot = snapshot.unwrap_or_default();
    let message = format!(
        "Volume of size {gib}GB is smaller than snapshot '{snapshot}', expect size >= {least}GB"
    );
    Refusal::new("InvalidBlockDeviceMapping", message)
}

/// `CreateImage` answers at once. It stops a running guest for its snapshots, unless it shall not.
pub fn create(inner: &Arc<Inner>, call: &Call, fails: bool) -> Outcome {
    let delay = inner.delay(&call.account);
    let instance = call.form.text("InstanceId").to_owned();
    let (image, parts) = begin(&mut inner.world.lock().unwrap(), call, &instance)?;
    let answer = Answer::xml(&call.action, vec![Node::text("imageId", &image)]);
    let (inner, stop) = (Arc::clone(inner), !call.form.is_true("NoReboot"));
    tokio::spawn(async move {
        let was_stopped = stop && instances::pause(&inner, &instance).await;
        for (snapshot, device) in parts {
            let blocks = snapshots::bytes(&inner, &instance, &device).await;
            let mut world = inner.world.lock().unwrap();
            if let Some(snapshot) = world.snapshots.get_mut(&snapshot) {
                snapshot.blocks = blocks;
                snapshot.progress = Progress::after(delay, fails);
            }
        }
        if let Some(image) = inner.world.lock().unwrap().images.get_mut(&image) {
            image.progress = Progress::after(delay, fails);
        }
        if was_stopped {
            instances::resume(&inner, &instance);
        }
    });
    Ok(answer)
}

/// Snapshots that are to be filled, and the device that each is of.
type Parts = Vec<(String, String)>;

/// Enters the image and its snapshots, all of them pending.
fn begin(world: &mut World, call: &Call, id: &str) -> Result<(String, Parts), Refusal> {
    check_name(world, call, call.form.text("Name"))?;
    let is_ours =
        |instance: &&mut Instance| instance.owner == call.account && instance.region == call.region;
    let found = world.instances.get_mut(id).filter(is_ours);
    let instance = found.ok_or_else(|| instances::no_instance(id))?;
    if !matches!(instance.state(), State::Running | State::Stopped) {
        let message = format!("The instance '{id}' is not in the 'running' or 'stopped' states.");
        return Err(Refusal::new("IncorrectState", message));
    }
    let volumes = instance.volumes.clone();
    let base = world.images[&instance.image].clone();
    let mut image = Image {
        architecture: base.architecture,
        boot_mode: base.boot_mode,
        imds: base.imds,
        tpm: base.tpm,
        ena: base.ena,
        root: base.root,
        source: Some((base.id, call.region.clone())),
        ..blank(call, call.form.text("Name"), Progress::Open)
    };
    let mut parts = Parts::new();
    for volume in &volumes {
        let description = format!("Created by CreateImage({id}) for {}", image.id);
        let tags = tags::specified(&call.form, "snapshot");
        let (blocks, progress) = (Blocks::new(), Progress::Open);
        let snapshot = snapshots::of_volume(call, volume, &description, blocks, progress, tags);
        image.devices.push(Device {
            name: volume.1.clone(),
            snapshot: Some(snapshot.id.clone()),
            gib: volume.2,
            kind: "gp2".to_owned(),
            delete: true,
            encrypted: false,
        });
        parts.push((snapshot.id.clone(), volume.1.clone()));
        world.snapshots.insert(snapshot.id.clone(), snapshot);
    }
    let made = image.id.clone();
    world.images.insert(made.clone(), image);
    Ok((made, parts))
}
