//! qcow2 images: an overlay and what is below it.
//!
//! Layout: docs/interop/qcow2 of QEMU. What lies below an image is given by the caller, never by the image's header, in which
//! whoever made it could name any file of this host.

mod header;
mod inflate;

use std::path::PathBuf;
use std::sync::Arc;

use self::header::Header;
use self::inflate::Inflate;
use super::blocks::check;
use super::cache::Cache;
use super::fields::{Fields, to_index};
use super::{BlockRead, RawFile, ReadError, Span};

/// What errors call it.
const PART: &str = "qcow2 image";
/// Memory for decompressed clusters, and for second tables.
const CLUSTER_MEMORY: u64 = 8 << 20;
const TABLE_MEMORY: u64 = 4 << 20;
/// Of an entry: where the cluster is.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
/// Compressed clusters are counted in sectors.
const SECTOR: u64 = 512;
/// Parts of a cluster that can be there or not, with extended tables.
const PARTS: u64 = 32;

fn damaged(problem: impl Into<String>) -> ReadError {
    ReadError::Damaged {
        part: PART,
        problem: problem.into(),
    }
}

/// A file that a disk is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Layer {
    /// The bytes of the disk.
    Raw(PathBuf),
    /// A qcow2 image.
    Qcow2(PathBuf),
}

/// Opens a disk: its topmost layer first, then what it is an overlay of, and so on.
///
/// # Errors
/// A layer cannot be read, or it needs another one below it, or none, other than what is given.
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
    below.ok_or_else(|| damaged("there is no file"))
}

/// A qcow2 image, read by any number of threads.
pub struct Qcow2<B> {
    file: B,
    header: Header,
    first_table: Vec<u64>,
    below: Option<Arc<dyn BlockRead>>,
    tables: Cache<[u64]>,
    clusters: Cache<[u8]>,
    inflate: Inflate,
}

/// Where a part of the disk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Below, or nowhere.
    Missing,
    Zero,
    /// At this offset of the file.
    Plain(u64),
    /// Compressed, with the whole cluster, by this entry.
    Compressed(u64),
}

impl<B: BlockRead> Qcow2<B> {
    /// Opens an image; `below` is what it is an overlay of.
    ///
    /// # Errors
    /// It is damaged, has features that karat does not know, or is an overlay without anything below it, or the other way round.
    pub fn open(file: B, below: Option<Arc<dyn BlockRead>>) -> Result<Self, ReadError> {
        let header = Header::read(&file)?;
        match (header.has_backing, &below) {
            (true, None) => return Err(damaged("it is an overlay, and nothing is below it")),
            (false, Some(_)) => return Err(damaged("it is no overlay, and something is below it")),
            _ => {}
        }
        let first_table = read_table(&file, header.table, header.entries)?;
        Ok(Self {
            // Each value is a cluster of at most 2 MiB, so there is room for some.
            tables: Cache::new(room(TABLE_MEMORY, header.cluster())),
            clusters: Cache::new(room(CLUSTER_MEMORY, header.cluster())),
            inflate: Inflate::default(),
            file,
            header,
            first_table,
            below,
        })
    }

    /// Where the byte at `offset` is, and how many bytes from there on are at the same place.
    fn place(&self, offset: u64) -> Result<(Place, u64), ReadError> {
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
            // No second table: nothing of what it would cover is here.
            let covered = 1 << (header.cluster_bits + header.table_bits());
            return Ok((Place::Missing, covered - (offset & (covered - 1))));
        };
        let table = self.second_table(table)?;
        let number = cluster & ((1 << header.table_bits()) - 1);
        let at = to_index(number) * if header.extended { 2 } else { 1 };
        let entry = table.get(at).copied().unwrap_or_default();
        if entry & COMPRESSED != 0 {
            return Ok((Place::Compressed(entry), left));
        }
        if header.extended {
            let bitmap = table.get(at + 1).copied().unwrap_or_default();
            return Ok(self.part(entry, bitmap, within));
        }
        let place = match entry & OFFSET {
            _ if header.has_zeros && entry & ZERO != 0 => Place::Zero,
            0 => Place::Missing,
            start => Place::Plain(self.aligned(start)? + within),
        };
        Ok((place, left))
    }

    /// The same for a cluster of which only some of its 32 parts may be here.
    fn part(&self, entry: u64, bitmap: u64, within: u64) -> (Place, u64) {
        let part = self.header.cluster() / PARTS;
        let bit = within / part;
        let left = part - within % part;
        let has = |bit: u64| bitmap >> bit & 1 != 0;
        let place = if has(bit + PARTS) {
            Place::Zero
        } else if has(bit) {
            Place::Plain((entry & OFFSET) + within)
        } else {
            Place::Missing
        };
        (place, left)
    }

    fn aligned(&self, start: u64) -> Result<u64, ReadError> {
        if !start.is_multiple_of(self.header.cluster()) {
            return Err(damaged(format!("a cluster is said to be at {start}")));
        }
        Ok(start)
    }

    fn second_table(&self, at: u64) -> Result<Arc<[u64]>, ReadError> {
        self.tables.get(at >> self.header.cluster_bits, || {
            let table = read_table(&self.file, self.aligned(at)?, self.header.cluster() / 8)?;
            Ok(table.into())
        })
    }

    /// Reads as much as is at one place, and says how much that was.
    fn read_place(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let (place, left) = self.place(offset)?;
        let length = to_index(left).min(buffer.len());
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        match place {
            Place::Zero => buffer.fill(0),
            Place::Missing => self.read_below(offset, buffer)?,
            Place::Plain(start) => read_or_zeros(&self.file, start, buffer)?,
            Place::Compressed(entry) => self.read_compressed(entry, offset, buffer)?,
        }
        Ok(length)
    }

    /// What is below may be smaller: an overlay can grow a disk.
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
            // The whole of it: no need to keep it for the rest.
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
        // The fewer bits a cluster's number has, the more there are for its compressed size.
        let split = 62 - (self.header.cluster_bits - 8);
        let start = entry & ((1 << split) - 1);
        let sectors = (entry & (COMPRESSED - 1)) >> split;
        let length = (sectors + 1) * SECTOR - start % SECTOR;
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
        check(offset, buffer.len(), self.len())?;
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let length = self.read_place(at, rest)?;
            at += length as u64;
            rest = rest.get_mut(length..).unwrap_or_default();
        }
        Ok(())
    }

    fn span(&self, offset: u64) -> Result<Span, ReadError> {
        let left = self.len().saturating_sub(offset);
        if left == 0 {
            return Ok(Span {
                length: 0,
                zero: true,
            });
        }
        let (place, length) = self.place(offset)?;
        let length = length.min(left);
        let span = match (place, &self.below) {
            (Place::Missing, Some(below)) if offset < below.len() => below.span(offset)?,
            (Place::Missing | Place::Zero, _) => Span { length, zero: true },
            _ => Span {
                length,
                zero: false,
            },
        };
        Ok(Span {
            length: span.length.min(length),
            ..span
        })
    }
}

fn room(memory: u64, each: u64) -> usize {
    to_index(memory / each)
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

/// Behind the end of a file there are zeros: it is cut where its last cluster has no more data.
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
        return Err(damaged(format!("a table is said to be at {offset}")));
    }
    // At most 32 MiB, and at most 2 MiB behind the end of the file.
    let mut bytes = vec![0; to_index(length)];
    read_or_zeros(file, offset, &mut bytes)?;
    Ok(bytes
        .chunks_exact(8)
        .map(|entry| Fields(entry).be64(0))
        .collect())
}
