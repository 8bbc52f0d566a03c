//! GUID partition tables as bytes.

use super::little::{Fields, low32};
use crate::disk::read::partitions::{Gpt, SECTOR, crc32, entry, header};

const SECTOR_BYTES: usize = 512;

/// The two copies of a table.
pub(crate) struct GptCopies {
    /// Header and entries, from the second sector on.
    pub primary: Vec<u8>,
    /// Entries and header, up to the end of the disk.
    pub backup: Vec<u8>,
}

/// Returns the number of sectors of each copy of a table: entries and header.
pub(crate) fn table_sectors(table: &Gpt) -> u64 {
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
