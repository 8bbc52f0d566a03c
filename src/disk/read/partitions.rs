//! Partition tables: GPT, with its backup, and MBR. Sectors of 512 bytes, as every disk that karat makes has.

use std::collections::HashSet;
use std::fmt;

use super::fields::{Fields, to_index};
use super::{BlockRead, ReadError};

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
const SECTOR_BYTES: usize = 512;
const PART: &str = "partition table";
/// The standard asks for room for 128.
const MAX_ENTRIES: u32 = 1024;
/// The standard allows larger entries than 128 bytes; no tool makes them.
const MAX_ENTRY_BYTES: u32 = 4096;
/// Bound on the chain of logical partitions.
const MAX_LOGICAL: u32 = 128;

/// The boot sector: offsets of its fields, and values that they have.
pub(in crate::disk) mod boot {
    pub const DISK_ID: usize = 440;
    pub const ENTRIES: usize = 446;
    pub const ENTRY_BYTES: usize = 16;
    pub const SIGNATURE: usize = 510;
    pub const SIGNATURE_VALUE: u16 = 0xaa55;
    /// Offsets within an entry.
    pub const STATUS: usize = 0;
    pub const FIRST_CHS: usize = 1;
    pub const TYPE: usize = 4;
    pub const LAST_CHS: usize = 5;
    pub const FIRST: usize = 8;
    pub const SECTORS: usize = 12;
    /// Type of the entry that stands for a GPT.
    pub const PROTECTIVE: u8 = 0xee;
    /// Types of partitions that contain logical ones.
    pub const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];

    /// Returns the offset of the entry with this index.
    pub const fn entry(index: usize) -> usize {
        ENTRIES + index * ENTRY_BYTES
    }
}

/// The header of a GPT: offsets of its fields.
pub(in crate::disk) mod header {
    pub const SIGNATURE: &[u8] = b"EFI PART";
    pub const REVISION: usize = 8;
    pub const SIZE: usize = 12;
    pub const CHECKSUM: usize = 16;
    pub const OWN: usize = 24;
    pub const OTHER: usize = 32;
    pub const FIRST_USABLE: usize = 40;
    pub const LAST_USABLE: usize = 48;
    pub const DISK_ID: usize = 56;
    pub const ENTRIES: usize = 72;
    pub const ENTRY_COUNT: usize = 80;
    pub const ENTRY_SIZE: usize = 84;
    pub const ENTRIES_CHECKSUM: usize = 88;
    /// Bytes that the checksum covers in revision 1.0.
    pub const LENGTH: usize = 92;
}

/// An entry of a GPT: offsets of its fields.
pub(in crate::disk) mod entry {
    pub const TYPE: usize = 0;
    pub const ID: usize = 16;
    pub const FIRST: usize = 32;
    pub const LAST: usize = 40;
    pub const ATTRIBUTES: usize = 48;
    pub const NAME: usize = 56;
    pub const NAME_BYTES: usize = 72;
}

/// A GUID, its bytes in the order of its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// Reads a GUID as it is stored on disk, with the first three groups in little-endian order.
    #[must_use]
    pub fn from_disk(mut bytes: [u8; 16]) -> Self {
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Self(bytes)
    }

    /// Returns the bytes as they are stored on disk.
    pub(crate) fn to_disk(self) -> [u8; 16] {
        // The conversion is its own inverse.
        Self::from_disk(self.0).0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = data_encoding::HEXLOWER.encode(&self.0);
        let mut rest = hex.as_str();
        for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
            let (group, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            write!(f, "{}{group}", if index == 0 { "" } else { "-" })?;
            rest = after;
        }
        Ok(())
    }
}

/// The partition table of a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Table {
    /// A GUID partition table.
    Gpt(Gpt),
    /// A table in the boot sector.
    Mbr(Mbr),
    /// A disk without a table, which may be a single file system.
    None,
}

/// A GUID partition table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gpt {
    /// GUID of the disk.
    pub disk: Guid,
    /// First sector that a partition may use.
    pub first_usable: u64,
    /// Last sector that a partition may use.
    pub last_usable: u64,
    /// Number of entries that the table has room for.
    pub entries: u32,
    /// Size of an entry in bytes.
    pub entry_size: u32,
    /// Set if the table at the start was damaged, and this is the backup at the end.
    pub from_backup: bool,
    /// Partitions in the order of the table.
    pub partitions: Vec<GptPartition>,
}

/// A partition of a GPT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GptPartition {
    /// Number from 1, as the kernel counts.
    pub number: u32,
    /// GUID of the partition type.
    pub kind: Guid,
    /// GUID of the partition.
    pub id: Guid,
    /// First sector of the partition.
    pub first: u64,
    /// Last sector of the partition.
    pub last: u64,
    /// Attribute bits, copied as they are.
    pub attributes: u64,
    /// UTF-16 units of the name without trailing zeros; they may be invalid UTF-16.
    pub name: Vec<u16>,
}

/// A table in the boot sector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mbr {
    /// Identifier of the disk: the first half of its `PARTUUID`s.
    pub disk: u32,
    /// Partitions, primary ones first.
    pub partitions: Vec<MbrPartition>,
}

/// A primary or logical partition of an MBR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MbrPartition {
    /// Number from 1; logical partitions from 5.
    pub number: u32,
    /// Type byte of the partition.
    pub kind: u8,
    /// Set if the boot flag is.
    pub active: bool,
    /// First sector of the partition.
    pub first: u64,
    /// Number of its sectors.
    pub sectors: u64,
}

/// Position of a partition in any kind of table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Number as the kernel counts; 0 for a whole disk.
    pub number: u32,
    /// Offset on the disk in bytes.
    pub offset: u64,
    /// Length of the partition in bytes.
    pub length: u64,
}

impl Table {
    /// Returns the positions of the partitions. They may overlap; the caller has to check.
    #[must_use]
    pub fn extents(&self) -> Vec<Extent> {
        let extent = |number, first: u64, sectors: u64| Extent {
            number,
            offset: first.saturating_mul(SECTOR),
            length: sectors.saturating_mul(SECTOR),
        };
        match self {
            Self::Gpt(table) => table
                .partitions
                .iter()
                .map(|part| extent(part.number, part.first, part.last - part.first + 1))
                .collect(),
            Self::Mbr(table) => table
                .partitions
                .iter()
                .map(|part| extent(part.number, part.first, part.sectors))
                .collect(),
            Self::None => Vec::new(),
        }
    }
}

/// Reads the partition table of a disk.
///
/// # Errors
/// The disk cannot be read, or has a table that is damaged.
pub fn read(disk: &dyn BlockRead) -> Result<Table, ReadError> {
    if disk.len() < SECTOR {
        return Ok(Table::None);
    }
    let boot = sectors(disk, 0, SECTOR_BYTES)?;
    let fields = Fields(&boot);
    if fields.le16(boot::SIGNATURE) != boot::SIGNATURE_VALUE {
        return Ok(Table::None);
    }
    let entries = primary(fields);
    if entries.iter().any(|entry| entry.kind == boot::PROTECTIVE) {
        return gpt(disk).map(Table::Gpt);
    }
    // The boot sector of FAT or another file system has the same signature, and code in place of the table.
    let mut statuses = (0..4).map(|index| fields.u8(boot::entry(index) + boot::STATUS));
    let is_outside = |entry: &MbrPartition| entry.first + entry.sectors > disk.len() / SECTOR;
    if entries.is_empty()
        || !statuses.all(|status| matches!(status, 0 | 0x80))
        || entries.iter().any(is_outside)
    {
        return Ok(Table::None);
    }
    mbr(disk, fields.le32(boot::DISK_ID), entries).map(Table::Mbr)
}

fn damaged(problem: impl Into<String>) -> ReadError {
    ReadError::damaged(PART, problem)
}

fn sectors(disk: &dyn BlockRead, first: u64, bytes: usize) -> Result<Vec<u8>, ReadError> {
    let mut buffer = vec![0; bytes];
    disk.read_at(first.saturating_mul(SECTOR), &mut buffer)?;
    Ok(buffer)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TableCopy {
    Primary,
    Backup,
}

fn gpt(disk: &dyn BlockRead) -> Result<Gpt, ReadError> {
    // If both are damaged, the error of the first is the one to report.
    table_at(disk, TableCopy::Primary)
        .or_else(|problem| table_at(disk, TableCopy::Backup).map_err(|_| problem))
}

fn table_at(disk: &dyn BlockRead, copy: TableCopy) -> Result<Gpt, ReadError> {
    let own = match copy {
        TableCopy::Primary => 1,
        TableCopy::Backup => (disk.len() / SECTOR).saturating_sub(1),
    };
    let sector = sectors(disk, own, SECTOR_BYTES)?;
    let fields = Fields(&sector);
    let length = to_index(fields.le32(header::SIZE));
    let has_header = sector.starts_with(header::SIGNATURE) && length >= header::LENGTH;
    let (Some(covered), true) = (sector.get(..length), has_header) else {
        return Err(damaged("the GPT header is missing"));
    };
    let mut covered = covered.to_vec();
    covered.splice(header::CHECKSUM..header::CHECKSUM + 4, [0; 4]);
    if crc32(&covered) != fields.le32(header::CHECKSUM) {
        return Err(damaged("the checksum of the GPT header is wrong"));
    }
    if fields.le64(header::OWN) != own {
        return Err(damaged("the GPT header names another position"));
    }
    let count = fields.le32(header::ENTRY_COUNT);
    let size = fields.le32(header::ENTRY_SIZE);
    if count > MAX_ENTRIES || !(128..=MAX_ENTRY_BYTES).contains(&size) || !size.is_multiple_of(8) {
        return Err(damaged(format!("it has {count} entries of {size} bytes")));
    }
    // Both are small, as was checked above.
    let bytes = to_index(count) * to_index(size);
    let entries = sectors(disk, fields.le64(header::ENTRIES), bytes)?;
    if crc32(&entries) != fields.le32(header::ENTRIES_CHECKSUM) {
        return Err(damaged("the checksum of the GPT entries is wrong"));
    }
    let disk_sectors = disk.len() / SECTOR;
    let partitions = (1..)
        .zip(entries.chunks_exact(to_index(size)))
        .filter_map(|(number, entry)| gpt_entry(number, Fields(entry), disk_sectors).transpose());
    Ok(Gpt {
        disk: Guid::from_disk(fields.array(header::DISK_ID)),
        first_usable: fields.le64(header::FIRST_USABLE),
        last_usable: fields.le64(header::LAST_USABLE),
        entries: count,
        entry_size: size,
        from_backup: copy == TableCopy::Backup,
        partitions: partitions.collect::<Result<_, _>>()?,
    })
}

fn gpt_entry(number: u32, entry: Fields, sectors: u64) -> Result<Option<GptPartition>, ReadError> {
    let kind = Guid::from_disk(entry.array(entry::TYPE));
    if kind.0 == [0; 16] {
        return Ok(None);
    }
    let (first, last) = (entry.le64(entry::FIRST), entry.le64(entry::LAST));
    if first > last || last >= sectors {
        return Err(damaged(format!(
            "partition {number} ({first} to {last}) is not within {sectors} sectors"
        )));
    }
    let units = entry
        .bytes(entry::NAME, entry::NAME_BYTES)
        .chunks_exact(2)
        .map(|unit| Fields(unit).le16(0));
    Ok(Some(GptPartition {
        number,
        kind,
        id: Guid::from_disk(entry.array(entry::ID)),
        first,
        last,
        attributes: entry.le64(entry::ATTRIBUTES),
        name: units.take_while(|unit| *unit != 0).collect(),
    }))
}

/// CRC-32 of Ethernet and zlib.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Returns the entries in use of a boot sector, or of a link in the chain of logical partitions.
fn primary(sector: Fields) -> Vec<MbrPartition> {
    (1..)
        .zip((0..4).map(boot::entry))
        .map(|(number, at)| MbrPartition {
            number,
            kind: sector.u8(at + boot::TYPE),
            active: sector.u8(at + boot::STATUS) & 0x80 != 0,
            first: sector.le32(at + boot::FIRST).into(),
            sectors: sector.le32(at + boot::SECTORS).into(),
        })
        .filter(|entry| entry.kind != 0 && entry.sectors != 0)
        .collect()
}

fn is_extended(entry: &MbrPartition) -> bool {
    boot::EXTENDED.contains(&entry.kind)
}

fn mbr(disk: &dyn BlockRead, id: u32, entries: Vec<MbrPartition>) -> Result<Mbr, ReadError> {
    let extended = entries
        .iter()
        .find(|entry| is_extended(entry))
        .map(|entry| entry.first);
    let mut partitions = entries;
    partitions.retain(|entry| !is_extended(entry));
    if let Some(start) = extended {
        logical(disk, start, &mut partitions)?;
    }
    Ok(Mbr {
        disk: id,
        partitions,
    })
}

/// Follows the chain of logical partitions. Positions are relative: that of a link's partition to the link, that of the next
/// link to the start of the chain.
fn logical(
    disk: &dyn BlockRead,
    start: u64,
    partitions: &mut Vec<MbrPartition>,
) -> Result<(), ReadError> {
    let mut seen = HashSet::new();
    let mut next = Some(start);
    let mut number = 5;
    while let Some(link) = next {
        if !seen.insert(link) || number >= 5 + MAX_LOGICAL {
            return Err(damaged("the chain of logical partitions does not end"));
        }
        let sector = sectors(disk, link, SECTOR_BYTES)?;
        if Fields(&sector).le16(boot::SIGNATURE) != boot::SIGNATURE_VALUE {
            return Err(damaged("the chain of logical partitions is broken"));
        }
        let entries = primary(Fields(&sector));
        for entry in entries.iter().filter(|entry| !is_extended(entry)).take(1) {
            let first = link + entry.first;
            if first + entry.sectors > disk.len() / SECTOR {
                return Err(damaged(format!(
                    "partition {number} is outside of the disk"
                )));
            }
            partitions.push(MbrPartition {
                number,
                first,
                ..*entry
            });
            number += 1;
        }
        next = entries
            .iter()
            .find(|entry| is_extended(entry))
            .map(|entry| start + entry.first);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_usual_crc() {
        for (text, crc) in [("", 0), ("123456789", 0xcbf4_3926), ("a", 0xe8b7_be43)] {
            assert_eq!(crc32(text.as_bytes()), crc, "{text:?}");
        }
    }

    #[test]
    fn guids_are_written_as_everyone_does() {
        let esp = Guid(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b_u128.to_be_bytes());
        assert_eq!(esp.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(
            esp.to_disk()[..8],
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]
        );
    }
}
