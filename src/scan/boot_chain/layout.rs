//! The parts of a disk outside of its root file system.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::gpt::{BIOS_BOOT, ESP};
use crate::disk::read::fat::Fat;
use crate::disk::read::partitions::{self, Extent, SECTOR, Table};
use crate::disk::read::{BlockRead, ReadError, Slice, find_roots};

/// Bytes of the boot sector before the identifier of the disk.
const BOOT_CODE_BYTES: u64 = 440;
/// Bytes before an ext4 file system that belong to its boot loader.
const BOOT_AREA_BYTES: u64 = 1024;
/// Type of an EFI partition in the boot sector.
const EFI_TYPE: u8 = 0xef;

/// Partitions of a disk, and the parts outside of its root file system.
pub(super) struct Layout {
    pub(super) table: Table,
    /// Partition of the root file system; number 0 on a disk without a table.
    pub(super) root: Extent,
    /// Everything but the root file system and the structures of the table.
    pub(super) regions: Vec<Region>,
}

/// A part of a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Region {
    pub(super) kind: RegionKind,
    pub(super) bytes: Range<u64>,
}

/// Role of a part of a disk. The numbers are those of partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RegionKind {
    /// Code in the boot sector.
    BootCode,
    /// Sectors between the table and the first partition.
    BootGap,
    /// Partition with the core image of GRUB.
    BiosBoot(u32),
    /// Start of the root's partition, before the superblock.
    RootBoot(u32),
    /// EFI system partition.
    Efi(u32),
    /// Another FAT file system.
    Fat(u32),
    Other(u32),
    /// Sectors behind the first partition, in no partition.
    Gap,
    /// End of the root's partition, behind its file system.
    RootEnd(u32),
}

impl Layout {
    pub(super) fn read(disk: &Arc<dyn BlockRead>) -> Result<Self, ReadError> {
        let table = partitions::read(disk)?;
        let found = find_roots(disk)?.found.pop();
        let (root, files) =
            found.ok_or_else(|| ReadError::damaged("disk", "it has no root file system"))?;
        let superblock = files.superblock();
        let end = root.offset + root.length;
        let files_end = root.offset + superblock.blocks * u64::from(superblock.block_size);
        let region = |kind, bytes| Region { kind, bytes };
        let mut regions = vec![
            region(
                RegionKind::RootBoot(root.number),
                root.offset..root.offset + BOOT_AREA_BYTES,
            ),
            region(RegionKind::RootEnd(root.number), files_end.min(end)..end),
        ];
        if table != Table::None {
            regions.push(region(RegionKind::BootCode, 0..BOOT_CODE_BYTES));
            for extent in table.extents() {
                if extent.number != root.number {
                    let bytes = extent.offset..extent.offset + extent.length;
                    regions.push(region(kind(disk, &table, extent)?, bytes));
                }
            }
            regions.extend(gaps(disk, &table)?);
        }
        regions.retain(|region| !region.bytes.is_empty());
        regions.sort_by_key(|region| region.bytes.start);
        Ok(Self {
            table,
            root,
            regions,
        })
    }

    pub(super) fn is_gpt(&self) -> bool {
        matches!(self.table, Table::Gpt(_))
    }
}

/// Returns the role of a partition other than the root's.
fn kind(disk: &Arc<dyn BlockRead>, table: &Table, extent: Extent) -> Result<RegionKind, ReadError> {
    let number = extent.number;
    let (is_boot, is_efi) = match table {
        Table::Gpt(table) => {
            let mut parts = table.partitions.iter();
            let kind = parts.find(|part| part.number == number);
            let is = |expected| kind.is_some_and(|part| part.kind == expected);
            (is(BIOS_BOOT), is(ESP))
        }
        Table::Mbr(table) => {
            let is_efi = |part: &partitions::MbrPartition| part.kind == EFI_TYPE;
            let mut parts = table.partitions.iter();
            (
                false,
                parts.any(|part| part.number == number && is_efi(part)),
            )
        }
        Table::None => (false, false),
    };
    let partition = Slice::new(disk, extent.offset, extent.length)?;
    Ok(match (is_boot, is_efi) {
        (true, _) => RegionKind::BiosBoot(number),
        (_, true) => RegionKind::Efi(number),
        _ if Fat::is_at(&partition) => RegionKind::Fat(number),
        _ => RegionKind::Other(number),
    })
}

/// Returns the parts of a disk that neither the table nor a partition fills.
fn gaps(disk: &Arc<dyn BlockRead>, table: &Table) -> Result<Vec<Region>, ReadError> {
    let partitions = table.extents().into_iter();
    let partitions = partitions.map(|extent| extent.offset..extent.offset + extent.length);
    let first = partitions.clone().map(|bytes| bytes.start).min();
    let structures = partitions::table_sectors(disk, table)?.into_iter();
    let structures = structures.map(|range| range.start * SECTOR..range.end * SECTOR);
    let mut filled: Vec<_> = partitions.chain(structures).collect();
    filled.sort_by_key(|bytes| bytes.start);
    filled.push(disk.len()..disk.len());
    let mut end = 0;
    let mut gaps = Vec::new();
    for bytes in filled {
        if end < bytes.start {
            let is_before = first.is_some_and(|first| end < first);
            gaps.push(Region {
                kind: if is_before {
                    RegionKind::BootGap
                } else {
                    RegionKind::Gap
                },
                bytes: end..bytes.start,
            });
        }
        end = end.max(bytes.end);
    }
    Ok(gaps)
}

impl Region {
    /// Returns a name that is the same in every disk with these partitions, for ids of findings.
    pub(super) fn id(&self) -> String {
        let first = self.bytes.start / SECTOR;
        match self.kind {
            RegionKind::BootCode => "boot code".to_owned(),
            RegionKind::BootGap | RegionKind::Gap => format!("gap at sector {first}"),
            RegionKind::BiosBoot(number) => format!("BIOS boot partition {number}"),
            RegionKind::RootBoot(0) => "boot sectors of the disk".to_owned(),
            RegionKind::RootBoot(number) => format!("boot sectors of partition {number}"),
            RegionKind::Efi(number) => format!("EFI partition {number}"),
            RegionKind::Fat(number) => format!("FAT partition {number}"),
            RegionKind::Other(number) => format!("partition {number}"),
            RegionKind::RootEnd(0) => "end of the disk".to_owned(),
            RegionKind::RootEnd(number) => format!("end of partition {number}"),
        }
    }
}

/// The name and the place on the disk.
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = &self.bytes;
        let last = (end.max(&1) - 1) / SECTOR;
        match self.kind {
            RegionKind::BootCode => write!(f, "the boot code of the disk, bytes 0-{}", end - 1),
            RegionKind::BootGap => {
                let first = start / SECTOR;
                write!(
                    f,
                    "the gap before the first partition, sectors {first}-{last}"
                )
            }
            _ => write!(f, "{}, sectors {}-{last}", self.id(), start / SECTOR),
        }
    }
}
