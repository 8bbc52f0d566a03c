//! Partition tables: GPT, with its backup, and MBR. Sectors of 512 bytes, as every disk that karat makes has.

use std::fmt;
use std::ops::Range;

use super::fields::{Fields, to_index};
use super::{BlockRead, ReadError, ambiguity};

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
const SECTOR_BYTES: usize = 512;
const BOOT_SECTOR: Range<u64> = 0..1;
const PART: &str = "partition table";
/// The standard asks for room for 128.
const MAX_ENTRIES: u32 = 1024;
/// The standard allows larger entries; no tool makes them, and the kernel does not read them.
const GPT_ENTRY_BYTES: u32 = 128;
/// Bound on the chain of logical partitions.
const MAX_LOGICAL: usize = 128;

/// The boot sector: offsets of its fields, and values that they have.
pub(crate) mod boot {
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
    /// Sectors of the chain of logical partitions.
    pub links: Vec<u64>,
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
    /// Returns the positions of the partitions, which do not overlap.
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

/// Reads the partition table of a disk as the kernel reads it.
///
/// # Errors
/// The disk cannot be read, or has a table that is damaged, or that the kernel, firmware or a boot loader could read in
/// another way.
pub fn read(disk: &dyn BlockRead) -> Result<Table, ReadError> {
    if disk.len() < SECTOR {
        return Ok(Table::None);
    }
    let boot = sectors(disk, 0, SECTOR_BYTES)?;
    let fields = Fields(&boot);
    ambiguity::check_labels(disk, fields)?;
    if fields.le16(boot::SIGNATURE) != boot::SIGNATURE_VALUE {
        return Ok(Table::None);
    }
    let entries = used_entries(fields);
    if entries.iter().any(|entry| entry.kind == boot::PROTECTIVE) {
        ambiguity::check_protective(&entries)?;
        return gpt(disk).map(Table::Gpt);
    }
    // The boot sector of FAT or another file system has the same signature, and code in place of the table.
    let mut statuses = (0..4).map(|index| fields.u8(boot::entry(index) + boot::STATUS));
    if entries.iter().all(|entry| entry.sectors == 0)
        || !statuses.all(|status| matches!(status, 0 | 0x80))
    {
        return Ok(Table::None);
    }
    mbr(disk, fields.le32(boot::DISK_ID), entries).map(Table::Mbr)
}

/// Returns the sectors that the structures of a table fill: boot sector, GPT headers and entries, links of logical partitions.
pub(crate) fn table_sectors(
    disk: &dyn BlockRead,
    table: &Table,
) -> Result<Vec<Range<u64>>, ReadError> {
    let mut sectors = vec![BOOT_SECTOR];
    match table {
        Table::Gpt(_) => {
            let primary = GptCopy::read(disk, 1)?;
            sectors.extend(primary.sectors());
            if let Ok(backup) = GptCopy::read(disk, primary.other) {
                sectors.extend(backup.sectors());
            }
        }
        Table::Mbr(table) => sectors.extend(table.links.iter().map(|link| *link..*link + 1)),
        Table::None => sectors.clear(),
    }
    Ok(sectors)
}

fn damaged(problem: impl Into<String>) -> ReadError {
    ReadError::damaged(PART, problem)
}

fn sectors(disk: &dyn BlockRead, first: u64, bytes: usize) -> Result<Vec<u8>, ReadError> {
    let mut buffer = vec![0; bytes];
    disk.read_at(first.saturating_mul(SECTOR), &mut buffer)?;
    Ok(buffer)
}

fn gpt(disk: &dyn BlockRead) -> Result<Gpt, ReadError> {
    let last = (disk.len() / SECTOR).saturating_sub(1);
    let primary = GptCopy::read(disk, 1).map_err(|problem| match GptCopy::read(disk, last) {
        Ok(_) => ReadError::ambiguous(
            "the primary GPT is damaged: firmware uses its backup, and the kernel finds no partitions",
        ),
        Err(_) => problem,
    })?;
    let mut structures = vec![BOOT_SECTOR];
    structures.extend(primary.sectors());
    let backups = [Some(primary.other), (primary.other != last).then_some(last)];
    for at in backups.into_iter().flatten().filter(|at| *at != 1) {
        // The kernel does not need a backup.
        let Ok(backup) = GptCopy::read(disk, at) else {
            continue;
        };
        if !backup.table.has_partitions_of(&primary.table) {
            return Err(ReadError::ambiguous(format!(
                "the backup GPT in sector {at} has other partitions than the primary one"
            )));
        }
        if at == primary.other {
            structures.extend(backup.sectors());
        }
    }
    let partitions = primary.table.partitions.iter();
    let partitions = partitions.map(|part| (part.number, part.first..part.last + 1));
    ambiguity::check_overlaps(partitions, &structures)?;
    Ok(primary.table)
}

impl Gpt {
    fn has_partitions_of(&self, other: &Self) -> bool {
        self.disk == other.disk && self.partitions == other.partitions
    }
}

/// One of the two copies of a GPT.
pub(super) struct GptCopy {
    table: Gpt,
    /// Sector of its header.
    own: u64,
    /// Sector of the other copy's header.
    other: u64,
    /// First sector of its entries.
    entries_at: u64,
}

impl GptCopy {
    /// Reads the copy whose header is in the sector `own`.
    pub(super) fn read(disk: &dyn BlockRead, own: u64) -> Result<Self, ReadError> {
        let sector = sectors(disk, own, SECTOR_BYTES)?;
        let fields = Fields(&sector);
        check_header(&sector)?;
        if fields.le64(header::OWN) != own {
            return Err(damaged("the GPT header names another position"));
        }
        let disk_sectors = disk.len() / SECTOR;
        let first_usable = fields.le64(header::FIRST_USABLE);
        let last_usable = fields.le64(header::LAST_USABLE);
        if first_usable > last_usable || last_usable >= disk_sectors {
            return Err(damaged(format!(
                "the usable sectors of the GPT ({first_usable} to {last_usable}) are not within {disk_sectors}"
            )));
        }
        let count = fields.le32(header::ENTRY_COUNT);
        let size = fields.le32(header::ENTRY_SIZE);
        if count > MAX_ENTRIES || size != GPT_ENTRY_BYTES {
            return Err(damaged(format!("it has {count} entries of {size} bytes")));
        }
        let entries_at = fields.le64(header::ENTRIES);
        // Both are small, as was checked above.
        let entries = sectors(disk, entries_at, to_index(count) * to_index(size))?;
        if crc32(&entries) != fields.le32(header::ENTRIES_CHECKSUM) {
            return Err(damaged("the checksum of the GPT entries is wrong"));
        }
        let entries = (1..).zip(entries.chunks_exact(to_index(size)));
        let partitions = entries.filter_map(|(number, entry)| {
            gpt_entry(number, Fields(entry), disk_sectors).transpose()
        });
        let table = Gpt {
            disk: Guid::from_disk(fields.array(header::DISK_ID)),
            first_usable,
            last_usable,
            entries: count,
            entry_size: size,
            partitions: partitions.collect::<Result<_, _>>()?,
        };
        Ok(Self {
            table,
            own,
            other: fields.le64(header::OTHER),
            entries_at,
        })
    }

    /// Returns the sectors of header and entries.
    fn sectors(&self) -> [Range<u64>; 2] {
        let bytes = u64::from(self.table.entries) * u64::from(self.table.entry_size);
        let entries_end = self.entries_at + bytes.div_ceil(SECTOR);
        [self.own..self.own + 1, self.entries_at..entries_end]
    }
}

/// Fails unless a sector is the header of a GPT with the right checksum.
pub(super) fn check_header(sector: &[u8]) -> Result<(), ReadError> {
    let fields = Fields(sector);
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
    Ok(())
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

/// Returns the entries in use of a boot sector, or of a link in the chain of logical partitions. The kernel reads an entry
/// with sectors and no type, and one for a GPT without sectors.
fn used_entries(sector: Fields) -> Vec<MbrPartition> {
    (1..)
        .zip((0..4).map(boot::entry))
        .map(|(number, at)| MbrPartition {
            number,
            kind: sector.u8(at + boot::TYPE),
            active: sector.u8(at + boot::STATUS) & 0x80 != 0,
            first: sector.le32(at + boot::FIRST).into(),
            sectors: sector.le32(at + boot::SECTORS).into(),
        })
        .filter(|entry| entry.kind != 0 || entry.sectors != 0)
        .collect()
}

fn is_extended(entry: &MbrPartition) -> bool {
    boot::EXTENDED.contains(&entry.kind)
}

fn mbr(disk: &dyn BlockRead, id: u32, mut entries: Vec<MbrPartition>) -> Result<Mbr, ReadError> {
    entries.retain(|entry| entry.sectors != 0);
    ambiguity::check_types(&entries)?;
    let (extended, mut partitions): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_extended);
    let mut links = Vec::new();
    match extended[..] {
        [] => {}
        [extended] => links = logical(disk, extended.first, &mut partitions)?,
        _ => return Err(ReadError::ambiguous("it has several extended partitions")),
    }
    for part in &partitions {
        if part.first + part.sectors > disk.len() / SECTOR {
            return Err(damaged(format!(
                "partition {} is outside of the disk",
                part.number
            )));
        }
    }
    let structures: Vec<_> = links
        .iter()
        .chain(&[0])
        .map(|link| *link..*link + 1)
        .collect();
    let extents = partitions.iter();
    let extents = extents.map(|part| (part.number, part.first..part.first + part.sectors));
    ambiguity::check_overlaps(extents, &structures)?;
    Ok(Mbr {
        disk: id,
        partitions,
        links,
    })
}

/// Follows the chain of logical partitions, and returns the sectors of its links. Positions are relative: that of a link's
/// partition to the link, that of the next link to the start of the chain.
fn logical(
    disk: &dyn BlockRead,
    start: u64,
    partitions: &mut Vec<MbrPartition>,
) -> Result<Vec<u64>, ReadError> {
    let mut links = Vec::new();
    let mut next = Some(start);
    let mut number = 5;
    while let Some(link) = next {
        if links.contains(&link) || links.len() >= MAX_LOGICAL {
            return Err(damaged("the chain of logical partitions does not end"));
        }
        links.push(link);
        let sector = sectors(disk, link, SECTOR_BYTES)?;
        if Fields(&sector).le16(boot::SIGNATURE) != boot::SIGNATURE_VALUE {
            return Err(damaged("the chain of logical partitions is broken"));
        }
        let mut entries = used_entries(Fields(&sector));
        entries.retain(|entry| entry.sectors != 0);
        ambiguity::check_types(&entries)?;
        let (further, own): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_extended);
        if own.len() > 1 || further.len() > 1 {
            return Err(ReadError::ambiguous(format!(
                "a link of the chain of logical partitions (sector {link}) has several of them"
            )));
        }
        partitions.extend(own.iter().map(|entry| MbrPartition {
            number,
            first: link + entry.first,
            ..*entry
        }));
        number += u32::from(!own.is_empty());
        next = further.first().map(|entry| start + entry.first);
    }
    Ok(links)
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
