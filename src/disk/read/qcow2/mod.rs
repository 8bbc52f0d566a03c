//! qcow2 images: an overlay and the image below it.
//!
//! Layout: docs/interop/qcow2 of QEMU. The caller decides which image is below, never the header, which could name any file of
//! the host.

mod header;
mod hidden;
mod inflate;

use std::path::PathBuf;
use std::sync::Arc;

use self::header::Header;
pub(in crate::disk) use self::header::external_file;
pub use self::hidden::hidden_content;
use self::inflate::Inflate;
use super::blocks::check;
use super::cache::Cache;
use super::fields::{Fields, to_index};
use super::{BlockRead, RawFile, ReadError, Span};

const PART: &str = "qcow2 image";
/// Bytes of cached clusters after decompression, and of cached second tables.
const CLUSTER_CACHE_BYTES: u64 = 4 << 20;
const TABLE_CACHE_BYTES: u64 = 4 << 20;
/// Bits of an entry with the offset of its cluster.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
/// Unit of the size of compressed clusters.
const SECTOR: u64 = 512;
/// Subclusters of a cluster, with extended tables.
const SUBCLUSTERS: u64 = 32;

fn damaged(problem: impl Into<String>) -> ReadError {
    ReadError::damaged(PART, problem)
}

/// One file of a disk, with its format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Layer {
    /// A raw disk, the lowest layer.
    Raw(PathBuf),
    /// A qcow2 image, an overlay or standalone.
    Qcow2(PathBuf),
}

/// Opens a disk of several layers, the topmost one first.
///
/// # Errors
/// A layer cannot be read, or an overlay and the layer below it do not go together.
pub fn open_chain(layers: &[Layer]) -> Result<Arc<dyn BlockRead>, ReadError> {
    let mut below: Option<Arc<dyn BlockRead>> = None;
    for layer in layers.iter().rev() {
        below = Some(match layer {
            Layer::Raw(path) if below.is_none() => Arc::new(RawFile::open(path)?),
            Layer::Raw(path) => {
                return Err(damaged(format!(
                    "{} is raw and cannot be an overlay",
                    path.display()
                )));
            }
            Layer::Qcow2(path) => Arc::new(Qcow2::open(RawFile::open(path)?, below)?),
        });
    }
    below.ok_or_else(|| damaged("no file was given"))
}

/// A qcow2 image that threads share.
pub struct Qcow2<B> {
    file: B,
    header: Header,
    first_table: Vec<u64>,
    below: Option<Arc<dyn BlockRead>>,
    tables: Cache<[u64]>,
    clusters: Cache<[u8]>,
    inflate: Inflate,
}

/// State of a part of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Allocation {
    /// In the image below, or zero without one.
    Missing,
    Zero,
    /// At this offset of the file.
    Plain(u64),
    /// In a compressed cluster with this entry.
    Compressed(u64),
}

impl<B: BlockRead> Qcow2<B> {
    /// Opens an image; `below` is the disk of which it is an overlay.
    ///
    /// # Errors
    /// The image is damaged, has an unknown feature, is an overlay without a disk below it, or the other way round.
    pub fn open(file: B, below: Option<Arc<dyn BlockRead>>) -> Result<Self, ReadError> {
        let header = Header::read(&file)?;
        match (header.has_backing, &below) {
            (true, None) => return Err(damaged("it is an overlay without a base")),
            (false, Some(_)) => return Err(damaged("it is not an overlay, but has a base")),
            _ => {}
        }
        let first_table = read_table(&file, header.table, header.entries)?;
        Ok(Self {
            // A value is a cluster of at most 2 MiB, so both caches have several.
            tables: Cache::new(to_index(TABLE_CACHE_BYTES / header.cluster())),
            clusters: Cache::new(to_index(CLUSTER_CACHE_BYTES / header.cluster())),
            inflate: Inflate::default(),
            file,
            header,
            first_table,
            below,
        })
    }

    /// Returns the allocation of the byte at `offset`, and the number of bytes from there on that share it.
    fn allocation(&self, offset: u64) -> Result<(Allocation, u64), ReadError> {
        let header = &self.header;
        let cluster = offset >> header.cluster_bits;
        let within = offset & (header.cluster() - 1);
        let left = header.cluster() - within;
        let index = to_index(cluster >> header.table_bits());
        let Some(table) = self
            .first_table
            .get(index)
            .map(|entry| entry & OFFSET)
            .filter(|table| *table != 0)
        else {
            // Nothing that the missing second table would cover is allocated.
            let covered = 1 << (header.cluster_bits + header.table_bits());
            return Ok((Allocation::Missing, covered - (offset & (covered - 1))));
        };
        let table = self.second_table(table)?;
        let number = cluster & ((1 << header.table_bits()) - 1);
        let at = to_index(number) * if header.extended { 2 } else { 1 };
        let entry = table.get(at).copied().unwrap_or_default();
        if entry & COMPRESSED != 0 {
            return Ok((Allocation::Compressed(entry), left));
        }
        if header.extended {
            let bitmap = table.get(at + 1).copied().unwrap_or_default();
            return Ok(self.subcluster(entry, bitmap, within));
        }
        let allocation = match entry & OFFSET {
            _ if header.has_zeros && entry & ZERO != 0 => Allocation::Zero,
            0 => Allocation::Missing,
            start => Allocation::Plain(self.aligned(start)? + within),
        };
        Ok((allocation, left))
    }

    /// The same for a cluster with subclusters.
    fn subcluster(&self, entry: u64, bitmap: u64, within: u64) -> (Allocation, u64) {
        let size = self.header.cluster() / SUBCLUSTERS;
        let bit = within / size;
        let left = size - within % size;
        let has = |bit: u64| bitmap >> bit & 1 != 0;
        let allocation = if has(bit + SUBCLUSTERS) {
            Allocation::Zero
        } else if has(bit) {
            Allocation::Plain((entry & OFFSET) + within)
        } else {
            Allocation::Missing
        };
        (allocation, left)
    }

    fn aligned(&self, start: u64) -> Result<u64, ReadError> {
        if !start.is_multiple_of(self.header.cluster()) {
            return Err(damaged(format!("a cluster at {start} is not aligned")));
        }
        Ok(start)
    }

    fn second_table(&self, at: u64) -> Result<Arc<[u64]>, ReadError> {
        self.tables.get(at >> self.header.cluster_bits, || {
            let table = read_table(&self.file, self.aligned(at)?, self.header.cluster() / 8)?;
            Ok(table.into())
        })
    }

    /// Reads bytes up to the next change of allocation, and returns their number.
    fn read_part(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let (allocation, left) = self.allocation(offset)?;
        let length = to_index(left).min(buffer.len());
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        match allocation {
            Allocation::Zero => buffer.fill(0),
            Allocation::Missing => self.read_below(offset, buffer)?,
            Allocation::Plain(start) => read_or_zeros(&self.file, start, buffer)?,
            Allocation::Compressed(entry) => self.read_compressed(entry, offset, buffer)?,
        }
        Ok(length)
    }

    /// Reads the disk below, which may be smaller: an overlay can grow a disk.
    fn read_below(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        if let Some(below) = &self.below {
            return read_or_zeros(below, offset, buffer);
        }
        buffer.fill(0);
        Ok(())
    }

    fn read_compressed(&self, entry: u64, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let number = offset >> self.header.cluster_bits;
        let cluster = self.header.cluster();
        if buffer.len() as u64 == cluster {
            // A whole cluster need not be cached.
            return match self.clusters.recall(number) {
                Some(bytes) => copy(&bytes, 0, buffer),
                None => self.decompress(entry, buffer),
            };
        }
        let bytes = self.clusters.get(number, || {
            // At most 2 MiB.
            let mut bytes = vec![0; to_index(cluster)];
            self.decompress(entry, &mut bytes)?;
            Ok(bytes.into())
        })?;
        copy(&bytes, offset & (cluster - 1), buffer)
    }

    fn decompress(&self, entry: u64, cluster: &mut [u8]) -> Result<(), ReadError> {
        let (start, length) = compressed_extent(entry, self.header.cluster_bits);
        // At most twice a cluster, as the number of sectors has no more bits.
        let mut compressed = vec![0; to_index(length)];
        read_or_zeros(&self.file, start, &mut compressed)?;
        let result = self
            .inflate
            .run(self.header.compression, &compressed, cluster);
        result.map_err(|error| {
            damaged(format!(
                "the compressed cluster at {start} cannot be read: {error}"
            ))
        })
    }
}

impl<B: BlockRead> BlockRead for Qcow2<B> {
    fn len(&self) -> u64 {
        self.header.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        check(offset, buffer.len() as u64, self.len())?;
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let length = self.read_part(at, rest)?;
            at += length as u64;
            rest = rest.get_mut(length..).unwrap_or_default();
        }
        Ok(())
    }

    fn span(&self, offset: u64) -> Result<Span, ReadError> {
        let left = self.len().saturating_sub(offset);
        if left == 0 {
            return Ok(Span::zeros(0));
        }
        let (allocation, length) = self.allocation(offset)?;
        let length = length.min(left);
        let span = match (allocation, &self.below) {
            (Allocation::Missing, Some(below)) if offset < below.len() => below.span(offset)?,
            (Allocation::Missing | Allocation::Zero, _) => Span::zeros(length),
            _ => Span::data(length),
        };
        Ok(span.at_most(length))
    }
}

/// Returns offset and length of a compressed cluster in the file.
fn compressed_extent(entry: u64, cluster_bits: u32) -> (u64, u64) {
    // The larger the clusters, the more bits are for the compressed size.
    let split = 62 - (cluster_bits - 8);
    let start = entry & ((1 << split) - 1);
    let sectors = (entry & (COMPRESSED - 1)) >> split;
    (start, (sectors + 1) * SECTOR - start % SECTOR)
}

fn copy(cluster: &[u8], from: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
    let start = to_index(from);
    let bytes = cluster
        .get(start..)
        .and_then(|rest| rest.get(..buffer.len()));
    let bytes = bytes.ok_or_else(|| damaged("a cluster is too short"))?;
    buffer.copy_from_slice(bytes);
    Ok(())
}

/// Reads with zeros after the end of the file, which may end within its last cluster.
fn read_or_zeros(file: &dyn BlockRead, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
    let left = file.len().saturating_sub(offset);
    let there = to_index(left).min(buffer.len());
    let (data, zeros) = buffer.split_at_mut(there);
    zeros.fill(0);
    if data.is_empty() {
        Ok(())
    } else {
        file.read_at(offset, data)
    }
}

fn read_table(file: &dyn BlockRead, offset: u64, entries: u64) -> Result<Vec<u64>, ReadError> {
    let length = entries * 8;
    if offset
        .checked_add(length)
        .is_none_or(|end| end > file.len().next_multiple_of(1 << 21))
    {
        return Err(damaged(format!(
            "its table at {offset} is outside of the file"
        )));
    }
    // At most 32 MiB, and at most 2 MiB after the end of the file.
    let mut bytes = vec![0; to_index(length)];
    read_or_zeros(file, offset, &mut bytes)?;
    Ok(bytes
        .chunks_exact(8)
        .map(|entry| Fields(entry).be64(0))
        .collect())
}
