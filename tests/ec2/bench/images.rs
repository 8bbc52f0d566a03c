//! Images as `DescribeImages` shows them, and their end.

use super::Inner;
use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::filters::{self, Filter};
use super::tags;
use super::world::{Device, Image};
use super::xml::Node;

/// What is filtered by, besides tags.
const FILTERS: [&str; 13] = [
    "image-id",
    "name",
    "description",
    "owner-id",
    "state",
    "architecture",
    "root-device-name",
    "root-device-type",
    "virtualization-type",
    "image-type",
    "is-public",
    "boot-mode",
    "block-device-mapping.snapshot-id",
];

pub fn describe(inner: &Inner, call: &Call) -> Outcome {
    let world = inner.world.lock().unwrap();
    let asked = call.form.list("ImageId");
    for id in &asked {
        world.image(id, &call.account, &call.region)?;
    }
    let owners = call.form.list("Owner");
    let users = call.form.list("ExecutableBy");
    let filters = filters::by(&call.form, &FILTERS)?;
    let is_meant = |image: &&Image| {
        let is_owner = |owner: &String| {
            *owner == image.owner || (owner == "self" && image.owner == call.account)
        };
        let may_run = |user: &String| {
            let user = if user == "self" { &call.account } else { user };
            image.shared.contains(user)
        };
        image.is_visible_to(&call.account, &call.region)
            && (asked.is_empty() || asked.contains(&image.id))
            && (owners.is_empty() || owners.iter().any(is_owner))
            && (users.is_empty() || users.iter().any(may_run))
            && (!image.disabled || !asked.is_empty() || call.form.is_true("IncludeDisabled"))
            && filters.iter().all(|filter| matches(image, filter))
    };
    let found = world.images.values().filter(is_meant).map(nodes);
    let (page, next) = filters::page(&call.form, found.collect());
    let mut children = vec![Node::set("imagesSet", page)];
    children.extend(next);
    Ok(Answer::xml(&call.action, children))
}

fn matches(image: &Image, filter: &Filter) -> bool {
    if let Some(has) = filters::tagged(&filter.name, &image.tags) {
        return filter.takes(&has);
    }
    let has = match filter.name.as_str() {
        "image-id" => image.id.clone(),
        "name" => image.name.clone(),
        "description" => image.description.clone(),
        "owner-id" => image.owner.clone(),
        "state" => image.state().to_owned(),
        "architecture" => image.architecture.clone(),
        "root-device-name" => image.root.clone(),
        "root-device-type" => "ebs".to_owned(),
        "virtualization-type" => "hvm".to_owned(),
        "image-type" => "machine".to_owned(),
        "is-public" => image.shared.contains("all").to_string(),
        "boot-mode" => image.boot_mode.clone().unwrap_or_default(),
        "block-device-mapping.snapshot-id" => {
            let ids = image
                .devices
                .iter()
                .filter_map(|device| device.snapshot.clone());
            return filter.takes(&ids.collect::<Vec<_>>());
        }
        _ => return false,
    };
    filter.takes(&[has])
}

fn nodes(image: &Image) -> Vec<Node> {
    let mut nodes = vec![
        Node::text("imageId", &image.id),
        Node::text("imageLocation", format!("{}/{}", image.owner, image.name)),
        Node::text("imageState", image.state()),
        Node::text("imageOwnerId", &image.owner),
        Node::text("creationDate", &image.created),
        Node::text("isPublic", image.shared.contains("all")),
        Node::text("architecture", &image.architecture),
        Node::text("imageType", "machine"),
        Node::text("name", &image.name),
        Node::text("description", &image.description),
        Node::text("rootDeviceType", "ebs"),
        Node::text("rootDeviceName", &image.root),
        Node::set("blockDeviceMapping", image.devices.iter().map(device)),
        Node::text("virtualizationType", "hvm"),
        Node::text("hypervisor", "xen"),
        Node::text("enaSupport", image.ena),
        Node::text("platformDetails", "Linux/UNIX"),
        Node::text("usageOperation", "RunInstances"),
        Node::text("deregistrationProtection", image.protection),
    ];
    nodes.extend(tags::node(&image.tags));
    let (from, region) = image.source.clone().unzip();
    for (name, value) in [
        ("bootMode", &image.boot_mode),
        ("imdsSupport", &image.imds),
        ("tpmSupport", &image.tpm),
        ("deprecationTime", &image.deprecated),
        ("sourceImageId", &from),
        ("sourceImageRegion", &region),
    ] {
        nodes.extend(value.as_ref().map(|value| Node::text(name, value)));
    }
    if image.state() == "failed" {
        let reason = vec![
            Node::text("code", "Client.InternalError"),
            Node::text("message", "Client error on launch"),
        ];
        nodes.push(Node::new("stateReason", reason));
    }
    nodes
}

/// A device, as images have it.
pub fn device(device: &Device) -> Vec<Node> {
    let mut ebs = vec![
        Node::text("volumeSize", device.gib),
        Node::text("volumeType", &device.kind),
        Node::text("deleteOnTermination", device.delete),
        Node::text("encrypted", device.encrypted),
    ];
    ebs.extend(
        device
            .snapshot
            .as_ref()
            .map(|id| Node::text("snapshotId", id)),
    );
    vec![
        Node::text("deviceName", &device.name),
        Node::new("ebs", ebs),
    ]
}

pub fn deregister(inner: &Inner, call: &Call) -> Outcome {
    let mut world = inner.world.lock().unwrap();
    let id = call.form.text("ImageId");
    let image = world.own_image(id, &call.account, &call.region)?;
    if image.protection != "disabled" {
        let message = format!("The image '{id}' is protected from being deregistered");
        return Err(Refusal::new("OperationNotPermitted", message));
    }
    image.deregistered = true;
    let snapshots: Vec<String> = image
        .devices
        .iter()
        .filter_map(|device| device.snapshot.clone())
        .collect();
    let mut children = vec![Node::text("return", true)];
    if call.form.is_true("DeleteAssociatedSnapshots") {
        let used = |id: &String| {
            let mut images = world.images.values().filter(|image| !image.deregistered);
            images.any(|image| {
                image
                    .devices
                    .iter()
                    .any(|device| device.snapshot.as_ref() == Some(id))
            })
        };
        let (kept, gone): (Vec<String>, Vec<String>) = snapshots.into_iter().partition(used);
        for id in &gone {
            world.snapshots.remove(id);
        }
        let result = |id: &String, code: &str| {
            vec![Node::text("snapshotId", id), Node::text("returnCode", code)]
        };
        let gone = gone.iter().map(|id| result(id, "success"));
        let all = gone.chain(kept.iter().map(|id| result(id, "skipped")));
        children.push(Node::set("deleteSnapshotResultSet", all));
    }
    Ok(Answer::xml(&call.action, children))
}
