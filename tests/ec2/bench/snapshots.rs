//! EC2's calls about snapshots.

use std::collections::BTreeSet;
use std::sync::Arc;

use karat::time::Timestamp;

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::filters::{self, Filter};
use super::store::Blocks;
use super::world::{Instance, Progress, Snapshot, Tags};
use super::xml::Node;
use super::{Inner, image_attributes, tags};

/// What is filtered by, besides tags.
const FILTERS: [&str; 7] = [
    "snapshot-id",
    "owner-id",
    "status",
    "description",
    "volume-id",
    "volume-size",
    "encrypted",
];

pub fn describe(inner: &Inner, call: &Call) -> Outcome {
    let world = inner.world.lock().unwrap();
    let asked = call.form.list("SnapshotId");
    for id in &asked {
        world.snapshot(id, &call.account, &call.region)?;
    }
    let owners = call.form.list("Owner");
    let filters = filters::by(&call.form, &FILTERS)?;
    let is_meant = |snapshot: &&Snapshot| {
        let is_owner = |owner: &String| {
            *owner == snapshot.owner || (owner == "self" && snapshot.owner == call.account)
        };
        snapshot.region == call.region
            && snapshot.is_visible_to(&call.account)
            && (asked.is_empty() || asked.contains(&snapshot.id))
            && (owners.is_empty() || owners.iter().any(is_owner))
            && filters.iter().all(|filter| matches(snapshot, filter))
    };
    let found = world.snapshots.values().filter(is_meant).map(nodes);
    let (page, next) = filters::page(&call.form, found.collect());
    let mut children = vec![Node::set("snapshotSet", page)];
    children.extend(next);
    Ok(Answer::xml(&call.action, children))
}

fn matches(snapshot: &Snapshot, filter: &Filter) -> bool {
    if let Some(has) = filters::tagged(&filter.name, &snapshot.tags) {
        return filter.takes(&has);
    }
    let has = match filter.name.as_str() {
        "snapshot-id" => snapshot.id.clone(),
        "owner-id" => snapshot.owner.clone(),
        "status" => snapshot.status().to_owned(),
        "description" => snapshot.description.clone(),
        "volume-id" => snapshot.volume.clone(),
        "volume-size" => snapshot.gib.to_string(),
        "encrypted" => snapshot.encrypted.to_string(),
        _ => return false,
    };
    filter.takes(&[has])
}

fn nodes(snapshot: &Snapshot) -> Vec<Node> {
    let mut nodes = vec![
        Node::text("snapshotId", &snapshot.id),
        Node::text("volumeId", &snapshot.volume),
        Node::text("status", snapshot.status()),
        Node::text("startTime", &snapshot.started),
        Node::text(
            "progress",
            if snapshot.status() == "completed" {
                "100%"
            } else {
                "0%"
            },
        ),
        Node::text("ownerId", &snapshot.owner),
        Node::text("volumeSize", snapshot.gib),
        Node::text("description", &snapshot.description),
        Node::text("encrypted", snapshot.encrypted),
        Node::text("storageTier", "standard"),
    ];
    nodes.extend(tags::node(&snapshot.tags));
    if snapshot.status() == "error" {
        nodes.push(Node::text("statusMessage", "the snapshot failed"));
    }
    nodes
}

/// A snapshot of a volume that has these bytes.
pub fn of_volume(
    call: &Call,
    volume: &(String, String, u64),
    description: &str,
    blocks: Blocks,
    progress: Progress,
    tags: Tags,
) -> Snapshot {
    Snapshot {
        id: super::id::resource("snap"),
        owner: call.account.clone(),
        region: call.region.clone(),
        description: description.to_owned(),
        gib: volume.2,
        progress,
        blocks,
        written: BTreeSet::new(),
        parent: None,
        direct: false,
        tags,
        encrypted: false,
        volume: volume.0.clone(),
        started: Timestamp::now().to_string(),
        shared: BTreeSet::new(),
    }
}

/// `CreateSnapshot` answers at once; the bytes are those of the disk as it is then.
pub async fn create(inner: &Arc<Inner>, call: &Call, fails: bool) -> Outcome {
    let id = call.form.text("VolumeId").to_owned();
    let (volume, instance) = {
        let world = inner.world.lock().unwrap();
        let mut found = world.instances.values().filter_map(|instance| {
            let volume = instance.volumes.iter().find(|volume| volume.0 == id)?;
            let is_ours = instance.owner == call.account && instance.region == call.region;
            is_ours.then(|| (volume.clone(), instance.id.clone()))
        });
        found.next().ok_or_else(|| {
            let message = format!("The volume '{id}' does not exist.");
            Refusal::new("InvalidVolume.NotFound", message)
        })?
    };
    let exists = Call::ec2(
        &call.account,
        &call.region,
        "DescribeVolumes",
        &[("VolumeId.1", &id)],
    );
    let exists = inner.ask(&exists).await;
    if exists.status != 200 {
        return Ok(exists);
    }
    let tags = tags::specified(&call.form, "snapshot");
    let snapshot = of_volume(
        call,
        &volume,
        call.form.text("Description"),
        Blocks::new(),
        Progress::Open,
        tags,
    );
    let answer = Answer::xml(&call.action, nodes(&snapshot));
    let made = snapshot.id.clone();
    inner
        .world
        .lock()
        .unwrap()
        .snapshots
        .insert(made.clone(), snapshot);
    let (inner, delay) = (Arc::clone(inner), inner.delay(&call.account));
    tokio::spawn(async move {
        let blocks = bytes(&inner, &instance, &volume.1).await;
        let mut world = inner.world.lock().unwrap();
        if let Some(snapshot) = world.snapshots.get_mut(&made) {
            snapshot.blocks = blocks;
            snapshot.progress = Progress::after(delay, fails);
        }
    });
    Ok(answer)
}

/// What a volume of an instance holds: its guest's disk, or what its image has.
pub async fn bytes(inner: &Arc<Inner>, instance: &str, device: &str) -> Blocks {
    let path = {
        let world = inner.world.lock().unwrap();
        let instance = &world.instances[instance];
        let disk = inner.disk(&instance.owner, &instance.id);
        if !disk.is_some_and(|disk| disk.exists()) || device != root_of(&world, instance) {
            return of_image(&world, instance, device);
        }
        inner.disk(&instance.owner, &instance.id)
    };
    let inner = Arc::clone(inner);
    let read = tokio::task::spawn_blocking(move || {
        let disk = std::fs::File::open(path?).ok()?;
        Some(inner.store.lock().unwrap().read_disk(&disk))
    });
    read.await.ok().flatten().unwrap_or_default()
}

fn root_of(world: &super::world::World, instance: &Instance) -> String {
    let image = world.images.get(&instance.image);
    image.map(|image| image.root.clone()).unwrap_or_default()
}

fn of_image(world: &super::world::World, instance: &Instance, device: &str) -> Blocks {
    let image = world.images.get(&instance.image);
    let device = image.and_then(|image| image.devices.iter().find(|has| has.name == device));
    let snapshot = device.and_then(|device| device.snapshot.as_ref());
    let snapshot = snapshot.and_then(|id| world.snapshots.get(id));
    snapshot
        .map(|snapshot| snapshot.blocks.clone())
        .unwrap_or_default()
}

pub fn delete(inner: &Inner, call: &Call) -> Outcome {
    let id = call.form.text("SnapshotId");
    let mut world = inner.world.lock().unwrap();
    world.own_snapshot(id, &call.account, &call.region)?;
    let user = world.images.values().find(|image| {
        let has = |device: &super::world::Device| device.snapshot.as_deref() == Some(id);
        !image.deregistered && image.devices.iter().any(has)
    });
    if let Some(image) = user {
        let message = format!("The snapshot {id} is currently in use by {}", image.id);
        return Err(Refusal::new("InvalidSnapshot.InUse", message));
    }
    world.snapshots.remove(id);
    Ok(Answer::done(&call.action))
}

pub fn modify_attribute(inner: &Inner, call: &Call) -> Outcome {
    let changes = image_attributes::shares(&call.form, "CreateVolumePermission")?;
    let id = call.form.text("SnapshotId");
    let mut world = inner.world.lock().unwrap();
    let snapshot = world.own_snapshot(id, &call.account, &call.region)?;
    if changes.iter().any(|(_, with)| with.starts_with("arn:")) {
        let message = "Snapshots are shared with accounts";
        return Err(Refusal::new("InvalidParameterValue", message));
    }
    if snapshot.encrypted && changes.contains(&(true, "all".to_owned())) {
        let message = "Encrypted snapshots cannot be shared with everybody";
        return Err(Refusal::new("OperationNotPermitted", message));
    }
    image_attributes::apply(&mut snapshot.shared, changes);
    Ok(Answer::done(&call.action))
}

pub fn describe_attribute(inner: &Inner, call: &Call) -> Outcome {
    let id = call.form.text("SnapshotId");
    let mut world = inner.world.lock().unwrap();
    let snapshot = world.own_snapshot(id, &call.account, &call.region)?;
    let children = vec![
        Node::text("snapshotId", id),
        image_attributes::shared_node("createVolumePermission", &snapshot.shared),
    ];
    Ok(Answer::xml(&call.action, children))
}
