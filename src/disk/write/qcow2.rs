//! qcow2 with clusters compressed by zstd, in the order in which they lie on the disk.
//!
//! The file: header, first table, clusters, second tables, counts of references, their table. What comes before the clusters has
//! a size that follows from the disk's; what comes behind them is written last.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use zstd::bulk::Compressor;

use super::{Unhashed, WriteError};
use crate::disk::content::Content;
use crate::disk::read::BlockRead;
use crate::disk::tree::Watch;
use crate::os::ordered::{CHUNK, in_order};

/// Bytes of a cluster: qemu's default.
const CLUSTER: usize = 1 << CLUSTER_BITS;
const CLUSTER_BITS: u32 = 16;
/// Entries of 8 bytes in a cluster.
const ENTRIES: usize = CLUSTER / 8;
/// Counts of 2 bytes in a cluster.
const COUNTS: usize = CLUSTER / 2;
/// Fixed, as the level decides the bytes: zstd's default, and qemu's.
const LEVEL: i32 = 3;
/// Set in an entry whose cluster is used once, so that it may be written in place.
const COPIED: u64 = 1 << 63;
/// Set in an entry of a compressed cluster.
const COMPRESSED: u64 = 1 << 62;
/// Bits of such an entry that hold the offset; those above count sectors.
const OFFSET_BITS: u32 = 62 - (CLUSTER_BITS - 8);
/// Bytes of the header, with the kind of compression and its padding.
const HEADER: u32 = 112;

/// One cluster of the disk.
enum Cluster {
    Zero,
    Plain,
    Packed(usize),
}

/// What a thread makes of a chunk.
struct Packed {
    digest: [u8; 32],
    clusters: Vec<Cluster>,
    compressed: Vec<u8>,
    plain: Vec<u8>,
}

/// Writes a disk to a new, empty file.
///
/// # Errors
/// The disk cannot be read, the file cannot be written, or the work was told to stop.
pub fn write_qcow2(
    disk: &dyn BlockRead,
    file: &File,
    path: &Path,
    threads: usize,
    watch: Watch<'_>,
) -> Result<Unhashed, WriteError> {
    let failed = |source| WriteError::Io {
        path: path.to_owned(),
        source,
    };
    let compress = |source| WriteError::Compress { source };
    let mut image = Image::new(file, disk.len()).map_err(failed)?;
    let mut content = Content::new(disk.len());
    in_order(
        disk,
        threads,
        watch,
        || Compressor::new(LEVEL).map_err(compress),
        |compressor, bytes| pack(compressor, bytes).map_err(compress),
        |offset, chunk| {
            content.add(offset, chunk.digest);
            image.add(offset, &chunk).map_err(failed)
        },
    )?;
    let size = image.finish().map_err(failed)?;
    Ok(Unhashed {
        virtual_size: disk.len(),
        size,
        content: content.finish(),
        // Its first bytes were known last.
        digest: None,
    })
}

fn pack(compressor: &mut Compressor<'_>, mut bytes: Vec<u8>) -> io::Result<Packed> {
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
            clusters.push(Cluster::Packed(length));
        } else {
            clusters.push(Cluster::Plain);
        }
    }
    Ok(Packed {
        digest,
        clusters,
        compressed,
        plain: bytes,
    })
}

/// A file on its way to an image.
struct Image<'f> {
    file: &'f File,
    size: u64,
    /// Where the next cluster goes.
    end: u64,
    /// Entries of the second tables, by table; none where a table would be empty.
    tables: Vec<Option<Box<[u64]>>>,
    /// How often each cluster of the file is used.
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
            tables: vec![None; index(tables)],
            counts: vec![1; index(1 + first_table)],
        })
    }

    fn add(&mut self, offset: u64, chunk: &Packed) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(CHUNK);
        let mut packed = chunk.compressed.as_slice();
        let plain = chunk.plain.chunks_exact(CLUSTER);
        for (number, (cluster, plain)) in
            (offset / CLUSTER as u64..).zip(chunk.clusters.iter().zip(plain))
        {
            match cluster {
                Cluster::Zero => {}
                Cluster::Packed(length) => {
                    let (own, rest) = packed.split_at(*length);
                    packed = rest;
                    let at = self.end;
                    let last = at + *length as u64 - 1;
                    // Sectors beside the one that the first byte is in.
                    let sectors = last / 512 - at / 512;
                    self.enter(number, COMPRESSED | sectors << OFFSET_BITS | at);
                    self.count(at..=last);
                    bytes.extend(own);
                    self.end += own.len() as u64;
                }
                Cluster::Plain => {
                    let at = self.end.next_multiple_of(CLUSTER as u64);
                    bytes.resize(bytes.len() + index(at - self.end), 0);
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
        let table = &mut self.tables[index(number / ENTRIES as u64)];
        let table = table.get_or_insert_with(|| vec![0; ENTRIES].into_boxed_slice());
        table[index(number % ENTRIES as u64)] = entry;
    }

    fn count(&mut self, bytes: std::ops::RangeInclusive<u64>) {
        let (first, last) = (
            index(bytes.start() >> CLUSTER_BITS),
            index(bytes.end() >> CLUSTER_BITS),
        );
        if self.counts.len() <= last {
            self.counts.resize(last + 1, 0);
        }
        // A compressed cluster has a dozen bytes at least: fewer than 2^16 fit into one of the file.
        self.counts[first..=last]
            .iter_mut()
            .for_each(|count| *count += 1);
    }

    /// Writes everything behind the clusters, then what is before them, and says how large the file is.
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
        self.counts.resize(index(total), 1);
        tail.extend(self.counts.iter().flat_map(|count| count.to_be_bytes()));
        tail.resize(index(counts_at - start + blocks * cluster), 0);
        let places = (0..blocks).map(|block| counts_at + block * cluster);
        tail.extend(places.flat_map(u64::to_be_bytes));
        tail.resize(index(total * cluster - start), 0);
        self.file.write_all_at(&tail, start)?;
        self.file.write_all_at(&first_table, cluster)?;
        let header = self.header(counts_at + blocks * cluster, table_clusters);
        self.file.write_all_at(&header, 0)?;
        Ok(total * cluster)
    }

    fn header(&self, counts_table: u64, counts_clusters: u64) -> Vec<u8> {
        /// The kind of compression is not zlib.
        const OTHER_COMPRESSION: u64 = 1 << 3;
        const ZSTD: u8 = 1;
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        let mut header = b"QFI\xfb".to_vec();
        header.extend(3_u32.to_be_bytes());
        // No backing file.
        header.extend([0; 12]);
        header.extend(CLUSTER_BITS.to_be_bytes());
        header.extend(self.size.to_be_bytes());
        // No encryption.
        header.extend([0; 4]);
        header.extend(small(self.tables.len() as u64));
        header.extend((CLUSTER as u64).to_be_bytes());
        header.extend(counts_table.to_be_bytes());
        header.extend(small(counts_clusters));
        // No snapshots.
        header.extend([0; 12]);
        header.extend(OTHER_COMPRESSION.to_be_bytes());
        header.extend([0; 16]);
        // Counts of 2^4 bits.
        header.extend(4_u32.to_be_bytes());
        header.extend(HEADER.to_be_bytes());
        header.extend([ZSTD, 0, 0, 0, 0, 0, 0, 0]);
        // The end of extensions, of which there are none.
        header.extend([0; 8]);
        header
    }
}

/// Clusters for the counts of `used` clusters, of themselves, and of the table that lists them; and those of the table.
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

/// What fits into memory as a table has an index.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
