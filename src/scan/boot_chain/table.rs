//! The structures of a partition table, compared with those of the disk before.

use std::ops::Range;

use super::content::read;
use super::layout::Layout;
use crate::disk::gpt;
use crate::disk::read::partitions::{self, SECTOR, Table, boot};
use crate::disk::read::{BlockRead, ReadError, to_index};

/// Offset in the boot sector of what follows the boot code.
const BOOT_CODE_END: usize = boot::DISK_ID;

/// Describes how a partition table differs from that of the disk before. Sizes of the disk and of the root's partition, which
/// can be the last one, do not count.
pub(super) fn difference(
    image: &dyn BlockRead,
    before: &dyn BlockRead,
    layout: &Layout,
) -> Result<Option<String>, ReadError> {
    let earlier = without_sizes(partitions::read(before)?, layout.root.number);
    if without_sizes(layout.table.clone(), layout.root.number) != earlier {
        return Ok(Some("it differs from the base's".to_owned()));
    }
    if layout.table == Table::None {
        return Ok(None);
    }
    if boot_sector(image, layout)? != boot_sector(before, layout)? {
        let what = "the boot sector differs from the base's behind its code";
        return Ok(Some(what.to_owned()));
    }
    for Range { start, end } in partitions::table_sectors(image, &layout.table)? {
        if start == 0 {
            continue;
        }
        let ours = read(image, start * SECTOR, (end - start) * SECTOR)?;
        let theirs = read(before, start * SECTOR, (end - start) * SECTOR)?;
        if ours != theirs && expected(image, layout, start, ours.len()).as_ref() != Some(&ours) {
            return Ok(Some(format!(
                "sectors {start}-{} have bytes that belong to no partition's entry",
                end - 1
            )));
        }
    }
    Ok(None)
}

/// Clears the fields that depend on the size of the disk.
fn without_sizes(mut table: Table, root: u32) -> Table {
    match &mut table {
        Table::Gpt(table) => {
            // Tools have different opinions on the first one.
            (table.first_usable, table.last_usable) = (0, 0);
            let mut parts = table.partitions.iter_mut();
            if let Some(part) = parts.find(|part| part.number == root) {
                part.last = 0;
            }
        }
        Table::Mbr(table) => {
            let mut parts = table.partitions.iter_mut();
            if let Some(part) = parts.find(|part| part.number == root) {
                part.sectors = 0;
            }
        }
        Table::None => {}
    }
    table
}

/// Returns the boot sector behind the code, without the size of the entry for the root or for the GPT.
fn boot_sector(disk: &dyn BlockRead, layout: &Layout) -> Result<Vec<u8>, ReadError> {
    let mut sector = read(disk, 0, SECTOR)?;
    let resized = (0..4).map(boot::entry).find(|entry| match &layout.table {
        Table::Gpt(_) => sector[entry + boot::TYPE] == boot::PROTECTIVE,
        _ => *entry == boot::entry(to_index(layout.root.number.saturating_sub(1))),
    });
    if let Some(entry) = resized {
        // Addresses in cylinders and heads follow from the others, and no system reads them.
        sector[entry + boot::FIRST_CHS..entry + boot::TYPE].fill(0);
        sector[entry + boot::LAST_CHS..entry + boot::FIRST].fill(0);
        sector[entry + boot::SECTORS..entry + boot::ENTRY_BYTES].fill(0);
    }
    Ok(sector.split_off(BOOT_CODE_END))
}

/// Returns the bytes that follow from the entries of a GPT, for sectors from `start` on.
fn expected(image: &dyn BlockRead, layout: &Layout, start: u64, length: usize) -> Option<Vec<u8>> {
    let Table::Gpt(table) = &layout.table else {
        return None;
    };
    let sectors = image.len() / SECTOR;
    let copies = gpt::serialize(table, sectors);
    let backup = sectors - copies.backup.len() as u64 / SECTOR;
    let (bytes, from) = if start < backup {
        (copies.primary, 1)
    } else {
        (copies.backup, backup)
    };
    let offset = to_index((start - from) * SECTOR);
    Some(bytes.get(offset..offset + length)?.to_owned())
}
