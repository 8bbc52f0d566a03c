//! Partition tables: GPT, with its backup, and MBR. Sectors of 512 bytes, as every disk that karat makes has.

use std::collections::HashSet;
use std::fmt;

use super::fields::{Fields, to_index};
use super::{BlockRead, ReadError};

/// Bytes of a sector.
pub const SECTOR: u64 = 512;
/// Bytes of a sector, to read one.
const SECTOR_BYTES: usize = 512;
/// What errors call it.
const PART: &str = "partition table";
/// The standard wants room for 128; nobody has more.
const MOST_ENTRIES: u32 = 1024;
/// An entry may grow, but none ever did.
const MOST_ENTRY_BYTES: u32 = 4096;
/// Logical partitions are a chain over the disk: it has to end somewhere.
const MOST_LOGICAL: u32 = 128;

/// A GUID in the order in which it is written as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// As it lies on a disk: the first three groups are little-endian.
    #[must_use]
    pub fn from_disk(mut bytes: [u8; 16]) -> Self {
        bytes[0..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Self(bytes)
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

/// How a disk is divided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Table {
    /// A GUID partition table.
    Gpt(Gpt),
    /// A table in the boot sector.
    Mbr(Mbr),
    /// None: the disk may be one file system.
    None,
}

/// A GUID partition table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gpt {
    /// The disk's GUID.
    pub disk: Guid,
    /// The first sector that a partition may use.
    pub first_usable: u64,
    /// The last one.
    pub last_usable: u64,
    /// Entries that the table has room for.
    pub entries: u32,
    /// Bytes of an entry.
    pub entry_size: u32,
    /// The first table was damaged: this is what the backup at the end says.
    pub from_backup: bool,
    /// The partitions in the table's order.
    pub partitions: Vec<GptPartition>,
}

/// A partition of a GPT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GptPartition {
    /// From 1, as the kernel counts.
    pub number: u32,
    /// Its type.
    pub kind: Guid,
    /// Its own GUID.
    pub id: Guid,
    /// The first sector.
    pub first: u64,
    /// The last sector.
    pub last: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// The name's UTF-16 units without the zeros after it: nothing makes them valid.
    pub name: Vec<u16>,
}

/// A table in the boot sector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mbr {
    /// The disk's identifier, the first half of `PARTUUID`s.
    pub disk: u32,
    /// The partitions, primary ones first.
    pub partitions: Vec<MbrPartition>,
}

/// A partition of an MBR; extended ones, which only hold others, are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MbrPartition {
    /// From 1; logical ones from 5.
    pub number: u32,
    /// Its type.
    pub kind: u8,
    /// The boot flag.
    pub active: bool,
    /// The first sector.
    pub first: u64,
    /// Sectors.
    pub sectors: u64,
}

/// Where a partition is, whatever the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// As the kernel counts.
    pub number: u32,
    /// The first byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

impl Table {
    /// Where the partitions are. They may overlap: that is for whoever uses them to judge.
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
    if fields.le16(510) != 0xaa55 {
        return Ok(Table::None);
    }
    let entries = primary(fields);
    if entries.iter().any(|entry| entry.kind == 0xee) {
        return gpt(disk).map(Table::Gpt);
    }
    // A boot sector of FAT or another file system has the same mark, and code where the table would be.
    let plausible = |at: usize| matches!(fields.u8(at), 0 | 0x80);
    if entries.is_empty() || ![446, 462, 478, 494].into_iter().all(plausible) {
        return Ok(Table::None);
    }
    let inside = |entry: &&MbrPartition| entry.first + entry.sectors > disk.len() / SECTOR;
    if entries.iter().find(inside).is_some() {
        return Ok(Table::None);
    }
    mbr(disk, fields.le32(440), entries).map(Table::Mbr)
}

fn damaged(problem: impl Into<String>) -> ReadError {
    ReadError::Damaged {
        part: PART,
        problem: problem.into(),
    }
}

fn sectors(disk: &dyn BlockRead, first: u64, bytes: usize) -> Result<Vec<u8>, ReadError> {
    let mut buffer = vec![0; bytes];
    disk.read_at(first.saturating_mul(SECTOR), &mut buffer)?;
    Ok(buffer)
}

fn gpt(disk: &dyn BlockRead) -> Result<Gpt, ReadError> {
    let first = table_at(disk, 1, false);
    let Err(problem) = first else { return first };
    let last = (disk.len() / SECTOR).saturating_sub(1);
    // What is wrong with the first is what a person wants to know.
    table_at(disk, last, true).map_err(|_| problem)
}

fn table_at(disk: &dyn BlockRead, own: u64, from_backup: bool) -> Result<Gpt, ReadError> {
    let header = sectors(disk, own, SECTOR_BYTES)?;
    let fields = Fields(&header);
    let length = fields.le32(12);
    let covered = usize::try_from(length)
        .ok()
        .and_then(|length| header.get(..length));
    let (Some(covered), true) = (covered, header.starts_with(b"EFI PART") && length >= 92) else {
        return Err(damaged("there is no GPT header"));
    };
    let mut covered = covered.to_vec();
    covered.splice(16..20, [0; 4]);
    if crc32(&covered) != fields.le32(16) {
        return Err(damaged("the GPT header's checksum is wrong"));
    }
    if fields.le64(24) != own {
        return Err(damaged("the GPT header is not where it says"));
    }
    let (count, size) = (fields.le32(80), fields.le32(84));
    if count > MOST_ENTRIES || !(128..=MOST_ENTRY_BYTES).contains(&size) || !size.is_multiple_of(8)
    {
        return Err(damaged(format!("it has {count} entries of {size} bytes")));
    }
    // Both are small, see above.
    let (count_bytes, size_bytes) = (to_index(count), to_index(size));
    let entries = sectors(disk, fields.le64(72), count_bytes * size_bytes)?;
    if crc32(&entries) != fields.le32(88) {
        return Err(damaged("the checksum of the GPT's entries is wrong"));
    }
    let mut table = Gpt {
        disk: Guid::from_disk(fields.array(56)),
        first_usable: fields.le64(40),
        last_usable: fields.le64(48),
        entries: count,
        entry_size: size,
        from_backup,
        partitions: Vec::new(),
    };
    for (number, entry) in (1..).zip(entries.chunks_exact(size_bytes)) {
        table
            .partitions
            .extend(gpt_entry(number, Fields(entry), disk.len() / SECTOR)?);
    }
    Ok(table)
}

fn gpt_entry(number: u32, entry: Fields, sectors: u64) -> Result<Option<GptPartition>, ReadError> {
    let kind = Guid::from_disk(entry.array(0));
    if kind.0 == [0; 16] {
        return Ok(None);
    }
    let (first, last) = (entry.le64(32), entry.le64(40));
    if first > last || last >= sectors {
        return Err(damaged(format!(
            "partition {number} ({first} to {last}) is not within {sectors} sectors"
        )));
    }
    let units = entry
        .bytes(56, 72)
        .chunks_exact(2)
        .map(|unit| Fields(unit).le16(0));
    Ok(Some(GptPartition {
        number,
        kind,
        id: Guid::from_disk(entry.array(16)),
        first,
        last,
        attributes: entry.le64(48),
        name: units.take_while(|unit| *unit != 0).collect(),
    }))
}

/// CRC-32 as in Ethernet and zlib.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The entries in use of a boot sector or of a link in the chain of logical partitions.
fn primary(sector: Fields) -> Vec<MbrPartition> {
    (1..)
        .zip([446, 462, 478, 494])
        .map(|(number, at)| MbrPartition {
            number,
            kind: sector.u8(at + 4),
            active: sector.u8(at) & 0x80 != 0,
            first: sector.le32(at + 8).into(),
            sectors: sector.le32(at + 12).into(),
        })
        .filter(|entry| entry.kind != 0 && entry.sectors != 0)
        .collect()
}

fn is_extended(entry: &MbrPartition) -> bool {
    matches!(entry.kind, 0x05 | 0x0f | 0x85)
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

/// Follows the chain of logical partitions; each link's places are relative, its own partition's to the link, the next link's
/// to the start of the chain.
fn logical(
    disk: &dyn BlockRead,
    start: u64,
    partitions: &mut Vec<MbrPartition>,
) -> Result<(), ReadError> {
    let mut seen = HashSet::new();
    let mut next = Some(start);
    let mut number = 5;
    while let Some(link) = next {
        if !seen.insert(link) || number >= 5 + MOST_LOGICAL {
            return Err(damaged("the chain of logical partitions does not end"));
        }
        let sector = sectors(disk, link, SECTOR_BYTES)?;
        if Fields(&sector).le16(510) != 0xaa55 {
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
