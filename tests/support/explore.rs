//! Reads everything that can be read of some bytes, errors and all: the driver of the fuzz targets and of the soak.

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::Arc;

use karat::disk::read::ext4::{Checksums, Ext4};
use karat::disk::read::fat::Fat;
use karat::disk::read::qcow2::{Qcow2, hidden_content};
use karat::disk::read::{
    BlockRead, FileSystem, FileType, Inode, Memory, ReadError, Slice, partitions,
};

/// Enough of a file to reach all of its map: its start, its end, and the start of each of `MAX_RUNS` runs.
const READ_BYTES: usize = 10_000;
const MAX_RUNS: usize = 64;
/// Bounds for a fuzzer's disk, which is small.
const MAX_INODES: usize = 5000;
const MAX_SPANS: usize = 1000;
const MAX_PARTITIONS: usize = 16;

/// Numbers of reads that worked, and of reads that gave an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Explored {
    pub good: usize,
    pub bad: usize,
}

impl Explored {
    fn take<T>(&mut self, result: Result<T, ReadError>) -> Option<T> {
        match result {
            Ok(value) => {
                self.good += 1;
                Some(value)
            }
            Err(error) => {
                // Messages contain bytes of the disk, too.
                black_box(error.to_string());
                self.bad += 1;
                None
            }
        }
    }
}

/// Takes bytes for a disk with a partition table, or for a file system.
pub fn disk(bytes: Vec<u8>) -> Explored {
    let mut explored = Explored::default();
    let disk: Arc<dyn BlockRead> = Arc::new(Memory(bytes));
    file_systems(&disk, &mut explored);
    let table = explored.take(partitions::read(&disk));
    for extent in table
        .iter()
        .flat_map(partitions::Table::extents)
        .take(MAX_PARTITIONS)
    {
        if let Some(part) =
            explored.take(Slice::new(Arc::clone(&disk), extent.offset, extent.length))
        {
            file_systems(&(Arc::new(part) as Arc<dyn BlockRead>), &mut explored);
        }
    }
    explored
}

/// Takes bytes for a qcow2 image; an overlay gets a disk of zeros below it.
pub fn qcow2(bytes: Vec<u8>) -> Explored {
    let mut explored = Explored::default();
    let below: Arc<dyn BlockRead> = Arc::new(Memory(vec![0; 1 << 20]));
    explored.take(hidden_content(&Memory(bytes.clone())));
    let alone = Qcow2::open(Memory(bytes.clone()), None);
    let opened = alone.or_else(|_| Qcow2::open(Memory(bytes), Some(below)));
    let Some(image) = explored.take(opened) else {
        return explored;
    };
    let mut at = 0;
    for _ in 0..MAX_SPANS {
        let Some(span) = explored.take(image.span(at)).filter(|span| span.length > 0) else {
            break;
        };
        let length =
            usize::try_from(span.length).map_or(READ_BYTES, |length| length.min(READ_BYTES));
        explored.take(image.read_at(at, &mut vec![0; length]));
        at += span.length;
    }
    explored
}

/// Takes bytes for an ext2, ext3 or ext4 file system, whatever its checksums say.
pub fn ext4(bytes: Vec<u8>) -> Explored {
    let disk = Arc::new(Memory(bytes));
    file_system(Ext4::open_with(disk, Checksums::Ignore))
}

/// Takes bytes for a FAT file system.
pub fn fat(bytes: Vec<u8>) -> Explored {
    file_system(Fat::open(Arc::new(Memory(bytes))))
}

/// Reads bytes as a partition table.
pub fn table(bytes: Vec<u8>) -> Explored {
    let mut explored = Explored::default();
    let table = explored.take(partitions::read(&Memory(bytes)));
    black_box(table.map(|table| table.extents()));
    explored
}

fn file_system(opened: Result<impl FileSystem, ReadError>) -> Explored {
    let mut explored = Explored::default();
    if let Some(opened) = explored.take(opened) {
        files(&opened, &mut explored);
    }
    explored
}

fn file_systems(disk: &Arc<dyn BlockRead>, explored: &mut Explored) {
    fn boxed(
        opened: Result<impl FileSystem + 'static, ReadError>,
    ) -> Result<Box<dyn FileSystem>, ReadError> {
        opened.map(|opened| Box::new(opened) as Box<dyn FileSystem>)
    }
    let disk = || Arc::clone(disk);
    for opened in [
        boxed(Ext4::open(disk())),
        boxed(Ext4::open_with(disk(), Checksums::Ignore)),
        boxed(Fat::open(disk())),
    ] {
        if let Some(opened) = explored.take(opened) {
            files(&*opened, explored);
        }
    }
}

fn files(file_system: &dyn FileSystem, explored: &mut Explored) {
    let mut seen = HashSet::new();
    let mut todo = vec![file_system.root()];
    while let Some(inode) = todo.pop() {
        if seen.len() >= MAX_INODES || !seen.insert(inode) {
            continue;
        }
        explored.take(file_system.xattrs(inode));
        let metadata = explored.take(file_system.stat(inode));
        match metadata.map(|metadata| (metadata.kind, metadata.size)) {
            Some((FileType::Directory, _)) => {
                let entries = explored.take(file_system.read_dir(inode));
                todo.extend(entries.into_iter().flatten().map(|entry| entry.inode));
            }
            Some((FileType::Link, _)) => drop(explored.take(file_system.read_link(inode))),
            Some((FileType::File, size)) => file(file_system, inode, size, explored),
            _ => {}
        }
    }
}

fn file(file_system: &dyn FileSystem, inode: Inode, size: u64, explored: &mut Explored) {
    let runs = explored.take(file_system.runs(inode)).unwrap_or_default();
    let starts = runs.iter().take(MAX_RUNS).map(|run| run.offset);
    let mut buffer = vec![0; READ_BYTES];
    for offset in [0, size.saturating_sub(100)].into_iter().chain(starts) {
        explored.take(file_system.read_at(inode, offset, &mut buffer));
    }
}
