//! Content of a part of a disk, compared byte by byte.

use std::ops::Range;

use super::layout::{Region, RegionKind};
use crate::disk::read::ext4::Superblock;
use crate::disk::read::{BlockRead, ReadError, Slice, to_index, unsupported_file_system};

/// Bytes that are read at once.
const CHUNK_BYTES: u64 = 1 << 20;
/// Bytes of a part that are read at most. All clusters of a hostile image can be one, so that reading them takes days.
const MAX_READ_BYTES: u64 = 256 << 30;
/// Bytes that are compared at once.
const PIECE_BYTES: usize = 512;
/// Magic number of a swap area, at the end of its first page.
const SWAP: &[u8] = b"SWAPSPACE2";
/// Sizes of a page.
const PAGES: [u64; 3] = [4096, 16_384, 65_536];

/// Returns the offset of the first 512 bytes in a range that are neither zero nor those of `before`, which reads as zeros
/// behind its end. What lies behind the limit of reading counts as different.
pub(super) fn first_difference(
    image: &dyn BlockRead,
    before: &dyn BlockRead,
    range: &Range<u64>,
) -> Result<Option<u64>, ReadError> {
    let mut at = range.start;
    let end = range.end.min(image.len());
    let (mut ours, mut total) = (Vec::new(), 0);
    while at < end {
        let span = image.span(at)?;
        // A span is never empty, but a disk that claims one must not hang the scan.
        let length = span.length.clamp(1, end - at);
        if span.zero {
            at += length;
            continue;
        }
        if total >= MAX_READ_BYTES {
            return Ok(Some(at));
        }
        let length = length.min(CHUNK_BYTES);
        total += length;
        ours.resize(to_index(length), 0);
        image.read_at(at, &mut ours)?;
        if ours.iter().any(|byte| *byte != 0) {
            let theirs = read(before, at, length)?;
            let pieces = ours.chunks(PIECE_BYTES).zip(theirs.chunks(PIECE_BYTES));
            let mut offsets = (at..).step_by(PIECE_BYTES).zip(pieces);
            let is_new =
                |ours: &[u8], theirs: &[u8]| ours != theirs && ours.iter().any(|byte| *byte != 0);
            if let Some((at, _)) = offsets.find(|(_, (ours, theirs))| is_new(ours, theirs)) {
                return Ok(Some(at));
            }
        }
        at += length;
    }
    Ok(None)
}

/// Reads bytes of a disk, with zeros behind its end.
pub(super) fn read(disk: &dyn BlockRead, at: u64, length: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = vec![0; to_index(length)];
    let available = disk.len().saturating_sub(at).min(length);
    if available > 0 {
        disk.read_at(at, &mut bytes[..to_index(available)])?;
    }
    Ok(bytes)
}

/// Names the content of a part that no check reads.
pub(super) fn describe(disk: &dyn BlockRead, region: &Region) -> Result<&'static str, ReadError> {
    let Range { start, end } = region.bytes;
    let part = Slice::new(disk, start, end.min(disk.len()) - start)?;
    let has_swap = |page: &u64| {
        let at = page - SWAP.len() as u64;
        read(&part, at, SWAP.len() as u64).is_ok_and(|bytes| bytes == SWAP)
    };
    Ok(match region.kind {
        RegionKind::Gap => "data in no partition",
        RegionKind::RootEnd(_) => "data behind the root file system",
        _ if Superblock::is_at(&part) => "an ext4 file system beside the root, as for `/boot`",
        _ if PAGES.iter().any(has_swap) => "a swap area",
        RegionKind::Efi(_) | RegionKind::Fat(_) => "a FAT file system that cannot be read",
        _ => unsupported_file_system(&part)?.unwrap_or("data of an unknown kind"),
    })
}
