//! `RunInstances`: what is asked is checked against the image, moto makes its record, and the instance gets an address and a guest.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::answer::{Answer, Outcome, Refusal};
use super::call::Call;
use super::form::Form;
use super::register::too_small;
use super::world::{Image, Instance, State};
use super::xml::Node;
use super::{Inner, guest, instances};

/// EC2's limit, before base64.
const USER_DATA: usize = 16 << 10;
/// Addresses are 127.0.7.1 to .254, or those of another subnet, each used once before any is used again.
const ADDRESSES: u32 = 254;
static NEXT_ADDRESS: AtomicU32 = AtomicU32::new(0);

pub async fn run(inner: &Arc<Inner>, call: &Call, fails: bool) -> Outcome {
    let mut asked = call.form.clone();
    for name in ["MinCount", "MaxCount"] {
        if asked.get(name).is_none() {
            let message = format!("The request must contain the parameter {name}");
            return Err(Refusal::new("MissingParameter", message));
        }
    }
    if asked.text("MinCount") != "1" || asked.text("MaxCount") != "1" {
        let message = "The bench runs one instance at a time";
        return Err(Refusal::new("UnsupportedOperation", message));
    }
    let id = image_id(inner, call).await?;
    asked.set("ImageId", &id);
    let image = usable(inner, call, &asked)?;
    let volumes = volumes(&image, &mut asked)?;
    let subnet = network(inner, call).await;
    let address = free_address(inner.boots_guests(&call.account), subnet)?;
    let nic = if asked.get("NetworkInterface.1.DeviceIndex").is_some() {
        "NetworkInterface.1."
    } else {
        ""
    };
    asked.set(&format!("{nic}PrivateIpAddress"), &address);
    let mut theirs = call.clone();
    theirs.form.clone_from(&asked);
    let answer = inner.ask(&theirs).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if text.contains("InvalidInstanceType.NotFound") {
        // moto has a code of its own for it.
        let message = format!(
            "Invalid value '{}' for InstanceType.",
            asked.text("InstanceType")
        );
        return Err(Refusal::new("InvalidParameterValue", message));
    }
    let Some(mut root) = Node::parse(&text).filter(|_| answer.status == 200) else {
        return Ok(answer);
    };
    let delay = inner.delay(&call.account);
    let boots = inner.boots_guests(&call.account) && !fails;
    for item in root.items("instancesSet") {
        let mut instance = record(call, &image, item, &volumes, &asked, &address);
        if !boots {
            let next = if fails {
                State::Terminated
            } else {
                State::Running
            };
            instance.next = Some((Instant::now() + delay, next));
        }
        if fails {
            let (code, message) = (
                "Server.InternalError",
                "Server.InternalError: Internal error on launch",
            );
            instance.reason = Some((code.to_owned(), message.to_owned()));
            instances::tell_moto(inner, &instance, "TerminateInstances", delay);
        }
        let id = instance.id.clone();
        inner
            .world
            .lock()
            .unwrap()
            .instances
            .insert(id.clone(), instance);
        if boots {
            guest::start(inner, &id);
        }
    }
    instances::show(inner, &mut root);
    Ok(Answer::document(200, &root))
}

fn record(
    call: &Call,
    image: &Image,
    item: &Node,
    sizes: &[(String, u64)],
    asked: &Form,
    address: &str,
) -> Instance {
    let volumes = item.items("blockDeviceMapping").iter().map(|mapping| {
        let name = mapping.value("deviceName").to_owned();
        let size = sizes
            .iter()
            .find(|size| size.0 == name)
            .map_or(8, |size| size.1);
        (mapping.value("ebs/volumeId").to_owned(), name, size)
    });
    let nics = item.items("networkInterfaceSet").iter();
    let groups = nics.flat_map(|nic| nic.items("groupSet"));
    Instance {
        id: item.value("instanceId").to_owned(),
        owner: call.account.clone(),
        region: call.region.clone(),
        image: image.id.clone(),
        zone: item.value("placement/availabilityZone").to_owned(),
        key: item.value("keyName").to_owned(),
        address: address.to_owned(),
        state: State::Pending,
        next: None,
        reason: None,
        ends_with_shutdown: asked.text("InstanceInitiatedShutdownBehavior") == "terminate",
        groups: groups
            .map(|group| group.value("groupId").to_owned())
            .collect(),
        volumes: volumes.collect(),
        asked: asked.clone(),
        guest: None,
    }
}

/// The image that the call names, its launch template, or an SSM parameter.
async fn image_id(inner: &Inner, call: &Call) -> Result<String, Refusal> {
    let mut id = call.form.text("ImageId").to_owned();
    let template = call.form.below("LaunchTemplate.");
    if id.is_empty() && !template.0.is_empty() {
        id = in_template(inner, call, &template).await?;
    }
    if let Some(name) = id.strip_prefix("resolve:ssm:") {
        return super::ssm::value(inner, call, name).await.ok_or_else(|| {
            let message = format!("The parameter {name} does not exist");
            Refusal::new("InvalidParameterValue", message)
        });
    }
    if id.is_empty() {
        let message = "The request must contain the parameter ImageId";
        return Err(Refusal::new("MissingParameter", message));
    }
    Ok(id)
}

async fn in_template(inner: &Inner, call: &Call, template: &Form) -> Result<String, Refusal> {
    let version = template.get("Version").unwrap_or("$Default");
    let (name, value) = match template.get("LaunchTemplateId") {
        Some(id) => ("LaunchTemplateId", id),
        None => ("LaunchTemplateName", template.text("LaunchTemplateName")),
    };
    let parameters = [(name, value), ("LaunchTemplateVersion.1", version)];
    let ask = Call::ec2(
        &call.account,
        &call.region,
        "DescribeLaunchTemplateVersions",
        &parameters,
    );
    let answer = inner.ask(&ask).await;
    let root = Node::parse(&String::from_utf8_lossy(&answer.body)).unwrap_or_default();
    let versions = root.items("launchTemplateVersionSet").first();
    let id = versions.map(|version| version.value("launchTemplateData/imageId").to_owned());
    id.ok_or_else(|| {
        let message = "The launch template or its version does not exist";
        Refusal::new("InvalidLaunchTemplateId.NotFound", message)
    })
}

fn usable(inner: &Inner, call: &Call, asked: &Form) -> Result<Image, Refusal> {
    let world = inner.world.lock().unwrap();
    let image = world.image(asked.text("ImageId"), &call.account, &call.region)?;
    if image.state() != "available" {
        let message = format!("The image id '[{}]' is not available", image.id);
        return Err(Refusal::new("InvalidAMIID.Unavailable", message));
    }
    let kind = asked.text("InstanceType");
    let family = kind.split('.').next().unwrap_or_default();
    let options = family.trim_start_matches(|sign: char| sign.is_ascii_alphabetic());
    let options = options.trim_start_matches(|sign: char| sign.is_ascii_digit());
    let has = if options.starts_with('g') || family == "a1" {
        "arm64"
    } else {
        "x86_64"
    };
    if !kind.is_empty() && image.architecture != has {
        let message = format!(
            "The architecture '{has}' of the specified instance type does not match the architecture '{}' of the specified AMI.",
            image.architecture
        );
        return Err(Refusal::new("InvalidParameterValue", message));
    }
    let data = data_encoding::BASE64.decode(asked.text("UserData").as_bytes());
    match data {
        Ok(data) if data.len() <= USER_DATA => Ok(image.clone()),
        Ok(_) => {
            let message = "User data is limited to 16384 bytes";
            Err(Refusal::new("InvalidParameterValue", message))
        }
        Err(_) => Err(Refusal::new(
            "InvalidUserData.Malformed",
            "Invalid BASE64 encoding of user data.",
        )),
    }
}

/// Writes the image's disks into the call, as they are to be: moto knows nothing of images' disks. Returns names and sizes.
fn volumes(image: &Image, asked: &mut Form) -> Result<Vec<(String, u64)>, Refusal> {
    let wanted = asked.groups("BlockDeviceMapping");
    asked.remove_all("BlockDeviceMapping.");
    let mut mappings = Vec::new();
    for device in &image.devices {
        let mut mapping = Form::default();
        mapping.set("DeviceName", &device.name);
        mapping.set("Ebs.VolumeSize", device.gib);
        mapping.set("Ebs.VolumeType", &device.kind);
        mapping.set("Ebs.DeleteOnTermination", device.delete);
        if let Some(wanted) = wanted
            .iter()
            .find(|wanted| wanted.text("DeviceName") == device.name)
        {
            mapping.0.extend(wanted.0.clone());
        }
        let gib = mapping.text("Ebs.VolumeSize").parse().unwrap_or(device.gib);
        if gib < device.gib {
            return Err(too_small(gib, device.gib, device.snapshot.as_deref()));
        }
        mappings.push(mapping);
    }
    let has = |wanted: &&Form| {
        image
            .devices
            .iter()
            .all(|device| device.name != wanted.text("DeviceName"))
    };
    mappings.extend(wanted.iter().filter(has).cloned());
    let mut sizes = Vec::new();
    for (index, mapping) in mappings.iter_mut().enumerate() {
        // moto would look for it among its own.
        mapping.remove("Ebs.SnapshotId");
        for (name, value) in &mapping.0 {
            asked.set(&format!("BlockDeviceMapping.{}.{name}", index + 1), value);
        }
        let size = mapping.text("Ebs.VolumeSize").parse().unwrap_or(8);
        sizes.push((mapping.text("DeviceName").to_owned(), size));
    }
    Ok(sizes)
}

/// The third number of the addresses of the subnet that the call names: 16 of 127.0.16.0/20.
async fn network(inner: &Inner, call: &Call) -> u32 {
    let named = ["NetworkInterface.1.SubnetId", "SubnetId"].map(|name| call.form.text(name));
    let Some(subnet) = named.into_iter().find(|subnet| !subnet.is_empty()) else {
        return 0;
    };
    let asked = [("SubnetId.1", subnet)];
    let ask = Call::ec2(&call.account, &call.region, "DescribeSubnets", &asked);
    let answer = inner.ask(&ask).await;
    let root = Node::parse(&String::from_utf8_lossy(&answer.body)).unwrap_or_default();
    let subnet = root.items("subnetSet").first();
    let addresses = subnet.map(|subnet| subnet.value("cidrBlock").to_owned());
    let third = addresses.and_then(|text| text.split('.').nth(2)?.parse().ok());
    third.unwrap_or_default()
}

/// Whether guests can have their SSH at addresses of their own.
pub fn port_is_free() -> bool {
    free_address(true, 0).is_ok()
}

/// An address of this machine's own where nothing listens for SSH: other processes may have guests too.
fn free_address(has_guest: bool, subnet: u32) -> Result<String, Refusal> {
    for _ in 0..ADDRESSES {
        let number = NEXT_ADDRESS.fetch_add(1, Ordering::Relaxed) + std::process::id() * 16;
        let address = format!("127.0.{}.{}", subnet + 7, number % ADDRESSES + 1);
        if !has_guest || TcpListener::bind((address.as_str(), 22)).is_ok() {
            return Ok(address);
        }
    }
    let message = "Port 22 cannot be listened at on any address of 127.0.7.0/24";
    Err(Refusal::new("InsufficientFreeAddressesInSubnet", message))
}
