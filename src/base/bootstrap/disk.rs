//! The disk around the root file system: partition table, EFI system partition, GRUB for BIOS.
//!
//! They are written directly into the raw disk: an ordinary user has neither loop devices nor mounts.

use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt;
use std::path::Path;

use fatfs::{
    Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider,
};

use crate::disk::gpt::{self, GptPartition, Guid, SECTOR};
use crate::os::hash_stream::Sparse;
use crate::plan::{Arch, Bootstrap};

pub(super) const DISK_SIZE: u64 = Bootstrap::DISK_SIZE;
const BIOS_FIRST: u64 = 2048;
const BIOS_SECTORS: u64 = 2048;
const ESP_FIRST: u64 = 4096;
/// 64 MiB: FAT32 needs 65,525 clusters, and firmware need not support smaller FATs.
const ESP_SECTORS: u64 = 131_072;
const ESP_BYTES: usize = 64 << 20;
const ROOT_FIRST: u64 = ESP_FIRST + ESP_SECTORS;
/// Offset of the root file system in bytes.
pub(super) const ROOT_OFFSET: u64 = ROOT_FIRST * SECTOR;
/// Size of the root file system in bytes: up to the backup partition table, in whole MiB.
pub(super) const ROOT_SIZE: u64 = (DISK_SIZE - ROOT_OFFSET - (1 << 20)) & !0xf_ffff;

// Offsets that grub-bios-setup patches (include/grub/i386/pc/boot.h, diskboot.h).
const KERNEL_SECTOR: usize = 0x5c;
const DRIVE_CHECK: usize = 0x66;
const BOOT_CODE: usize = 440;
const FIRST_BLOCK: usize = 512 - 12;

/// All random ids of the disk, derived from its inputs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    pub disk: Guid,
    pub partitions: [Guid; 3],
    pub root: Guid,
    pub esp: u32,
}

impl Ids {
    /// Derives version 4 GUIDs from a seed.
    pub(super) fn from_seed(seed: &str) -> Self {
        let id = |name: &str| {
            let hex = crate::digest::Digest::of(format!("{seed} {name}").as_bytes()).hex();
            let number = u128::from_str_radix(&hex[..32], 16).unwrap_or_default();
            let version = (number & !(0xf << 76)) | (4 << 76);
            Guid(((version & !(3 << 62)) | (2 << 62)).to_be_bytes())
        };
        let esp = id("esp file system").0;
        Self {
            disk: id("disk"),
            partitions: [id("bios"), id("esp"), id("root")],
            root: id("root file system"),
            esp: u32::from_be_bytes([esp[0], esp[1], esp[2], esp[3]]),
        }
    }

    /// Returns the serial number of the EFI system partition as `/etc/fstab` names it.
    pub(super) fn esp_text(&self) -> String {
        format!("{:04X}-{:04X}", self.esp >> 16, self.esp & 0xffff)
    }
}

/// Completes `disk.raw` in `scratch`, which has the root file system already, with the boot loaders that the recipe left beside it.
pub(super) fn complete(scratch: &Path, arch: Arch, ids: &Ids) -> io::Result<()> {
    let mut disk = OpenOptions::new()
        .read(true)
        .write(true)
        .open(scratch.join("disk.raw"))?;
    disk.set_len(DISK_SIZE)?;
    write_esp(
        &mut disk,
        arch,
        ids.esp,
        &std::fs::read(scratch.join("grub.efi"))?,
    )?;
    let (mut start, end) = gpt::tables(DISK_SIZE / SECTOR, ids.disk, partitions(arch, ids));
    if arch == Arch::X86_64 {
        let mut boot = std::fs::read(scratch.join("boot.img"))?;
        let mut core = std::fs::read(scratch.join("core.img"))?;
        patch_grub(&mut boot, &mut core)?;
        start[..BOOT_CODE].copy_from_slice(&boot[..BOOT_CODE]);
        disk.write_all_at(&core, BIOS_FIRST * SECTOR)?;
    }
    disk.write_all_at(&start, 0)?;
    disk.write_all_at(&end, DISK_SIZE - end.len() as u64)?;
    disk.sync_all()
}

fn partitions(arch: Arch, ids: &Ids) -> Vec<GptPartition> {
    let root = match arch {
        Arch::X86_64 => gpt::ROOT_X86_64,
        Arch::Aarch64 => gpt::ROOT_AARCH64,
    };
    let [bios_id, esp_id, root_id] = ids.partitions;
    let bounds = [
        ("bios", gpt::BIOS_BOOT, bios_id, BIOS_FIRST, BIOS_SECTORS),
        ("esp", gpt::ESP, esp_id, ESP_FIRST, ESP_SECTORS),
        // The root partition is the last one because it grows.
        ("root", root, root_id, ROOT_FIRST, ROOT_SIZE / SECTOR),
    ];
    let partitions = (1..).zip(bounds);
    partitions
        .map(|(number, (name, kind, id, first, sectors))| GptPartition {
            number,
            kind,
            id,
            first,
            last: first + sectors - 1,
            attributes: 0,
            name: name.encode_utf16().collect(),
        })
        .collect()
}

/// Patches GRUB like grub-bios-setup, which needs a block device.
fn patch_grub(boot: &mut [u8], core: &mut [u8]) -> io::Result<()> {
    if boot.len() != 512 || core.len() < 1024 || core.len() as u64 > BIOS_SECTORS * SECTOR {
        let sizes = format!("boot.img has {} bytes, core.img {}", boot.len(), core.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, sizes));
    }
    boot[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&BIOS_FIRST.to_le_bytes());
    // Remove the jump over the check that the drive number in DL names a hard disk.
    boot[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    // The first sector of the core loads the others: grub-mkimage filled in their number, but not their position.
    core[FIRST_BLOCK..FIRST_BLOCK + 8].copy_from_slice(&(BIOS_FIRST + 1).to_le_bytes());
    Ok(())
}

fn write_esp(disk: &mut File, arch: Arch, serial: u32, grub: &[u8]) -> io::Result<()> {
    // In memory, as fatfs fills a whole file, and this is a part of one.
    let mut esp = Cursor::new(vec![0; ESP_BYTES]);
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(512)
        .volume_id(serial)
        .volume_label(*b"ESP        ");
    fatfs::format_volume(&mut esp, options)?;
    let volume = FileSystem::new(&mut esp, FsOptions::new().time_provider(&NoClock))?;
    let directory = volume.root_dir().create_dir("EFI")?.create_dir("BOOT")?;
    let name = match arch {
        Arch::X86_64 => "BOOTX64.EFI",
        Arch::Aarch64 => "BOOTAA64.EFI",
    };
    directory.create_file(name)?.write_all(grub)?;
    drop(directory);
    volume.unmount()?;
    disk.seek(SeekFrom::Start(ESP_FIRST * SECTOR))?;
    // The zeros that this skips are there already.
    Sparse::new(disk).write_all(esp.get_ref())
}

/// Time stamps for FAT: always its first day, so that the same inputs give the same bytes.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn get_current_date(&self) -> Date {
        Date {
            year: 1980,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime {
            date: self.get_current_date(),
            time: Time {
                hour: 0,
                min: 0,
                sec: 0,
                millis: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn partitions_fit_and_do_not_overlap() {
        let ids = Ids::from_seed("x");
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let mut free = 34;
            for partition in partitions(arch, &ids) {
                assert!(
                    partition.first >= free && partition.first % 2048 == 0,
                    "{partition:?}"
                );
                free = partition.last + 1;
            }
            assert!(free - 1 <= gpt::last_usable(DISK_SIZE / SECTOR));
        }
    }

    #[test]
    fn grub_is_pointed_at_its_own_partition() {
        let (mut boot, mut core) = (vec![1; 512], vec![1; 1024]);
        patch_grub(&mut boot, &mut core).unwrap();
        assert_eq!(boot[0x5c..0x64], 2048u64.to_le_bytes());
        assert_eq!(core[500..508], 2049u64.to_le_bytes());
        assert_eq!(core[508..512], [1; 4], "length and segment stay");
        for (boot, core) in [(511, 1024), (512, 512), (512, (1 << 20) + 1)] {
            assert!(
                patch_grub(&mut vec![0; boot], &mut vec![0; core]).is_err(),
                "{boot} {core}"
            );
        }
    }

    #[test]
    fn a_completed_disk_has_its_loaders_in_place() {
        let scratch = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(scratch.path().join(name), bytes).unwrap();
        write("disk.raw", b"");
        write("boot.img", &[0xb0; 512]);
        write("core.img", &[0xc0; 2048]);
        write("grub.efi", &vec![0xe0; 70_000]);
        let ids = Ids::from_seed("y");
        complete(scratch.path(), Arch::X86_64, &ids).unwrap();
        let disk = File::open(scratch.path().join("disk.raw")).unwrap();
        let mut sector = [0; 512];
        disk.read_exact_at(&mut sector, 0).unwrap();
        assert_eq!((sector[0], sector[450], sector[510]), (0xb0, 0xee, 0x55));
        disk.read_exact_at(&mut sector, BIOS_FIRST * SECTOR + 512)
            .unwrap();
        assert_eq!(sector, [0xc0; 512]);
        let mut esp = vec![0; ESP_BYTES];
        disk.read_exact_at(&mut esp, ESP_FIRST * SECTOR).unwrap();
        let volume = FileSystem::new(Cursor::new(esp), FsOptions::new()).unwrap();
        assert_eq!(
            (volume.fat_type(), volume.volume_id()),
            (FatType::Fat32, ids.esp)
        );
        let mut loader = Vec::new();
        volume
            .root_dir()
            .open_file("EFI/BOOT/BOOTX64.EFI")
            .unwrap()
            .read_to_end(&mut loader)
            .unwrap();
        assert_eq!(loader, vec![0xe0; 70_000]);
    }

    #[test]
    fn ids_follow_from_the_seed() {
        let (one, same, other) = (
            Ids::from_seed("a"),
            Ids::from_seed("a"),
            Ids::from_seed("b"),
        );
        assert_eq!(one.root, same.root);
        assert_ne!(one.root, other.root);
        assert_eq!(&one.root.to_string()[14..15], "4");
        assert_eq!(one.esp_text().len(), 9);
    }
}
