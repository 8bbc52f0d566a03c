//! Everything that can be read of some bytes, errors and all: what fuzzers and the soak drive.
//!
//! The targets for cargo-fuzz in `tests/fuzz` are one line each.

use super::fields::to_index;
use std::collections::HashSet;
use std::sync::Arc;

use super::ext4::Ext4;
use super::fat::Fat;
use super::qcow2::Qcow2;
use super::{BlockRead, FileSystem, Inode, Kind, Memory, ReadError, Slice, partitions};

/// Enough of a file to reach all of its map: its start, its end, and the start of each of as many runs.
const PIECE: usize = 10_000;
const MOST_RUNS: usize = 64;
/// A disk of a fuzzer is small, and has no more that is worth a look.
const MOST_INODES: usize = 5000;
const MOST_SPANS: usize = 1000;
const MOST_PARTITIONS: usize = 16;

/// How much could be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Explored {
    /// What worked.
    pub good: usize,
    /// What gave an error.
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
                // Errors are made of what was read, too.
                std::hint::black_box(error.to_string());
                self.bad += 1;
                None
            }
        }
    }
}

/// Takes bytes for a disk with a partition table, or for a file system.
#[must_use]
pub fn disk(bytes: Vec<u8>) -> Explored {
    let mut explored = Explored::default();
    let disk: Arc<dyn BlockRead> = Arc::new(Memory(bytes));
    file_systems(&disk, &mut explored);
    let table = explored.take(partitions::read(&disk));
    for extent in table
        .iter()
        .flat_map(partitions::Table::extents)
        .take(MOST_PARTITIONS)
    {
        if let Some(part) =
            explored.take(Slice::new(Arc::clone(&disk), extent.offset, extent.length))
        {
            file_systems(&(Arc::new(part) as Arc<dyn BlockRead>), &mut explored);
        }
    }
    explored
}

/// Takes bytes for a qcow2 image, an overlay of zeros if it says that it is one.
#[must_use]
pub fn qcow2(bytes: Vec<u8>) -> Explored {
    let mut explored = Explored::default();
    let below: Arc<dyn BlockRead> = Arc::new(Memory(vec![0; 1 << 20]));
    let alone = Qcow2::open(Memory(bytes.clone()), None);
    let opened = alone.or_else(|_| Qcow2::open(Memory(bytes), Some(below)));
    let Some(image) = explored.take(opened) else {
        return explored;
    };
    let mut at = 0;
    for _ in 0..MOST_SPANS {
        let Some(span) = explored.take(image.span(at)).filter(|span| span.length > 0) else {
            break;
        };
        // What fits in a file of this size is not long.
        let length = to_index(span.length).min(PIECE);
        explored.take(image.read_at(at, &mut vec![0; length]));
        at += span.length;
    }
    explored
}

/// Takes bytes for an ext2, ext3 or ext4 file system, whatever its checksums say.
#[must_use]
pub fn ext4(bytes: Vec<u8>) -> Explored {
    file_system(Ext4::open_unverified(Arc::new(Memory(bytes))))
}

/// Takes bytes for a FAT file system.
#[must_use]
pub fn fat(bytes: Vec<u8>) -> Explored {
    file_system(Fat::open(Arc::new(Memory(bytes))))
}

/// Takes bytes for a disk with a partition table, and looks at nothing but that.
#[must_use]
pub fn table(bytes: Vec<u8>) -> Explored {
    let mut explored = Explored::default();
    let table = explored.take(partitions::read(&Memory(bytes)));
    std::hint::black_box(table.map(|table| table.extents()));
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
    for file_system in [
        Ext4::open(Arc::clone(disk)).map(|opened| Box::new(opened) as Box<dyn FileSystem>),
        Ext4::open_unverified(Arc::clone(disk))
            .map(|opened| Box::new(opened) as Box<dyn FileSystem>),
        Fat::open(Arc::clone(disk)).map(|opened| Box::new(opened) as Box<dyn FileSystem>),
    ] {
        if let Some(opened) = explored.take(file_system) {
            files(&*opened, explored);
        }
    }
}

fn files(file_system: &dyn FileSystem, explored: &mut Explored) {
    let mut seen = HashSet::new();
    let mut todo = vec![file_system.root()];
    while let Some(inode) = todo.pop() {
        if seen.len() >= MOST_INODES || !seen.insert(inode) {
            continue;
        }
        explored.take(file_system.xattrs(inode));
        let metadata = explored.take(file_system.stat(inode));
        match metadata.map(|metadata| (metadata.kind, metadata.size)) {
            Some((Kind::Directory, _)) => {
                let entries = explored.take(file_system.read_dir(inode));
                todo.extend(entries.into_iter().flatten().map(|entry| entry.inode));
            }
            Some((Kind::Link, _)) => drop(explored.take(file_system.read_link(inode))),
            Some((Kind::File, size)) => file(file_system, inode, size, explored),
            _ => {}
        }
    }
}

fn file(file_system: &dyn FileSystem, inode: Inode, size: u64, explored: &mut Explored) {
    let runs = explored.take(file_system.runs(inode)).unwrap_or_default();
    let starts = runs.iter().take(MOST_RUNS).map(|run| run.offset);
    let mut buffer = vec![0; PIECE];
    for offset in [0, size.saturating_sub(100)].into_iter().chain(starts) {
        explored.take(file_system.read_at(inode, offset, &mut buffer));
    }
}
