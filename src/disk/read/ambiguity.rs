//! Refuses partition tables that the kernel, firmware or a boot loader could read in another way than karat: a scan would see
//! other partitions than the machine that boots from the disk.
//!
//! The kernel's reading is that of `block/partitions` of Linux.

use std::ops::Range;

use super::fields::Fields;
use super::partitions::{GptCopy, MbrPartition, boot, check_header};
use super::{BlockRead, ReadError};

/// Offset and magic number of a table of SGI, which the kernel looks for before an MBR.
const SGI: (usize, &[u8]) = (0, &[0x0b, 0xe5, 0xa9, 0x41]);
/// Tables that it looks for on a disk without an MBR.
const OTHER_LABELS: [(&str, usize, &[u8]); 2] = [
    ("a table of Sun", 508, &[0xda, 0xbe]),
    ("a partition map of Apple", 0, b"ER"),
];
/// Sector size of some disks; the kernel looks for a GPT in the second sector, whatever the size.
const LARGE_SECTOR: u64 = 4096;
/// The kernel reads no further entry of a GPT.
const MAX_NUMBER: u32 = 255;

/// Refuses tables of several kinds on one disk.
pub(super) fn check_labels(disk: &dyn BlockRead, boot: Fields) -> Result<(), ReadError> {
    let has = |at: usize, magic: &[u8]| boot.bytes(at, magic.len()) == magic;
    let has_signature = boot.le16(boot::SIGNATURE) == boot::SIGNATURE_VALUE;
    let is_protective = |index| boot.u8(boot::entry(index) + boot::TYPE) == boot::PROTECTIVE;
    let problem = if has(SGI.0, SGI.1) {
        "it has a table of SGI, which the kernel reads first"
    } else if let Some((name, ..)) = OTHER_LABELS
        .iter()
        .find(|(_, at, magic)| !has_signature && has(*at, magic))
    {
        return Err(ReadError::ambiguous(format!("it has {name}")));
    } else if has_large_gpt(disk)? {
        "it has a GPT for sectors of 4096 bytes"
    } else if !(has_signature && (0..4).any(is_protective)) && GptCopy::read(disk, 1).is_ok() {
        "it has a GPT without a protective entry in the boot sector, without which the kernel ignores it"
    } else {
        return Ok(());
    };
    Err(ReadError::ambiguous(problem))
}

fn has_large_gpt(disk: &dyn BlockRead) -> Result<bool, ReadError> {
    if disk.len() < 2 * LARGE_SECTOR {
        return Ok(false);
    }
    let mut sector = vec![0; 512];
    disk.read_at(LARGE_SECTOR, &mut sector)?;
    Ok(check_header(&sector).is_ok())
}

/// Refuses a boot sector with an entry for a GPT that the kernel ignores, or with other entries beside it.
pub(super) fn check_protective(entries: &[MbrPartition]) -> Result<(), ReadError> {
    match entries {
        [only] if only.first == 1 => Ok(()),
        [only] => Err(ReadError::ambiguous(format!(
            "the protective entry starts in sector {}, so that the kernel ignores the GPT",
            only.first
        ))),
        _ => Err(ReadError::ambiguous(
            "it has a GPT, and partitions in the boot sector beside the protective entry",
        )),
    }
}

/// Refuses entries that programs skip and the kernel does not.
pub(super) fn check_types(entries: &[MbrPartition]) -> Result<(), ReadError> {
    match entries.iter().find(|entry| entry.kind == 0) {
        Some(MbrPartition { number, .. }) => Err(ReadError::ambiguous(format!(
            "entry {number} of the boot sector has sectors and no type, so that only the kernel reads it"
        ))),
        None => Ok(()),
    }
}

/// Refuses partitions that overlap each other or the structures of their table, given as ranges of sectors, and those with a
/// number that the kernel does not read.
pub(super) fn check_overlaps(
    partitions: impl Iterator<Item = (u32, Range<u64>)>,
    structures: &[Range<u64>],
) -> Result<(), ReadError> {
    let structures = structures.iter().map(|sectors| (0, sectors.clone()));
    let mut extents: Vec<_> = partitions.chain(structures).collect();
    if let Some((number, _)) = extents.iter().find(|(number, _)| *number > MAX_NUMBER) {
        return Err(ReadError::ambiguous(format!(
            "it has a partition {number}, and the kernel reads {MAX_NUMBER}"
        )));
    }
    extents.sort_by_key(|(_, sectors)| sectors.start);
    for pair in extents.windows(2) {
        if let [(first, sectors), (second, later)] = pair
            && sectors.end > later.start
        {
            let name = |number: u32| match number {
                0 => "the table".to_owned(),
                number => format!("partition {number}"),
            };
            return Err(ReadError::ambiguous(format!(
                "{} and {} overlap",
                name(*first),
                name(*second)
            )));
        }
    }
    Ok(())
}
