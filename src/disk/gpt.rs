//! A GUID partition table as bytes. Pure.

/// Bytes of a sector.
pub(crate) const SECTOR: u64 = 512;
/// Sectors that the table takes at either end: the header and 128 entries of 128 bytes.
const TABLE_SECTORS: u64 = 33;
const ENTRIES: usize = 128;
const ENTRY_BYTES: usize = 128;

/// A GUID in the order in which it is written as text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Guid(pub [u8; 16]);

/// Where GRUB's core image is.
pub(crate) const BIOS_BOOT: Guid = guid(0x2168_6148_6449_6e6f_744e_6565_6445_4649);
/// The EFI system partition.
pub(crate) const ESP: Guid = guid(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b);
/// The root file system of x86-64, as the Discoverable Partitions Specification has it.
pub(crate) const ROOT_X86_64: Guid = guid(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709);
/// The root file system of 64-bit Arm.
pub(crate) const ROOT_AARCH64: Guid = guid(0xb921_b045_1df0_41c3_af44_4c6f_280d_3fae);

/// One partition, its bounds in sectors.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    pub name: &'static str,
    pub kind: Guid,
    pub id: Guid,
    pub first: u64,
    pub sectors: u64,
}

const fn guid(text: u128) -> Guid {
    Guid(text.to_be_bytes())
}

impl Guid {
    /// The first three groups of a GUID are stored little-endian.
    fn on_disk(self) -> [u8; 16] {
        let mut bytes = self.0;
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        bytes
    }

    /// The text of a GUID or UUID.
    pub(crate) fn text(self) -> String {
        let hex = data_encoding::HEXLOWER.encode(&self.0);
        let groups = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ];
        groups.join("-")
    }
}

/// The last sector that a partition may use.
pub(crate) const fn last_usable(disk_sectors: u64) -> u64 {
    disk_sectors - TABLE_SECTORS - 1
}

/// The sectors at the start of a disk (protective MBR without boot code, header, entries) and those at its end.
pub(crate) fn tables(
    disk_sectors: u64,
    disk: Guid,
    partitions: &[Partition],
) -> (Vec<u8>, Vec<u8>) {
    let entries = entries(partitions);
    let last = disk_sectors - 1;
    let mut start = protective_mbr(disk_sectors);
    start.extend(header(1, last, 2, disk_sectors, disk, &entries));
    start.extend(&entries);
    let mut end = entries.clone();
    end.extend(header(
        last,
        1,
        disk_sectors - TABLE_SECTORS,
        disk_sectors,
        disk,
        &entries,
    ));
    (start, end)
}

fn protective_mbr(disk_sectors: u64) -> Vec<u8> {
    let mut mbr = vec![0; 512];
    let size = u32::try_from(disk_sectors - 1).unwrap_or(u32::MAX);
    mbr[446..462].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
    mbr[458..462].copy_from_slice(&size.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

fn entries(partitions: &[Partition]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRIES * ENTRY_BYTES);
    for partition in partitions {
        let mut name = [0; 72];
        for (place, unit) in name.chunks_exact_mut(2).zip(partition.name.encode_utf16()) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
        bytes.extend(partition.kind.on_disk());
        bytes.extend(partition.id.on_disk());
        bytes.extend(partition.first.to_le_bytes());
        bytes.extend((partition.first + partition.sectors - 1).to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(name);
    }
    bytes.resize(ENTRIES * ENTRY_BYTES, 0);
    bytes
}

fn header(
    own: u64,
    other: u64,
    table: u64,
    disk_sectors: u64,
    disk: Guid,
    entries: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    bytes.extend(b"EFI PART");
    bytes.extend(0x0001_0000_u32.to_le_bytes());
    bytes.extend(92u32.to_le_bytes());
    bytes.extend([0; 8]); // this header's checksum, below; reserved
    bytes.extend(own.to_le_bytes());
    bytes.extend(other.to_le_bytes());
    bytes.extend((TABLE_SECTORS + 1).to_le_bytes());
    bytes.extend(last_usable(disk_sectors).to_le_bytes());
    bytes.extend(disk.on_disk());
    bytes.extend(table.to_le_bytes());
    bytes.extend(128u32.to_le_bytes());
    bytes.extend(128u32.to_le_bytes());
    bytes.extend(crc32(entries).to_le_bytes());
    let checksum = crc32(&bytes);
    bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
    bytes.resize(512, 0);
    bytes
}

/// CRC-32 as in Ethernet and zlib; two dozen kilobytes a disk, so bit by bit is quick enough.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn checksums_are_the_usual_crc() {
        for (text, crc) in [("", 0), ("123456789", 0xcbf4_3926), ("a", 0xe8b7_be43)] {
            assert_eq!(crc32(text.as_bytes()), crc, "{text:?}");
        }
    }

    #[test]
    fn guids_are_written_as_everyone_does() {
        assert_eq!(ESP.text(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(
            ESP.on_disk()[..8],
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]
        );
    }

    #[test]
    fn sfdisk_finds_nothing_wrong_with_a_table() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sectors = 131_072;
        file.as_file().set_len(sectors * SECTOR).unwrap();
        let id = |byte| Guid([byte; 16]);
        let partition = |name, kind, byte, first, sectors| Partition {
            name,
            kind,
            id: id(byte),
            first,
            sectors,
        };
        let (start, end) = tables(
            sectors,
            id(7),
            &[
                partition("bios", BIOS_BOOT, 1, 2048, 2048),
                partition("esp", ESP, 2, 4096, 40960),
                partition("root", ROOT_X86_64, 3, 45056, 83968),
            ],
        );
        file.as_file().write_all_at(&start, 0).unwrap();
        let end_offset = sectors * SECTOR - u64::try_from(end.len()).unwrap();
        file.as_file().write_all_at(&end, end_offset).unwrap();
        let sfdisk = |argument: &str| {
            let output = Command::new("sfdisk")
                .arg(argument)
                .arg(file.path())
                .output();
            String::from_utf8(output.expect("sfdisk (package fdisk) runs").stdout).unwrap()
        };
        let verdict = sfdisk("--verify");
        assert!(verdict.contains("No errors detected"), "{verdict}");
        let listing = sfdisk("--dump");
        // As the UEFI specification, GRUB and the Discoverable Partitions Specification name them.
        for (guid, name) in [
            ("21686148-6449-6E6F-744E-656564454649", "bios"),
            ("C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "esp"),
            ("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "root"),
        ] {
            let row = listing
                .lines()
                .find(|line| line.contains(&format!("name=\"{name}\"")));
            assert!(
                row.is_some_and(|row| row.contains(guid)),
                "{name} in {listing}"
            );
        }
    }
}
