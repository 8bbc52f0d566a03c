//! GUID partition tables as bytes, and the table of a bootstrapped base.

use super::read::partitions::{Gpt, boot, crc32, entry, header};
pub(crate) use super::read::partitions::{GptPartition, Guid, SECTOR};
use super::write::fields::{Fields, low32};

/// Partition type of GRUB's core image.
pub(crate) const BIOS_BOOT: Guid = guid(0x2168_6148_6449_6e6f_744e_6565_6445_4649);
/// Partition type of an EFI system partition.
pub(crate) const ESP: Guid = guid(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b);
/// Partition type of an x86-64 root file system, from the Discoverable Partitions Specification.
pub(crate) const ROOT_X86_64: Guid = guid(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709);
/// Partition type of a 64-bit Arm root file system.
pub(crate) const ROOT_AARCH64: Guid = guid(0xb921_b045_1df0_41c3_af44_4c6f_280d_3fae);

/// The sizes that every firmware and partitioning tool expects: 128 entries of 128 bytes.
const ENTRIES: u32 = 128;
const ENTRY_BYTES: u32 = 128;
/// Sectors before the first partition: protective MBR, header and entries.
const FIRST_USABLE: u64 = 34;

/// Returns the last sector that a partition may use: the backup is as long as the table at the start without its MBR.
pub(crate) const fn last_usable(disk_sectors: u64) -> u64 {
    disk_sectors - FIRST_USABLE
}

const fn guid(text: u128) -> Guid {
    Guid(text.to_be_bytes())
}

/// Returns the sectors at the start of a disk (protective MBR without boot code, header, entries) and those at its end.
pub(crate) fn tables(
    disk_sectors: u64,
    disk: Guid,
    partitions: Vec<GptPartition>,
) -> (Vec<u8>, Vec<u8>) {
    let table = Gpt {
        disk,
        first_usable: FIRST_USABLE,
        last_usable: last_usable(disk_sectors),
        entries: ENTRIES,
        entry_size: ENTRY_BYTES,
        partitions,
    };
    let copies = serialize(&table, disk_sectors);
    let start = [protective_mbr(disk_sectors), copies.primary].concat();
    (start, copies.backup)
}

fn protective_mbr(disk_sectors: u64) -> Vec<u8> {
    let mut mbr = Fields::new(SECTOR_BYTES);
    let sectors = u32::try_from(disk_sectors - 1).unwrap_or(u32::MAX);
    let entry = boot::entry(0);
    // From cylinder 0, head 0, sector 2 to the largest address.
    mbr.put(entry + boot::FIRST_CHS, &[0, 2, 0]);
    mbr.put8(entry + boot::TYPE, boot::PROTECTIVE);
    mbr.put(entry + boot::LAST_CHS, &[0xff, 0xff, 0xff]);
    mbr.put32(entry + boot::FIRST, 1);
    mbr.put32(entry + boot::SECTORS, sectors);
    mbr.put16(boot::SIGNATURE, boot::SIGNATURE_VALUE);
    mbr.into_bytes()
}

const SECTOR_BYTES: usize = 512;

/// The two copies of a table.
pub(crate) struct GptCopies {
    /// Header and entries, from the second sector on.
    pub primary: Vec<u8>,
    /// Entries and header, up to the end of the disk.
    pub backup: Vec<u8>,
}

/// Returns the number of sectors of each copy of a table: entries and header.
pub(super) fn table_sectors(table: &Gpt) -> u64 {
    entry_sectors(table) + 1
}

fn entry_sectors(table: &Gpt) -> u64 {
    (u64::from(table.entries) * u64::from(table.entry_size)).div_ceil(SECTOR)
}

/// Serializes a table for a disk of `sectors`; the last usable sector follows from that, whatever the table says.
pub(crate) fn serialize(table: &Gpt, sectors: u64) -> GptCopies {
    let entries = entries(table);
    let used = table.entry_size as usize * table.entries as usize;
    let checksum = crc32(&entries[..used]);
    let last = sectors - 1;
    let header = |positions| header_sector(table, positions, sectors, checksum);
    GptCopies {
        primary: [header([1, last, 2]), entries.clone()].concat(),
        backup: [entries, header([last, 1, last - entry_sectors(table)])].concat(),
    }
}

fn entries(table: &Gpt) -> Vec<u8> {
    let size = table.entry_size as usize;
    let mut entries = Fields::new((size * table.entries as usize).next_multiple_of(SECTOR_BYTES));
    for partition in &table.partitions {
        let at = (partition.number.max(1) as usize - 1) * size;
        entries.put(at + entry::TYPE, &partition.kind.to_disk());
        entries.put(at + entry::ID, &partition.id.to_disk());
        entries.put64(at + entry::FIRST, partition.first);
        entries.put64(at + entry::LAST, partition.last);
        entries.put64(at + entry::ATTRIBUTES, partition.attributes);
        let units = partition.name.iter().take((size - entry::NAME) / 2);
        for (unit, value) in units.enumerate() {
            entries.put16(at + entry::NAME + 2 * unit, *value);
        }
    }
    entries.into_bytes()
}

fn header_sector(
    table: &Gpt,
    [own, other, entries_at]: [u64; 3],
    sectors: u64,
    entries_checksum: u32,
) -> Vec<u8> {
    let mut sector = Fields::new(SECTOR_BYTES);
    sector.put(0, header::SIGNATURE);
    sector.put32(header::REVISION, 0x0001_0000);
    sector.put32(header::SIZE, low32(header::LENGTH as u64));
    sector.put64(header::OWN, own);
    sector.put64(header::OTHER, other);
    sector.put64(header::FIRST_USABLE, table.first_usable);
    sector.put64(header::LAST_USABLE, sectors - 1 - table_sectors(table));
    sector.put(header::DISK_ID, &table.disk.to_disk());
    sector.put64(header::ENTRIES, entries_at);
    sector.put32(header::ENTRY_COUNT, table.entries);
    sector.put32(header::ENTRY_SIZE, table.entry_size);
    sector.put32(header::ENTRIES_CHECKSUM, entries_checksum);
    let checksum = crc32(&sector.bytes()[..header::LENGTH]);
    sector.put32(header::CHECKSUM, checksum);
    sector.into_bytes()
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
        let partition = |name: &str, kind, byte: u8, first, sectors| GptPartition {
            number: byte.into(),
            kind,
            id: id(byte),
            first,
            last: first + sectors - 1,
            attributes: 0,
            name: name.encode_utf16().collect(),
        };
        let (start, end) = tables(
            sectors,
            id(7),
            vec![
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
