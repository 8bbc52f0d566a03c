//! Copies of images and snapshots, into another region mostly.

use super::Inner;
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::world::{Device, Image, Progress, Snapshot, World};
use super::xml::Node;
use super::{register, tags};

pub fn image(inner: &Inner, call: &Call, fails: bool) -> Outcome {
    let progress = Progress::after(inner.delay(&call.account), fails);
    let mut world = inner.world.lock().unwrap();
    let (id, region) = (
        call.form.text("SourceImageId"),
        call.form.text("SourceRegion"),
    );
    register::check_name(&world, call, call.form.text("Name"))?;
    let source = world.image(id, &call.account, region)?.clone();
    if source.state() != "available" {
        let message = format!("The image '{id}' is not available");
        return Err(Refusal::new("InvalidAMIID.Unavailable", message));
    }
    for id in source
        .devices
        .iter()
        .filter_map(|device| device.snapshot.as_ref())
    {
        if !world
            .snapshots
            .get(id)
            .is_some_and(|snapshot| snapshot.is_visible_to(&call.account))
        {
            let message = "You do not have permission to access the storage of this ami";
            return Err(Refusal::new("InvalidRequest", message));
        }
    }
    let mut copy = Image {
        description: call
            .form
            .get("Description")
            .unwrap_or(&source.description)
            .to_owned(),
        devices: Vec::new(),
        source: Some((source.id.clone(), region.to_owned())),
        architecture: source.architecture.clone(),
        boot_mode: source.boot_mode.clone(),
        imds: source.imds.clone(),
        tpm: source.tpm.clone(),
        ena: source.ena,
        root: source.root.clone(),
        ..register::blank(call, call.form.text("Name"), progress)
    };
    if call.form.is_true("CopyImageTags") && source.owner == call.account {
        for (key, value) in &source.tags {
            copy.tags
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
    }
    for device in &source.devices {
        let snapshot = match &device.snapshot {
            Some(id) => {
                let description = format!(
                    "Copied for DestinationAmi {} from SourceAmi {}",
                    copy.id, source.id
                );
                Some(bytes(&mut world, call, id, description, progress)?)
            }
            None => None,
        };
        copy.devices.push(Device {
            snapshot,
            encrypted: device.encrypted || call.form.is_true("Encrypted"),
            ..device.clone()
        });
    }
    let answer = Answer::xml(&call.action, vec![Node::text("imageId", &copy.id)]);
    world.images.insert(copy.id.clone(), copy);
    Ok(answer)
}

pub fn snapshot(inner: &Inner, call: &Call, fails: bool) -> Outcome {
    let progress = Progress::after(inner.delay(&call.account), fails);
    let mut world = inner.world.lock().unwrap();
    let (id, region) = (
        call.form.text("SourceSnapshotId"),
        call.form.text("SourceRegion"),
    );
    let source = world.snapshot(id, &call.account, region)?;
    if source.status() != "completed" {
        let message = format!("The snapshot '{id}' is not completed");
        return Err(Refusal::new("IncorrectState", message));
    }
    let description = call.form.text("Description").to_owned();
    let copy = bytes(&mut world, call, id, description, progress)?;
    Ok(Answer::xml(
        &call.action,
        vec![Node::text("snapshotId", copy)],
    ))
}

/// A snapshot of the caller's with the same bytes, where the caller is.
fn bytes(
    world: &mut World,
    call: &Call,
    id: &str,
    description: String,
    progress: Progress,
) -> Result<String, Refusal> {
    let Some(source) = world.snapshots.get(id) else {
        let message = format!("The snapshot '{id}' does not exist.");
        return Err(Refusal::new("InvalidSnapshot.NotFound", message));
    };
    let copy = Snapshot {
        id: super::id::resource("snap"),
        owner: call.account.clone(),
        region: call.region.clone(),
        description,
        progress,
        parent: None,
        direct: false,
        encrypted: source.encrypted || call.form.is_true("Encrypted"),
        tags: tags::specified(&call.form, "snapshot"),
        shared: std::collections::BTreeSet::new(),
        volume: "vol-ffffffff".to_owned(),
        ..source.clone()
    };
    let made = copy.id.clone();
    world.snapshots.insert(made.clone(), copy);
    Ok(made)
}
