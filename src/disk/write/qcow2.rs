//! qcow2 images with clusters compressed by zstd, in the order in which they lie on the disk.
//!
//! The file: header, first table, clusters, second tables, reference counts, their table. The size of everything before the
//! clusters follows from the disk's; everything after them is written last.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use zstd::bulk::Compressor;

use super::chunks::{CHUNK, map_chunks};
use super::{UnhashedImage, WriteError};
use crate::disk::content::ContentHasher;
use crate::disk::read::{BlockRead, to_index};
use crate::disk::tree::Monitor;

/// The default of qemu.
const CLUSTER_BITS: u32 = 16;
const CLUSTER: usize = 1 << CLUSTER_BITS;
/// Entries of a table in a cluster, 8 bytes each.
const ENTRIES: usize = CLUSTER / 8;
/// Reference counts in a cluster, 2 bytes each.
const COUNTS: usize = CLUSTER / 2;
/// Fixed, as the bytes depend on the level: the default of zstd and of qemu.
const LEVEL: i32 = 3;
/// Flag of an entry whose cluster has one reference, so that it may be written in place.
const COPIED: u64 = 1 << 63;
/// Flag of the entry of a compressed cluster.
const COMPRESSED: u64 = 1 << 62;
/// Bits of such an entry for the offset; the bits above count sectors.
const OFFSET_BITS: u32 = 62 - (CLUSTER_BITS - 8);
/// Bytes of the header, with the type of compression and its padding.
const HEADER: u32 = 112;

enum Cluster {
    Zero,
    Plain,
    /// Compressed to this number of bytes.
    Compressed(usize),
}

/// A chunk of the disk as clusters of the image.
struct CompressedChunk {
    digest: [u8; 32],
    clusters: Vec<Cluster>,
    compressed: Vec<u8>,
    plain: Vec<u8>,
}

/// Writes a disk to a new, empty file.
///
/// # Errors
/// The disk cannot be read, the file cannot be written, or the work was cancelled.
pub fn write_qcow2(
    disk: &dyn BlockRead,
    file: &File,
    path: &Path,
    threads: usize,
    monitor: Monitor<'_>,
) -> Result<UnhashedImage, WriteError> {
    let failed = |source| WriteError::Io {
        path: path.to_owned(),
        source,
    };
    let compress = |source| WriteError::Compress { source };
    let mut image = Image::new(file, disk.len()).map_err(failed)?;
    let mut content = ContentHasher::new(disk.len());
    map_chunks(
        disk,
        threads,
        monitor,
        || Compressor::new(LEVEL).map_err(compress),
        |compressor, bytes| compress_chunk(compressor, bytes).map_err(compress),
        |offset, chunk| {
            content.add(offset, chunk.digest);
            image.add(offset, &chunk).map_err(failed)
        },
    )?;
    let size = image.finish().map_err(failed)?;
    Ok(UnhashedImage {
        virtual_size: disk.len(),
        size,
        content: content.finish(),
        // Unknown, as the first bytes of the file were written last.
        digest: None,
    })
}

fn compress_chunk(
    compressor: &mut Compressor<'_>,
    mut bytes: Vec<u8>,
) -> io::Result<CompressedChunk> {
    static ZEROS: [u8; CLUSTER] = [0; CLUSTER];
    let digest = Sha256::digest(&bytes).into();
    // A disk may end within a cluster.
    bytes.resize(bytes.len().next_multiple_of(CLUSTER), 0);
    let mut clusters = Vec::with_capacity(CHUNK / CLUSTER);
    let mut compressed = Vec::with_capacity(CHUNK / 2);
    let mut buffer = Vec::with_capacity(zstd::zstd_safe::compress_bound(CLUSTER));
    for cluster in bytes.chunks_exact(CLUSTER) {
        if cluster == ZEROS {
            clusters.push(Cluster::Zero);
            continue;
        }
        buffer.clear();
        let length = compressor.compress_to_buffer(cluster, &mut buffer)?;
        if length < CLUSTER {
            compressed.extend(&buffer);
            clusters.push(Cluster::Compressed(length));
        } else {
            clusters.push(Cluster::Plain);
        }
    }
    Ok(CompressedChunk {
        digest,
        clusters,
        compressed,
        plain: bytes,
    })
}

/// An image under construction.
struct Image<'f> {
    file: &'f File,
    size: u64,
    /// Offset of the next cluster.
    end: u64,
    /// Second tables; `None` where a table would be empty.
    tables: Vec<Option<Box<[u64]>>>,
    /// Reference counts of the file's clusters.
    counts: Vec<u16>,
}

impl<'f> Image<'f> {
    fn new(mut file: &'f File, size: u64) -> io::Result<Self> {
        let tables = size.div_ceil((CLUSTER * ENTRIES) as u64);
        let first_table = (tables * 8).div_ceil(CLUSTER as u64).max(1);
        let end = (1 + first_table) * CLUSTER as u64;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self {
            file,
            size,
            end,
            tables: vec![None; to_index(tables)],
            counts: vec![1; to_index(1 + first_table)],
        })
    }

    fn add(&mut self, offset: u64, chunk: &CompressedChunk) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(CHUNK);
        let mut compressed = chunk.compressed.as_slice();
        let plain = chunk.plain.chunks_exact(CLUSTER);
        for (number, (cluster, plain)) in
            (offset / CLUSTER as u64..).zip(chunk.clusters.iter().zip(plain))
        {
            match cluster {
                Cluster::Zero => {}
                Cluster::Compressed(length) => {
                    let (own, rest) = compressed.split_at(*length);
                    compressed = rest;
                    let at = self.end;
                    let last = at + *length as u64 - 1;
                    // Sectors after the one with the first byte.
                    let sectors = last / 512 - at / 512;
                    self.enter(number, COMPRESSED | sectors << OFFSET_BITS | at);
                    self.count(at..=last);
                    bytes.extend(own);
                    self.end += own.len() as u64;
                }
                Cluster::Plain => {
                    let at = self.end.next_multiple_of(CLUSTER as u64);
                    bytes.resize(bytes.len() + to_index(at - self.end), 0);
                    self.enter(number, COPIED | at);
                    self.count(at..=at);
                    bytes.extend(plain);
                    self.end = at + CLUSTER as u64;
                }
            }
        }
        self.file.write_all(&bytes)
    }

    fn enter(&mut self, number: u64, entry: u64) {
        let table = &mut self.tables[to_index(number / ENTRIES as u64)];
        let table = table.get_or_insert_with(|| vec![0; ENTRIES].into_boxed_slice());
        table[to_index(number % ENTRIES as u64)] = entry;
    }

    fn count(&mut self, bytes: std::ops::RangeInclusive<u64>) {
        let (first, last) = (
            to_index(bytes.start() >> CLUSTER_BITS),
            to_index(bytes.end() >> CLUSTER_BITS),
        );
        if self.counts.len() <= last {
            self.counts.resize(last + 1, 0);
        }
        // A compressed cluster has at least a dozen bytes, so a cluster of the file has fewer than 2^16 of them.
        self.counts[first..=last]
            .iter_mut()
            .for_each(|count| *count += 1);
    }

    /// Writes everything after the clusters, then everything before them, and returns the size of the file.
    fn finish(mut self) -> io::Result<u64> {
        let cluster = CLUSTER as u64;
        let mut tail = Vec::new();
        let start = self.end.next_multiple_of(cluster);
        let mut first_table = Vec::with_capacity(self.tables.len() * 8);
        for table in self.tables.iter().map(Option::as_deref) {
            let entry = match table {
                Some(table) => {
                    let at = start + tail.len() as u64;
                    tail.extend(table.iter().flat_map(|entry| entry.to_be_bytes()));
                    COPIED | at
                }
                None => 0,
            };
            first_table.extend(entry.to_be_bytes());
        }
        let counts_at = start + tail.len() as u64;
        let (blocks, table_clusters) = count_blocks(counts_at / cluster);
        let total = counts_at / cluster + blocks + table_clusters;
        self.counts.resize(to_index(total), 1);
        tail.extend(self.counts.iter().flat_map(|count| count.to_be_bytes()));
        tail.resize(to_index(counts_at - start + blocks * cluster), 0);
        let offsets = (0..blocks).map(|block| counts_at + block * cluster);
        tail.extend(offsets.flat_map(u64::to_be_bytes));
        tail.resize(to_index(total * cluster - start), 0);
        self.file.write_all_at(&tail, start)?;
        self.file.write_all_at(&first_table, cluster)?;
        let header = self.header(counts_at + blocks * cluster, table_clusters);
        self.file.write_all_at(&header, 0)?;
        Ok(total * cluster)
    }

    fn header(&self, counts_table: u64, counts_clusters: u64) -> Vec<u8> {
        /// Incompatible feature: the type of compression is not zlib.
        const COMPRESSION_TYPE: u64 = 1 << 3;
        const ZSTD: u8 = 1;
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        let mut header = b"QFI\xfb".to_vec();
        header.extend(3_u32.to_be_bytes());
        // Backing file.
        header.extend([0; 12]);
        header.extend(CLUSTER_BITS.to_be_bytes());
        header.extend(self.size.to_be_bytes());
        // Encryption.
        header.extend([0; 4]);
        header.extend(small(self.tables.len() as u64));
        header.extend((CLUSTER as u64).to_be_bytes());
        header.extend(counts_table.to_be_bytes());
        header.extend(small(counts_clusters));
        // Snapshots.
        header.extend([0; 12]);
        header.extend(COMPRESSION_TYPE.to_be_bytes());
        // Compatible and autoclear features.
        header.extend([0; 16]);
        // Reference counts have 2^4 bits.
        header.extend(4_u32.to_be_bytes());
        header.extend(HEADER.to_be_bytes());
        header.extend([ZSTD, 0, 0, 0, 0, 0, 0, 0]);
        // The end of header extensions.
        header.extend([0; 8]);
        header
    }
}

/// Returns the number of clusters with reference counts, for `used` clusters, themselves and the table that lists them, and
/// the number of clusters of the table.
fn count_blocks(used: u64) -> (u64, u64) {
    let (mut blocks, mut table) = (0, 0);
    loop {
        let total = used + blocks + table;
        let needed = total.div_ceil(COUNTS as u64);
        let listed = needed.div_ceil(ENTRIES as u64);
        if (needed, listed) == (blocks, table) {
            return (blocks, table);
        }
        (blocks, table) = (needed.max(blocks), listed.max(table));
    }
}
