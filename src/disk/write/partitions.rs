//! The partition table of the base on a disk of any size: the same partitions, the root reaching to the end.

use super::WriteError;
use super::fields::{Fields, low32};
use super::layout::{Piece, Source};
use crate::disk::read::BlockRead;
use crate::disk::read::partitions::{Extent, Gpt, Guid, Mbr, SECTOR, Table, crc32};

/// Bytes of a sector, as a size in memory.
const SECTOR_BYTES: usize = 512;
/// Boot code and the disk's number, before the table of the boot sector.
const BOOT_CODE: usize = 446;
/// Bytes of an entry of that table.
const MBR_ENTRY: usize = 16;
/// The type of an entry that says that the disk has a GPT.
const PROTECTIVE: u8 = 0xee;
/// Types of partitions that hold others.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// Bytes before a file system that belong to its boot loader.
const BOOT_AREA: u64 = 1024;

/// Everything on a disk but the root file system.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) pieces: Vec<Piece>,
    /// Where the root file system goes.
    pub(super) root: u64,
    /// Bytes that there are for it.
    pub(super) space: u64,
}

/// Puts the table of `base` and all its partitions but the root on a disk of `size` bytes.
pub(super) fn carry(
    base: &dyn BlockRead,
    table: &Table,
    root: Extent,
    size: u64,
) -> Result<Surroundings, WriteError> {
    let size = size / SECTOR * SECTOR;
    let others: Vec<_> = table
        .extents()
        .into_iter()
        .filter(|other| other.number != root.number)
        .collect();
    let end = |extent: &Extent| extent.offset.saturating_add(extent.length);
    let overlaps = |other: &Extent| other.offset < end(&root) && root.offset < end(other);
    if others
        .iter()
        .any(|other| overlaps(other) || end(other) > base.len())
    {
        return Err(unknown(
            "partitions that overlap or reach past the end of the disk",
        ));
    }
    let is_last = others.iter().all(|other| other.offset < root.offset);
    let last = match table {
        Table::Gpt(table) => size.saturating_sub(table_sectors(table) * SECTOR),
        Table::Mbr(_) => size.min(u64::from(u32::MAX) * SECTOR),
        Table::None => size,
    };
    let root_end = if is_last { last } else { end(&root) };
    if root_end > last || root_end <= root.offset || others.iter().any(|other| end(other) > last) {
        return Err(WriteError::TooSmall { bytes: size });
    }
    let space = root_end - root.offset;
    let carried = |offset, length| Piece {
        at: offset,
        length,
        source: Source::Carried { offset },
    };
    let mut pieces: Vec<_> = others
        .iter()
        .map(|other| carried(other.offset, other.length))
        .collect();
    match table {
        Table::Gpt(table) => pieces.extend(gpt(base, table, root, space, size)?),
        Table::Mbr(table) => {
            pieces.push(mbr(base, table, root, space)?);
            // Boot loaders keep their second part before the first partition.
            let first = others
                .iter()
                .map(|other| other.offset)
                .chain([root.offset])
                .min();
            pieces.push(carried(
                SECTOR,
                first.unwrap_or(SECTOR).saturating_sub(SECTOR),
            ));
        }
        Table::None => pieces.push(carried(0, BOOT_AREA)),
    }
    Ok(Surroundings {
        pieces,
        root: root.offset,
        space,
    })
}

fn unknown(what: &str) -> WriteError {
    WriteError::Unknown {
        what: what.to_owned(),
    }
}

fn boot_sector(base: &dyn BlockRead) -> Result<Fields, WriteError> {
    let mut sector = Fields::new(SECTOR_BYTES);
    let mut bytes = [0; SECTOR_BYTES];
    base.read_at(0, &mut bytes)?;
    sector.put(0, &bytes);
    Ok(sector)
}

/// The boot sector with the root's entry as long as the root is.
fn mbr(base: &dyn BlockRead, table: &Mbr, root: Extent, space: u64) -> Result<Piece, WriteError> {
    let mut sector = boot_sector(base)?;
    let entry = |number: usize| BOOT_CODE + number * MBR_ENTRY;
    if (0..4).any(|number| EXTENDED.contains(&sector.bytes()[entry(number) + 4]))
        || table
            .partitions
            .iter()
            .any(|partition| partition.number > 4)
    {
        return Err(unknown("an extended partition"));
    }
    let own = entry(root.number.clamp(1, 4) as usize - 1);
    // Cylinders, heads and sectors of the end: beyond what they can say.
    sector.put(own + 5, &[0xfe, 0xff, 0xff]);
    sector.put32(own + 12, low32(space / SECTOR));
    Ok(Piece::here(0, sector.into_bytes()))
}

/// Sectors of the entries of a GPT.
fn entry_sectors(table: &Gpt) -> u64 {
    (u64::from(table.entries) * u64::from(table.entry_size)).div_ceil(SECTOR)
}

/// Sectors of a copy: entries and header.
fn table_sectors(table: &Gpt) -> u64 {
    entry_sectors(table) + 1
}

/// Boot sector, table and its copy at the end.
fn gpt(
    base: &dyn BlockRead,
    table: &Gpt,
    root: Extent,
    space: u64,
    size: u64,
) -> Result<[Piece; 2], WriteError> {
    let sectors = size / SECTOR;
    let mut boot = boot_sector(base)?;
    let entry = |number: usize| BOOT_CODE + number * MBR_ENTRY;
    let kinds: Vec<_> = (0..4)
        .map(|number| (number, boot.bytes()[entry(number) + 4]))
        .filter(|(_, kind)| *kind != 0)
        .collect();
    let [(number, PROTECTIVE)] = kinds[..] else {
        return Err(unknown("a GPT beside partitions in the boot sector"));
    };
    boot.put32(
        entry(number) + 12,
        u32::try_from(sectors - 1).unwrap_or(u32::MAX),
    );
    let entries = entries(table, root, space);
    let used = table.entry_size as usize * table.entries as usize;
    let checksum = crc32(&entries[..used]);
    let last = sectors - 1;
    let header =
        |own, other, entries_at| header(table, [own, other, entries_at], sectors, checksum);
    let mut start = boot.into_bytes();
    start.extend(header(1, last, 2));
    start.extend(&entries);
    let mut end = entries;
    let copy = last - entry_sectors(table);
    end.extend(header(last, 1, copy));
    Ok([Piece::here(0, start), Piece::here(copy * SECTOR, end)])
}

fn entries(table: &Gpt, root: Extent, space: u64) -> Vec<u8> {
    let size = table.entry_size as usize;
    let mut entries = Fields::new((size * table.entries as usize).next_multiple_of(SECTOR_BYTES));
    for partition in &table.partitions {
        let at = (partition.number.max(1) as usize - 1) * size;
        let last = if partition.number == root.number {
            partition.first + space / SECTOR - 1
        } else {
            partition.last
        };
        entries.put(at, &on_disk(partition.kind));
        entries.put(at + 16, &on_disk(partition.id));
        entries.put64(at + 32, partition.first);
        entries.put64(at + 40, last);
        entries.put64(at + 48, partition.attributes);
        for (unit, value) in partition.name.iter().take((size - 56) / 2).enumerate() {
            entries.put16(at + 56 + 2 * unit, *value);
        }
    }
    entries.into_bytes()
}

fn header(table: &Gpt, [own, other, entries_at]: [u64; 3], sectors: u64, entries: u32) -> Vec<u8> {
    /// Bytes that the checksum covers.
    const LENGTH: usize = 92;
    let mut header = Fields::new(SECTOR_BYTES);
    header.put(0, b"EFI PART");
    header.put32(8, 0x0001_0000);
    header.put32(12, low32(LENGTH as u64));
    header.put64(24, own);
    header.put64(32, other);
    header.put64(40, table.first_usable);
    header.put64(48, sectors - 1 - table_sectors(table));
    header.put(56, &on_disk(table.disk));
    header.put64(72, entries_at);
    header.put32(80, table.entries);
    header.put32(84, table.entry_size);
    header.put32(88, entries);
    let checksum = crc32(&header.bytes()[..LENGTH]);
    header.put32(16, checksum);
    header.into_bytes()
}

/// The first three groups of a GUID are stored little-endian.
fn on_disk(guid: Guid) -> [u8; 16] {
    // Turned twice, a GUID is what it was.
    Guid::from_disk(guid.0).0
}
