//! Carries the partition table of the base over to a disk of any size: the same partitions, with the root reaching to the end
//! if it is the last one. Boot code and the content of the other partitions are those of the guest's disk, unread.

use super::fields::{Fields, low32};
use super::layout::{Region, RegionSource};
use super::{BaseDisk, WriteError};
use crate::disk::gpt;
use crate::disk::read::BlockRead;
use crate::disk::read::partitions::{Extent, Gpt, Mbr, SECTOR, Table, boot};

const SECTOR_BYTES: usize = 512;
/// Bytes before a file system that belong to its boot loader.
const BOOT_AREA: u64 = 1024;

/// Everything on a disk but the root file system.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) regions: Vec<Region>,
    /// Size of the root's partition in bytes.
    pub(super) root_bytes: u64,
}

/// Puts the table of the base and all its partitions but the root on a disk of `size` bytes.
pub(super) fn carry_over(base: &BaseDisk<'_>, size: u64) -> Result<Surroundings, WriteError> {
    let size = size / SECTOR * SECTOR;
    let mut others = base.table.extents();
    others.retain(|other| other.number != base.root.number);
    let root = resized_root(base, &others, size)?;
    let mut regions: Vec<_> = others
        .iter()
        .map(|other| carried(other.offset, other.length))
        .collect();
    match base.table {
        Table::Gpt(table) => regions.extend(gpt_regions(base.disk, table, root, size)?),
        Table::Mbr(table) => {
            regions.push(boot_sector_region(base.disk, table, root)?);
            // Boot loaders keep their second part before the first partition.
            let starts = others.iter().map(|other| other.offset);
            let first = starts.fold(root.offset, u64::min);
            regions.push(carried(SECTOR, first.saturating_sub(SECTOR)));
        }
        Table::None => regions.push(carried(0, BOOT_AREA)),
    }
    Ok(Surroundings {
        regions,
        root_bytes: root.length,
    })
}

/// Returns the root's partition on the new disk: up to the end of the usable space if no partition follows it.
fn resized_root(base: &BaseDisk<'_>, others: &[Extent], size: u64) -> Result<Extent, WriteError> {
    let root = base.root;
    let end = |extent: &Extent| extent.offset.saturating_add(extent.length);
    let is_sound = |other: &Extent| {
        let overlaps = other.offset < end(&root) && root.offset < end(other);
        !overlaps && end(other) <= base.disk.len()
    };
    if !others.iter().all(is_sound) {
        return Err(unknown(
            "partitions that overlap or reach past the end of the disk",
        ));
    }
    let usable_end = match base.table {
        Table::Gpt(table) => size.saturating_sub(gpt::table_sectors(table) * SECTOR),
        Table::Mbr(_) => size.min(u64::from(u32::MAX) * SECTOR),
        Table::None => size,
    };
    let is_last = others.iter().all(|other| other.offset < root.offset);
    let root_end = if is_last { usable_end } else { end(&root) };
    let too_small = root_end > usable_end
        || root_end <= root.offset
        || others.iter().any(|other| end(other) > usable_end);
    if too_small {
        return Err(WriteError::TooSmall { bytes: size });
    }
    Ok(Extent {
        length: root_end - root.offset,
        ..root
    })
}

/// A region that is copied from the same offset of the guest's disk.
fn carried(offset: u64, length: u64) -> Region {
    Region {
        at: offset,
        length,
        source: RegionSource::Copied { offset },
    }
}

fn unknown(what: &str) -> WriteError {
    WriteError::Unknown {
        what: what.to_owned(),
    }
}

fn boot_sector(disk: &dyn BlockRead) -> Result<Fields, WriteError> {
    let mut bytes = [0; SECTOR_BYTES];
    disk.read_at(0, &mut bytes)?;
    Ok(Fields::from(bytes.to_vec()))
}

/// Returns the boot sector with the root's entry as long as the root is.
fn boot_sector_region(
    disk: &dyn BlockRead,
    table: &Mbr,
    root: Extent,
) -> Result<Region, WriteError> {
    let mut sector = boot_sector(disk)?;
    let is_extended =
        |index| boot::EXTENDED.contains(&sector.bytes()[boot::entry(index) + boot::TYPE]);
    if (0..4).any(is_extended) || table.partitions.iter().any(|part| part.number > 4) {
        return Err(unknown("an extended partition"));
    }
    let entry = boot::entry(root.number.clamp(1, 4) as usize - 1);
    // The largest address in cylinders, heads and sectors: the disk's end lies beyond it.
    sector.put(entry + boot::LAST_CHS, &[0xfe, 0xff, 0xff]);
    sector.put32(entry + boot::SECTORS, low32(root.length / SECTOR));
    Ok(Region::in_memory(0, sector.into_bytes()))
}

/// Returns boot sector and table, and the copy of the table at the end.
fn gpt_regions(
    disk: &dyn BlockRead,
    table: &Gpt,
    root: Extent,
    size: u64,
) -> Result<[Region; 2], WriteError> {
    let sectors = size / SECTOR;
    let mut boot = boot_sector(disk)?;
    let used: Vec<_> = (0..4)
        .map(boot::entry)
        .filter(|entry| boot.bytes()[entry + boot::TYPE] != 0)
        .collect();
    let protective = match used[..] {
        [entry] if boot.bytes()[entry + boot::TYPE] == boot::PROTECTIVE => entry,
        _ => return Err(unknown("a GPT beside partitions in the boot sector")),
    };
    let covered = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    boot.put32(protective + boot::SECTORS, covered);
    let mut table = table.clone();
    for partition in &mut table.partitions {
        if partition.number == root.number {
            partition.last = partition.first + root.length / SECTOR - 1;
        }
    }
    let copies = gpt::serialize(&table, sectors);
    let start = [boot.into_bytes(), copies.primary].concat();
    let end_at = size - copies.backup.len() as u64;
    Ok([
        Region::in_memory(0, start),
        Region::in_memory(end_at, copies.backup),
    ])
}
