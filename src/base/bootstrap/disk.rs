//! The disk around a root file system: GPT, GRUB for BIOS, and an EFI system partition for UEFI.
//!
//! | first sector | what |
//! | --- | --- |
//! | 0 | protective MBR with GRUB's boot.img |
//! | 1, 2-33 | GPT header and its 128 entries |
//! | 34 | BIOS boot partition: GRUB's core.img |
//! | 2048 | EFI system partition, 16 MiB |
//! | 34816 | root, last so that it can grow |
//! | end | backup entries and header |
//!
//! Fields after the UEFI specification 2.10, section 5.3; GRUB's after `grub-core/boot/i386/pc/boot.S` and `diskboot.S`.

use std::fs::File;
use std::io::{self, Cursor, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

const SECTOR: u64 = 512;
const BIOS_FIRST: u64 = 34;
const ESP_FIRST: u64 = 2048;
const ROOT_FIRST: u64 = 34816;
/// Backup entries and header.
const TAIL: u64 = 33;

const BIOS_BOOT: &str = "21686148-6449-6E6F-744E-656564454649";
const EFI_SYSTEM: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

/// Boot code that GRUB's own tools have made.
pub(super) struct BootCode {
    /// `boot.img` and `core.img`, where the architecture has a BIOS.
    pub bios: Option<(Vec<u8>, Vec<u8>)>,
    /// The UEFI program, and the name under which firmware looks for it.
    pub efi: (Vec<u8>, &'static str),
}

/// Writes a raw disk at `to` around the file system in `root`. `seed` decides the GUIDs.
pub(super) fn write(root: &Path, code: &BootCode, seed: &str, to: &Path) -> io::Result<()> {
    let mut root = File::open(root)?;
    let root_sectors = root.metadata()?.len() / SECTOR;
    let sectors = ROOT_FIRST + root_sectors + TAIL;
    let mut disk = File::create_new(to)?;
    disk.set_len(sectors * SECTOR)?;

    let mut at = |sector: u64, bytes: &[u8]| {
        disk.seek(SeekFrom::Start(sector * SECTOR))?;
        disk.write_all(bytes)
    };
    at(0, &protective_mbr(sectors, code))?;
    if let Some((_, core)) = &code.bios {
        at(BIOS_FIRST, &core_image(core)?)?;
    }
    at(ESP_FIRST, &esp(&code.efi)?)?;
    let entries = entries(root_sectors, seed);
    at(1, &header(1, sectors - 1, 2, sectors, &entries, seed))?;
    at(2, &entries)?;
    at(sectors - TAIL, &entries)?;
    at(sectors - 1, &header(sectors - 1, 1, sectors - TAIL, sectors, &entries, seed))?;

    disk.seek(SeekFrom::Start(ROOT_FIRST * SECTOR))?;
    copy_sparse(&mut root, &mut disk)
}

/// Copies all but zeroes; the target reads as zeroes where nothing is written.
fn copy_sparse(from: &mut File, to: &mut File) -> io::Result<()> {
    use std::io::Read as _;
    let mut block = vec![0; 1 << 20];
    loop {
        let length = from.read(&mut block)?;
        if length == 0 {
            return Ok(());
        }
        if block[..length].iter().all(|byte| *byte == 0) {
            to.seek_relative(i64::try_from(length).expect("a block is small"))?;
        } else {
            to.write_all(&block[..length])?;
        }
    }
}

fn protective_mbr(sectors: u64, code: &BootCode) -> Vec<u8> {
    let mut mbr = vec![0; 512];
    if let Some((boot, _)) = &code.bios {
        let length = boot.len().min(440);
        mbr[..length].copy_from_slice(&boot[..length]);
        // Where boot.img finds the first sector of core.img.
        mbr[0x5c..0x64].copy_from_slice(&BIOS_FIRST.to_le_bytes());
        // Two no-ops instead of a jump: use the drive that the firmware booted from.
        mbr[0x66..0x68].copy_from_slice(&[0x90, 0x90]);
    }
    let size = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    // Not bootable, from sector 1 to the end, type 0xEE; cylinders that say nothing.
    mbr[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
    mbr[454..458].copy_from_slice(&1_u32.to_le_bytes());
    mbr[458..462].copy_from_slice(&size.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

/// `core.img` whose first sector knows where the others are: right behind it.
fn core_image(core: &[u8]) -> io::Result<Vec<u8>> {
    let room = (ESP_FIRST - BIOS_FIRST) * SECTOR;
    if core.len() < 512 || core.len() as u64 > room {
        return Err(io::Error::other(format!("GRUB's core image has {} bytes, and {room} fit", core.len())));
    }
    let mut core = core.to_vec();
    core[500..508].copy_from_slice(&(BIOS_FIRST + 1).to_le_bytes());
    Ok(core)
}

fn esp((program, name): &(Vec<u8>, &'static str)) -> io::Result<Vec<u8>> {
    let size = usize::try_from((ROOT_FIRST - ESP_FIRST) * SECTOR).expect("16 MiB");
    let mut volume = Cursor::new(vec![0; size]);
    let options = fatfs::FormatVolumeOptions::new().volume_label(*b"ESP        ").volume_id(0x4b41_5241);
    fatfs::format_volume(&mut volume, options)?;
    {
        let system = fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new())?;
        let directory = system.root_dir().create_dir("EFI")?.create_dir("BOOT")?;
        directory.create_file(name)?.write_all(program)?;
    }
    Ok(volume.into_inner())
}

fn entries(root_sectors: u64, seed: &str) -> Vec<u8> {
    let mut entries = vec![0; 128 * 128];
    let partitions = [
        (BIOS_BOOT, BIOS_FIRST, ESP_FIRST - 1, "bios"),
        (EFI_SYSTEM, ESP_FIRST, ROOT_FIRST - 1, "esp"),
        (LINUX, ROOT_FIRST, ROOT_FIRST + root_sectors - 1, "root"),
    ];
    for (entry, (kind, first, last, name)) in entries.chunks_mut(128).zip(partitions) {
        entry[..16].copy_from_slice(&guid(kind));
        entry[16..32].copy_from_slice(&random_guid(&format!("{seed} {name}")));
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        for (place, unit) in entry[56..].chunks_mut(2).zip(name.encode_utf16()) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
    }
    entries
}

fn header(this: u64, other: u64, entries_at: u64, sectors: u64, entries: &[u8], seed: &str) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..8].copy_from_slice(b"EFI PART");
    header[8..12].copy_from_slice(&0x0001_0000_u32.to_le_bytes());
    header[12..16].copy_from_slice(&92_u32.to_le_bytes());
    header[24..32].copy_from_slice(&this.to_le_bytes());
    header[32..40].copy_from_slice(&other.to_le_bytes());
    header[40..48].copy_from_slice(&34_u64.to_le_bytes());
    header[48..56].copy_from_slice(&(sectors - TAIL - 1).to_le_bytes());
    header[56..72].copy_from_slice(&random_guid(&format!("{seed} disk")));
    header[72..80].copy_from_slice(&entries_at.to_le_bytes());
    header[80..84].copy_from_slice(&128_u32.to_le_bytes());
    header[84..88].copy_from_slice(&128_u32.to_le_bytes());
    header[88..92].copy_from_slice(&crc32(entries).to_le_bytes());
    let sum = crc32(&header[..92]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    header
}

/// A GUID as GPT stores it: the first three groups little-endian.
fn guid(text: &str) -> [u8; 16] {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let bytes = data_encoding::HEXUPPER.decode(digits.as_bytes()).expect("a constant of hex digits");
    let mut guid: [u8; 16] = bytes.try_into().expect("a constant of 32 digits");
    guid[..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    guid
}

/// A version 4 GUID made of a text, so that the same base always has the same.
fn random_guid(text: &str) -> [u8; 16] {
    let mut guid: [u8; 16] = Sha256::digest(text)[..16].try_into().expect("16 of 32 bytes");
    guid[7] = guid[7] & 0x0f | 0x40;
    guid[8] = guid[8] & 0x3f | 0x80;
    guid
}

/// A random-looking UUID made of a text, for a file system.
pub(super) fn uuid(text: &str) -> String {
    let mut bytes = random_guid(text);
    bytes.swap(6, 7);
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// CRC-32 as in ISO 3309.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_the_one_that_gpt_uses() {
        for (text, sum) in [("", 0), ("123456789", 0xcbf4_3926)] {
            assert_eq!(crc32(text.as_bytes()), sum);
        }
    }

    #[test]
    fn other_tools_accept_the_partition_table() {
        let scratch = tempfile::tempdir().unwrap();
        let (root, disk) = (scratch.path().join("root"), scratch.path().join("disk"));
        File::create(&root).unwrap().set_len(8 << 20).unwrap();
        let code = BootCode { bios: Some((vec![1; 512], vec![2; 1024])), efi: (vec![3; 100], "BOOTX64.EFI") };
        write(&root, &code, "seed", &disk).unwrap();
        let output = std::process::Command::new("/usr/sbin/sfdisk").arg("--verify").arg(&disk).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("No errors detected"), "{said}");
        let large = BootCode { bios: Some((vec![1; 512], vec![2; 4 << 20])), ..code };
        assert!(write(&root, &large, "seed", &scratch.path().join("other")).is_err());
    }

    #[test]
    fn a_uuid_is_of_version_4() {
        let text = uuid("x");
        assert_eq!((text.len(), text.as_bytes()[14], uuid("x") == text, uuid("y") == text), (36, b'4', true, false));
    }
}
