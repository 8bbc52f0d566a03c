//! Guests: an instance's disk in a QEMU whose SSH is at the instance's own address.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use karat::os::child::{self, Reaped};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, watch};

use super::metadata::{self, Metadata};
use super::world::{Image, State};
use super::{Inner, firewall, imds};

/// What QEMU is told: by its monitor, and, when the sender is gone, by a signal.
const CAPABILITIES: &str = "{\"execute\":\"qmp_capabilities\"}\n";
const POWER_DOWN: &str = "{\"execute\":\"system_powerdown\"}\n";
/// An init that is still starting ignores the power button.
const AGAIN: Duration = Duration::from_secs(10);
/// The same model as karat's own guests under emulation.
const CPU: &str = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,svm=off";
const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

static SERIAL: AtomicU64 = AtomicU64::new(1);

/// A running guest. Dropping it kills it.
#[derive(Debug)]
pub struct Guest {
    pub serial: u64,
    power: mpsc::UnboundedSender<()>,
    ended: watch::Receiver<bool>,
}

impl Guest {
    /// Asks it to power off, and kills it when it does not within the limit.
    pub async fn power_off(mut self, limit: Duration) {
        let ask = async {
            while !*self.ended.borrow() {
                let _gone = self.power.send(());
                let end = self.ended.wait_for(|ended| *ended);
                if tokio::time::timeout(AGAIN, end).await.is_ok() {
                    break;
                }
            }
        };
        let _killed = tokio::time::timeout(limit, ask).await;
        let Self {
            power, mut ended, ..
        } = self;
        drop(power);
        let _gone = ended.wait_for(|ended| *ended).await;
    }
}

impl Inner {
    /// Where an instance's disk is, once it has had a guest.
    pub fn disk(&self, account: &str, instance: &str) -> Option<PathBuf> {
        let accounts = self.accounts.lock().unwrap();
        let record = accounts.get(account)?;
        Some(record.directory.join(instance).join("disk.raw"))
    }

    /// Whether an account's instances are guests.
    pub fn boots_guests(&self, account: &str) -> bool {
        self.accounts
            .lock()
            .unwrap()
            .get(account)
            .is_some_and(|record| record.guests)
    }
}

/// Boots the guest of an instance, which runs as soon as QEMU does.
pub fn start(inner: &Arc<Inner>, id: &str) {
    let (inner, id) = (Arc::clone(inner), id.to_owned());
    inner.runtime.clone().spawn(async move {
        if let Err(error) = boot(&inner, &id).await {
            eprintln!("the guest of {id} does not boot: {error}");
            super::instances::kill(&inner, &id);
        }
    });
}

async fn boot(inner: &Arc<Inner>, id: &str) -> std::io::Result<()> {
    let (image, volume, place) = {
        let world = inner.world.lock().unwrap();
        let instance = &world.instances[id];
        let image = world.images[&instance.image].clone();
        let size = instance
            .volumes
            .iter()
            .find(|volume| volume.1 == image.root);
        let size = size.map_or(8, |volume| volume.2);
        (image, size, instance.address.clone())
    };
    let owner = inner.world.lock().unwrap().instances[id].owner.clone();
    let disk = inner.disk(&owner, id).ok_or(std::io::ErrorKind::NotFound)?;
    if !disk.exists() {
        prepare(inner, &image, volume, disk.clone()).await?;
    }
    let directory = disk.parent().expect("it is in a directory").to_owned();
    let service = imds::serve(Metadata::of(inner, id, &image).await).await?;
    let has_uefi = image
        .boot_mode
        .as_deref()
        .is_some_and(|mode| mode.starts_with("uefi"));
    if has_uefi && !directory.join("vars.fd").exists() {
        std::fs::copy(VARIABLES, directory.join("vars.fd"))?;
    }
    let forward = firewall::lets_ssh_in(inner, id).await;
    if !forward {
        eprintln!("{id} cannot be reached: no rule of its security groups lets SSH in");
    }
    let mut child = child::command("qemu-system-x86_64")
        .args(arguments(id, &place, forward, service.port, has_uefi))
        .current_dir(&directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(File::create(directory.join("qemu.log"))?)
        .spawn()?;
    let mut monitor = child.stdin.take().expect("it was piped");
    monitor.write_all(CAPABILITIES.as_bytes()).await?;
    // One that cannot have its port or its disk ends at once.
    tokio::time::sleep(Duration::from_millis(200)).await;
    if child.try_wait()?.is_some_and(|status| !status.success()) {
        return Err(std::io::Error::other(std::fs::read_to_string(
            directory.join("qemu.log"),
        )?));
    }
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let (power, mut asked) = mpsc::unbounded_channel();
    let (end, ended) = watch::channel(false);
    {
        let mut world = inner.world.lock().unwrap();
        let instance = world.instances.get_mut(id).expect("it is never forgotten");
        match instance.state() {
            State::Pending => instance.enter(State::Running, None),
            State::Running => {}
            _ => return Ok(()),
        }
        instance.guest = Some(Guest {
            serial,
            power,
            ended,
        });
    }
    let (inner, id) = (Arc::clone(inner), id.to_owned());
    tokio::spawn(async move {
        let mut child = Reaped(child);
        loop {
            tokio::select! {
                _ = child.0.wait() => break,
                wish = asked.recv() => match wish {
                    Some(()) => drop(monitor.write_all(POWER_DOWN.as_bytes()).await),
                    None => break,
                },
            }
        }
        drop(child);
        drop(service);
        end.send_replace(true);
        super::instances::ended(&inner, &id, serial);
    });
    Ok(())
}

/// Writes the disk that the image's snapshot has.
async fn prepare(
    inner: &Arc<Inner>,
    image: &Image,
    gib: u64,
    disk: PathBuf,
) -> std::io::Result<()> {
    let blocks = {
        let world = inner.world.lock().unwrap();
        let snapshot = image.root_device().and_then(|root| root.snapshot.as_ref());
        let snapshot = snapshot.and_then(|id| world.snapshots.get(id));
        snapshot
            .map(|snapshot| snapshot.blocks.clone())
            .unwrap_or_default()
    };
    let inner = Arc::clone(inner);
    let write = move || {
        std::fs::create_dir_all(disk.parent().expect("it is in a directory"))?;
        let part = disk.with_extension("part");
        inner
            .store
            .lock()
            .unwrap()
            .write_disk(&blocks, gib, &File::create(&part)?);
        std::fs::rename(part, disk)
    };
    tokio::task::spawn_blocking(write)
        .await
        .map_err(std::io::Error::other)?
}

fn arguments(id: &str, address: &str, forward: bool, metadata: u16, has_uefi: bool) -> Vec<String> {
    let relay = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ec2/bench/relay.py");
    let relay = relay.display().to_string().replace(',', ",,");
    let forward = if forward {
        format!(",hostfwd=tcp:{address}:22-:22")
    } else {
        String::new()
    };
    let (mac, uuid) = (metadata::mac(address), uuid(id));
    let mut arguments: Vec<String> = [
        "-nodefaults -no-user-config -display none -machine q35,vmport=off -smp 1 -m 1024",
        "-accel tcg,thread=multi,tb-size=512 -chardev stdio,id=monitor,signal=off -mon chardev=monitor,mode=control",
        "-serial file:console.log -object rng-builtin,id=random -device virtio-rng-pci,rng=random",
        "-drive if=none,id=disk,file=disk.raw,format=raw,cache=unsafe,discard=unmap,detect-zeroes=unmap",
        "-device virtio-blk-pci,drive=disk,bootindex=1",
    ]
    .iter()
    .flat_map(|line| line.split(' '))
    .map(str::to_owned)
    .collect();
    for (option, value) in [
        ("-cpu", CPU.to_owned()),
        ("-name", id.to_owned()),
        // cloud-init takes a machine for EC2's when its vendor is, or its serial and its UUID begin with ec2.
        ("-smbios", "type=0,vendor=Amazon EC2".to_owned()),
        (
            "-smbios",
            format!("type=1,manufacturer=Amazon EC2,product=t3.micro,uuid={uuid},serial={uuid}"),
        ),
        (
            "-netdev",
            format!(
                "user,id=net,ipv6=off,net=169.254.169.0/24{forward},\
                 guestfwd=tcp:169.254.169.254:80-cmd:python3 {relay} {metadata}"
            ),
        ),
        (
            "-device",
            format!("virtio-net-pci,netdev=net,romfile=,mac={mac}"),
        ),
    ] {
        arguments.extend([option.to_owned(), value]);
    }
    if has_uefi {
        for drive in [
            format!("if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}"),
            "if=pflash,unit=1,format=raw,file=vars.fd".to_owned(),
        ] {
            arguments.extend(["-drive".to_owned(), drive]);
        }
    }
    arguments
}

/// `i-0123456789abcdef0` as EC2 makes a UUID.
fn uuid(id: &str) -> String {
    let digits: String = id
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .map(char::from)
        .collect();
    let digits = format!("{digits:0<29}");
    let part = |from: usize, to: usize| digits[from..to].to_owned();
    format!(
        "ec2{}-{}-{}-{}-{}",
        part(0, 5),
        part(5, 9),
        part(9, 13),
        part(13, 17),
        part(17, 29)
    )
}

#[test]
fn the_machine_looks_like_one_of_ec2() {
    let uuid = uuid("i-0123456789abcdef0");
    assert_eq!(uuid, "ec201234-5678-9abc-def0-000000000000");
}
