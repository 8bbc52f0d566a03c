//! A disk as a list of regions, whose bytes are generated when they are read.

use super::WriteError;
use crate::disk::read::blocks::check;
use crate::disk::read::{BlockRead, FileSystem, ReadError, Span, to_index};
use crate::disk::tree::Tree;

/// Maximal uncompressed size of a compressed region, which is decompressed as a whole for each read.
pub(super) const MAX_COMPRESSED_BYTES: usize = 1 << 16;
/// Fastest: the compressed bytes stay in memory.
const COMPRESSION_LEVEL: i32 = 1;

/// Bytes of a disk at an offset. Between regions the disk is zero.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) at: u64,
    pub(super) length: u64,
    pub(super) source: RegionSource,
}

/// Origin of a region's bytes.
#[derive(Debug)]
pub(super) enum RegionSource {
    Memory(Box<[u8]>),
    /// Compressed, as there can be much metadata.
    Compressed(Box<[u8]>),
    /// A file of the tree, from an offset on.
    File {
        file: usize,
        offset: u64,
    },
    /// The guest's disk, from an offset on.
    Copied {
        offset: u64,
    },
}

impl Region {
    pub(super) fn in_memory(at: u64, bytes: Vec<u8>) -> Self {
        Self {
            at,
            length: bytes.len() as u64,
            source: RegionSource::Memory(bytes.into_boxed_slice()),
        }
    }

    /// Compresses at most [`MAX_COMPRESSED_BYTES`].
    pub(super) fn compressed(at: u64, bytes: &[u8]) -> std::io::Result<Self> {
        let compressed = zstd::bulk::compress(bytes, COMPRESSION_LEVEL)?;
        Ok(Self {
            at,
            length: bytes.len() as u64,
            source: RegionSource::Compressed(compressed.into_boxed_slice()),
        })
    }

    fn end(&self) -> u64 {
        self.at + self.length
    }
}

/// A disk made of regions. Reading it reads files of the tree through the file system that they come from.
pub struct Disk<'a> {
    size: u64,
    regions: Vec<Region>,
    tree: &'a Tree,
    files: &'a dyn FileSystem,
    copied: &'a dyn BlockRead,
}

impl<'a> Disk<'a> {
    /// Makes a disk of regions, which must not overlap.
    pub(super) fn new(
        size: u64,
        mut regions: Vec<Region>,
        tree: &'a Tree,
        files: &'a dyn FileSystem,
        copied: &'a dyn BlockRead,
    ) -> Result<Self, WriteError> {
        regions.retain(|region| region.length > 0);
        regions.sort_by_key(|region| region.at);
        let ends = regions.iter().map(Region::end);
        let next = regions.iter().skip(1).map(|region| region.at).chain([size]);
        if ends.zip(next).any(|(end, next)| end > next) {
            // Regions of a file system never overlap, but a guest can write any partition table.
            return Err(WriteError::Unknown {
                what: "partitions that overlap each other or their table".to_owned(),
            });
        }
        Ok(Self {
            size,
            regions,
            tree,
            files,
            copied,
        })
    }

    /// Returns the index of the first region that ends after an offset.
    fn first_after(&self, offset: u64) -> usize {
        let is_before = |region: &Region| region.end() <= offset;
        self.regions.partition_point(is_before)
    }

    fn fill(&self, region: &Region, from: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let mut copy = |bytes: &[u8]| {
            // Regions in memory are smaller than it.
            let from = to_index(from);
            buffer.copy_from_slice(&bytes[from..from + buffer.len()]);
            Ok(())
        };
        match &region.source {
            RegionSource::Memory(bytes) => copy(bytes),
            RegionSource::Compressed(compressed) => {
                let bytes = zstd::bulk::decompress(compressed, MAX_COMPRESSED_BYTES);
                copy(&bytes.map_err(|source| ReadError::Io {
                    what: "compressed metadata of the new file system".to_owned(),
                    source,
                })?)
            }
            RegionSource::File { file, offset } => {
                self.fill_from_file(*file, offset + from, buffer)
            }
            RegionSource::Copied { offset } => self.copied.read_at(offset + from, buffer),
        }
    }

    fn fill_from_file(&self, file: usize, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let read = self.tree.files()[file]
            .content
            .read_at(self.files, offset, buffer)?;
        buffer[read..].fill(0);
        Ok(())
    }
}

impl BlockRead for Disk<'_> {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        check(offset, buffer.len() as u64, self.size)?;
        let end = offset + buffer.len() as u64;
        // The difference of two offsets within the buffer.
        let index = |at: u64| to_index(at - offset);
        let mut at = offset;
        for region in &self.regions[self.first_after(offset)..] {
            if region.at >= end {
                break;
            }
            let (from, to) = (region.at.max(offset), region.end().min(end));
            buffer[index(at)..index(from)].fill(0);
            let part = &mut buffer[index(from)..index(to)];
            self.fill(region, from - region.at, part)?;
            at = to;
        }
        buffer[index(at)..].fill(0);
        Ok(())
    }

    fn span(&self, offset: u64) -> Result<Span, ReadError> {
        let Some(region) = self.regions.get(self.first_after(offset)) else {
            return Ok(Span::zeros(self.size.saturating_sub(offset)));
        };
        if region.at > offset {
            return Ok(Span::zeros(region.at - offset));
        }
        let left = region.end() - offset;
        match &region.source {
            RegionSource::Copied { offset: from } => {
                Ok(self.copied.span(from + (offset - region.at))?.at_most(left))
            }
            RegionSource::Memory(_) | RegionSource::Compressed(_) | RegionSource::File { .. } => {
                Ok(Span::data(left))
            }
        }
    }
}
