//! The GUID partition table of a bootstrapped base.

use crate::disk::read::partitions::{Gpt, GptPartition};
pub(super) use crate::disk::read::partitions::{Guid, SECTOR};
use crate::disk::write::gpt;

/// Partition type of GRUB's core image.
pub(super) const BIOS_BOOT: Guid = guid(0x2168_6148_6449_6e6f_744e_6565_6445_4649);
/// Partition type of an EFI system partition.
pub(super) const ESP: Guid = guid(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b);
/// Partition type of an x86-64 root file system, from the Discoverable Partitions Specification.
pub(super) const ROOT_X86_64: Guid = guid(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709);
/// Partition type of a 64-bit Arm root file system.
pub(super) const ROOT_AARCH64: Guid = guid(0xb921_b045_1df0_41c3_af44_4c6f_280d_3fae);

/// The sizes that every firmware and partitioning tool expects: 128 entries of 128 bytes.
const ENTRIES: u32 = 128;
const ENTRY_BYTES: u32 = 128;
/// Sectors before the first partition: protective MBR, header and entries.
const FIRST_USABLE: u64 = 34;

/// A partition with its bounds in sectors.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub name: &'static str,
    pub kind: Guid,
    pub id: Guid,
    pub first: u64,
    pub sectors: u64,
}

/// Returns the last sector that a partition may use: the backup is as long as the table at the start without its MBR.
pub(super) const fn last_usable(disk_sectors: u64) -> u64 {
    disk_sectors - FIRST_USABLE
}

const fn guid(text: u128) -> Guid {
    Guid(text.to_be_bytes())
}

/// Returns the sectors at the start of a disk (protective MBR without boot code, header, entries) and those at its end.
pub(super) fn tables(
    disk_sectors: u64,
    disk: Guid,
    partitions: &[Partition],
) -> (Vec<u8>, Vec<u8>) {
    let partitions = (1..)
        .zip(partitions)
        .map(|(number, partition)| GptPartition {
            number,
            kind: partition.kind,
            id: partition.id,
            first: partition.first,
            last: partition.first + partition.sectors - 1,
            attributes: 0,
            name: partition.name.encode_utf16().collect(),
        });
    let table = Gpt {
        disk,
        first_usable: FIRST_USABLE,
        last_usable: last_usable(disk_sectors),
        entries: ENTRIES,
        entry_size: ENTRY_BYTES,
        from_backup: false,
        partitions: partitions.collect(),
    };
    let copies = gpt::serialize(&table, disk_sectors);
    let start = [protective_mbr(disk_sectors), copies.primary].concat();
    (start, copies.backup)
}

fn protective_mbr(disk_sectors: u64) -> Vec<u8> {
    let mut mbr = vec![0; 512];
    let size = u32::try_from(disk_sectors - 1).unwrap_or(u32::MAX);
    mbr[446..462].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]);
    mbr[458..462].copy_from_slice(&size.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xaa]);
    mbr
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::process::Command;

    use super::*;

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
