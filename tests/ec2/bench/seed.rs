//! Images that were there before: a disk on this machine as somebody's AMI.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use karat::time::Timestamp;

use super::Inner;
use super::store::Blocks;
use super::world::{Device, Image, Progress, Snapshot, Tags};

/// Debian's account.
pub const PUBLISHER: &str = "136693071363";

/// Disks that were read already, with their sizes in GiB.
static READ: Mutex<BTreeMap<PathBuf, (Blocks, u64)>> = Mutex::new(BTreeMap::new());

/// Makes a public AMI of Debian's in a region, and returns its id and that of its snapshot, which is not public.
pub fn seed(inner: &Inner, disk: &Path, region: &str, name: &str) -> (String, String) {
    let (blocks, gib) = read(inner, disk);
    let progress = Progress::after(Duration::ZERO, false);
    let started = Timestamp::now().to_string();
    let snapshot = Snapshot {
        id: super::id::resource("snap"),
        owner: PUBLISHER.to_owned(),
        region: region.to_owned(),
        description: String::new(),
        gib,
        progress,
        blocks,
        written: BTreeSet::new(),
        parent: None,
        direct: true,
        tags: Tags::new(),
        encrypted: false,
        volume: "vol-ffffffff".to_owned(),
        started: started.clone(),
        shared: BTreeSet::new(),
    };
    let image = Image {
        id: super::id::resource("ami"),
        owner: PUBLISHER.to_owned(),
        region: region.to_owned(),
        name: name.to_owned(),
        description: String::new(),
        architecture: "x86_64".to_owned(),
        boot_mode: None,
        imds: None,
        tpm: None,
        ena: true,
        root: "/dev/xvda".to_owned(),
        devices: vec![Device {
            name: "/dev/xvda".to_owned(),
            snapshot: Some(snapshot.id.clone()),
            gib,
            kind: "gp3".to_owned(),
            delete: true,
            encrypted: false,
        }],
        progress,
        tags: Tags::new(),
        created: started.replace('Z', ".000Z"),
        shared: BTreeSet::from(["all".to_owned()]),
        deprecated: None,
        protection: "disabled",
        disabled: false,
        source: None,
        deregistered: false,
    };
    let ids = (image.id.clone(), snapshot.id.clone());
    let mut world = inner.world.lock().unwrap();
    world.images.insert(ids.0.clone(), image);
    world.snapshots.insert(ids.1.clone(), snapshot);
    ids
}

/// Any format of QEMU's.
fn read(inner: &Inner, disk: &Path) -> (Blocks, u64) {
    let mut known = READ.lock().unwrap();
    if let Some(found) = known.get(disk) {
        return found.clone();
    }
    let raw = tempfile::NamedTempFile::new().unwrap();
    let convert = Command::new("qemu-img")
        .args(["convert", "-O", "raw"])
        .arg(disk)
        .arg(raw.path())
        .status();
    assert!(convert.unwrap().success(), "{} is a disk", disk.display());
    let raw = File::open(raw.path()).unwrap();
    let gib = raw.metadata().unwrap().len().div_ceil(1 << 30);
    let blocks = inner.store.lock().unwrap().read_disk(&raw);
    known.insert(disk.to_owned(), (blocks.clone(), gib));
    (blocks, gib)
}
