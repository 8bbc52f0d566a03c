//! FAT file systems, compared path by path.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::content::read;
use super::layout::Region;
use crate::disk::read::fat::Fat;
use crate::disk::read::{BlockRead, FileSystem as _, FileType, Inode, ReadError, Slice, walk};

/// Bytes of a file that are compared at once.
const CHUNK_BYTES: usize = 1 << 20;
/// More boot sectors than any tool reserves: 32 are usual.
const MAX_BOOT_BYTES: u64 = 1 << 20;

/// Offsets in the boot sector, and in the sector with the number of free clusters.
mod field {
    pub const TABLE_SECTORS_16: usize = 22;
    /// Mark of a mounted file system, in FAT12 and FAT16, and in FAT32.
    pub const DIRTY_16: usize = 37;
    pub const DIRTY_32: usize = 65;
    /// Number of the sector with the number of free clusters, in FAT32.
    pub const INFO_SECTOR: usize = 48;
    pub const FREE_CLUSTERS: std::ops::Range<usize> = 488..496;
}

/// The files of a FAT file system.
pub(super) struct Listing {
    files: Fat,
    partition: Arc<dyn BlockRead>,
    /// Regular files by path, with their sizes.
    paths: BTreeMap<String, (Inode, u64)>,
    /// Parts of the partition that hold files and directories.
    used: Vec<Range<u64>>,
}

impl Listing {
    /// Returns the paths of the regular files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.keys().map(String::as_str)
    }
}

/// Difference of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Added,
    Removed,
    Modified,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "is not in the base",
            Self::Removed => "is in the base and not in the image",
            Self::Modified => "has other content than in the base",
        })
    }
}

/// Reads the tree of the file system in a region.
pub(super) fn list(disk: &Arc<dyn BlockRead>, region: &Region) -> Result<Listing, ReadError> {
    let Range { start, end } = region.bytes;
    let partition: Arc<dyn BlockRead> = Arc::new(Slice::new(Arc::clone(disk), start, end - start)?);
    let files = Fat::open(Arc::clone(&partition))?;
    let (mut paths, mut used) = (BTreeMap::new(), Vec::new());
    walk(&files, |path, inode, metadata| {
        used.extend(files.extents(inode)?);
        if metadata.kind == FileType::File {
            let path = format!("/{}", String::from_utf8_lossy(path));
            paths.insert(path, (inode, metadata.size));
        }
        Ok::<_, ReadError>(())
    })?;
    Ok(Listing {
        files,
        partition,
        paths,
        used,
    })
}

/// Returns the files that differ from those before, by path.
pub(super) fn changes(
    now: &Listing,
    before: Option<&Listing>,
) -> Result<Vec<(String, Change)>, ReadError> {
    let mut changes = Vec::new();
    for (path, (inode, size)) in &now.paths {
        let earlier = before.and_then(|before| Some((before, before.paths.get(path)?)));
        let change = match earlier {
            None => Change::Added,
            Some((before, (earlier, length)))
                if size != length || !is_same(now, *inode, before, *earlier)? =>
            {
                Change::Modified
            }
            Some(_) => continue,
        };
        changes.push((path.clone(), change));
    }
    let earlier = before.into_iter().flat_map(|before| before.paths.keys());
    let removed = earlier.filter(|path| !now.paths.contains_key(*path));
    changes.extend(removed.map(|path| (path.clone(), Change::Removed)));
    Ok(changes)
}

fn is_same(
    now: &Listing,
    inode: Inode,
    before: &Listing,
    earlier: Inode,
) -> Result<bool, ReadError> {
    let (mut ours, mut theirs) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut at = 0;
    loop {
        let length = now.files.read_at(inode, at, &mut ours)?;
        let other = before.files.read_at(earlier, at, &mut theirs)?;
        if ours[..length] != theirs[..other] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        at += length as u64;
    }
}

/// Returns whether the sectors before the tables differ, apart from what changes while the file system is mounted.
pub(super) fn boot_sectors_differ(
    now: &Listing,
    before: Option<&Listing>,
) -> Result<bool, ReadError> {
    match before {
        Some(before) => Ok(boot_sectors(now)? != boot_sectors(before)?),
        None => Ok(true),
    }
}

fn boot_sectors(listing: &Listing) -> Result<Vec<u8>, ReadError> {
    let length = listing.files.boot_bytes().min(MAX_BOOT_BYTES);
    let mut bytes = read(&*listing.partition, 0, length)?;
    let number = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..at + 2).unwrap_or_default();
        bytes
            .iter()
            .rfold(0, |high, low| high << 8 | usize::from(*low))
    };
    if number(&bytes, field::TABLE_SECTORS_16) != 0 {
        clear(&mut bytes, field::DIRTY_16..field::DIRTY_16 + 1);
        return Ok(bytes);
    }
    clear(&mut bytes, field::DIRTY_32..field::DIRTY_32 + 1);
    // Sectors of 512 bytes: other sizes are not used on disks of machines.
    let info = number(&bytes, field::INFO_SECTOR) * 512;
    let Range { start, end } = field::FREE_CLUSTERS;
    clear(&mut bytes, info + start..info + end);
    Ok(bytes)
}

fn clear(bytes: &mut [u8], range: Range<usize>) {
    if let Some(bytes) = bytes.get_mut(range) {
        bytes.fill(0);
    }
}

/// Returns the parts of the disk behind the tables of clusters that no file and no directory fills.
pub(super) fn unused(listing: &Listing, region: &Region) -> Vec<Range<u64>> {
    let mut used = listing.used.clone();
    used.sort_by_key(|bytes| bytes.start);
    let size = region.bytes.end - region.bytes.start;
    used.push(size..size);
    let mut end = listing.files.data_offset();
    let mut unused = Vec::new();
    for bytes in used {
        if end < bytes.start {
            unused.push(region.bytes.start + end..region.bytes.start + bytes.start);
        }
        end = end.max(bytes.end);
    }
    unused
}
