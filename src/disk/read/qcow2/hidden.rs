//! Content of a qcow2 file that does not belong to its disk: snapshots, bitmaps, unknown extensions, data in unused clusters.
//!
//! Such content leaves a host with each copy of the file, and no check of the disk reads it.

use std::ops::Range;

use super::super::fields::{Fields, to_index};
use super::super::{BlockRead, ReadError};
use super::header::{Header, MAGIC, field};
use super::{
    COMPRESSED, OFFSET, PART, SUBCLUSTERS, ZERO, compressed_extent, damaged, read_or_zeros,
    read_table,
};

/// Header extensions without content: the end, the format of a backing file, the names of features.
const END: u32 = 0;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const FEATURE_NAMES: u32 = 0x6803_f857;
const BITMAPS: u32 = 0x2385_2875;
/// Flag of an entry whose cluster has one reference.
const COPIED: u64 = 1 << 63;
/// Bytes of a version 2 header.
const OLD_HEADER: usize = 72;
/// Bytes of the longest header with known fields.
const KNOWN_HEADER: usize = 112;
/// 32 TiB with clusters of 64 KiB; their map takes 64 MiB of memory.
const MAX_CLUSTERS: u64 = 1 << 29;
/// QEMU's own limit on the table of reference counts.
const MAX_COUNTS_BYTES: u64 = 8 << 20;
/// Bytes of unused clusters that are read at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// Describes content of a file that does not belong to its disk. `None` for a file in another format, and for a clean one.
///
/// # Errors
/// The file cannot be read, or a table of it is damaged.
pub fn hidden_content(file: &dyn BlockRead) -> Result<Option<String>, ReadError> {
    let mut start = vec![0; KNOWN_HEADER];
    read_or_zeros(file, 0, &mut start)?;
    if !start.starts_with(MAGIC) {
        return Ok(None);
    }
    let fields = Fields(&start);
    let snapshots = fields.be32(field::SNAPSHOTS);
    if snapshots != 0 {
        return Ok(Some(format!("internal snapshots ({snapshots})")));
    }
    // A file with another header cannot be opened, which the reader reports.
    let Ok(header) = Header::read(file) else {
        return Ok(None);
    };
    // At most 2 MiB.
    let mut first = vec![0; to_index(header.cluster())];
    read_or_zeros(file, 0, &mut first)?;
    match in_header(&first) {
        None => in_clusters(file, &header, fields),
        some => Ok(some),
    }
}

/// Looks for extensions, and for data after them, in the first cluster of a file without a backing file.
fn in_header(cluster: &[u8]) -> Option<String> {
    let fields = Fields(cluster);
    let mut at = match fields.be32(field::VERSION) {
        2 => OLD_HEADER,
        _ => to_index(fields.be32(field::HEADER_LENGTH)),
    };
    let unknown = cluster.get(KNOWN_HEADER..at).unwrap_or_default();
    if unknown.iter().any(|byte| *byte != 0) {
        return Some("unknown fields in its header".to_owned());
    }
    while at + 8 <= cluster.len() {
        let (kind, length) = (fields.be32(at), to_index(fields.be32(at + 4)));
        at += 8;
        match kind {
            END => break,
            BACKING_FORMAT | FEATURE_NAMES => {}
            BITMAPS => return Some("persistent bitmaps".to_owned()),
            other => return Some(format!("the unknown header extension {other:#010x}")),
        }
        at = at.saturating_add(length.next_multiple_of(8));
    }
    let rest = cluster.get(at..).unwrap_or_default();
    let has_data = rest.iter().any(|byte| *byte != 0);
    has_data.then(|| "data behind its header".to_owned())
}

/// Looks for data outside of the clusters that the tables of the image use.
fn in_clusters(
    file: &dyn BlockRead,
    header: &Header,
    fields: Fields,
) -> Result<Option<String>, ReadError> {
    let mut used = UsedClusters::new(file.len(), header.cluster_bits)?;
    used.mark(0, 1);
    used.mark(header.table, header.entries * 8);
    let first_table = read_table(file, header.table, header.entries)?;
    for table in first_table.iter().map(|entry| entry & OFFSET) {
        // A table that another entry names, too, is read once.
        if table != 0 && used.mark(table, header.cluster()) {
            let entries = read_table(file, table, header.cluster() / 8)?;
            mark_data(&mut used, header, &entries);
        }
    }
    let counts = fields.be64(field::REFCOUNT_TABLE_OFFSET);
    let clusters = u64::from(fields.be32(field::REFCOUNT_TABLE_CLUSTERS));
    let length = clusters * header.cluster();
    if length > MAX_COUNTS_BYTES {
        return Err(damaged(format!("its refcount table has {length} bytes")));
    }
    used.mark(counts, length);
    for block in read_table(file, counts, length / 8)? {
        if block & OFFSET != 0 {
            used.mark(block & OFFSET, header.cluster());
        }
    }
    let table_end = header.table + header.entries * 8;
    let slack = table_end..table_end.next_multiple_of(header.cluster());
    let data = |at| format!("data at byte {at} of the file, in no cluster that its disk uses");
    if let Some(at) = first_data(file, slack)? {
        return Ok(Some(data(at)));
    }
    for range in used.unused() {
        if let Some(at) = first_data(file, range.clone())? {
            // At most 2 MiB.
            let mut cluster = vec![0; to_index(header.cluster())];
            read_or_zeros(file, range.start, &mut cluster)?;
            if !used.is_old_table(&cluster) {
                return Ok(Some(data(at)));
            }
        }
    }
    Ok(None)
}

/// Marks the clusters that a second table names, except those that read as zeros whatever they hold.
fn mark_data(used: &mut UsedClusters, header: &Header, table: &[u64]) {
    for entry in table.chunks_exact(if header.extended { 2 } else { 1 }) {
        let is_data = match entry {
            [_, bitmap] => bitmap & ((1 << SUBCLUSTERS) - 1) != 0,
            [entry, ..] => !header.has_zeros || entry & ZERO == 0,
            [] => false,
        };
        match entry.first() {
            Some(entry) if entry & COMPRESSED != 0 => {
                let (start, length) = compressed_extent(*entry, header.cluster_bits);
                used.mark(start, length);
            }
            Some(entry) if is_data => {
                used.mark(entry & OFFSET, header.cluster());
            }
            _ => {}
        }
    }
}

/// The clusters of a file, with a bit for each that is in use.
struct UsedClusters {
    bits: Vec<u64>,
    cluster_bits: u32,
    file_length: u64,
}

impl UsedClusters {
    fn new(file_length: u64, cluster_bits: u32) -> Result<Self, ReadError> {
        let clusters = file_length.div_ceil(1 << cluster_bits);
        if clusters > MAX_CLUSTERS {
            let problem = format!("it has {clusters} clusters");
            return Err(ReadError::too_large(PART, problem));
        }
        Ok(Self {
            bits: vec![0; to_index(clusters.div_ceil(64))],
            cluster_bits,
            file_length,
        })
    }

    /// Marks the clusters with these bytes. Returns whether one of them was unused before.
    fn mark(&mut self, start: u64, length: u64) -> bool {
        let end = start.saturating_add(length).min(self.file_length);
        let mut is_new = false;
        if start < end {
            for cluster in start >> self.cluster_bits..=(end - 1) >> self.cluster_bits {
                if let Some(word) = self.bits.get_mut(to_index(cluster / 64)) {
                    is_new |= *word >> (cluster % 64) & 1 == 0;
                    *word |= 1 << (cluster % 64);
                }
            }
        }
        is_new
    }

    fn is_used(&self, cluster: u64) -> bool {
        let word = self.bits.get(to_index(cluster / 64));
        word.is_some_and(|word| word >> (cluster % 64) & 1 != 0)
    }

    /// Returns whether a cluster is an old table, which `qemu-img resize` leaves: it names clusters in use, and has nothing else.
    fn is_old_table(&self, cluster: &[u8]) -> bool {
        cluster.chunks_exact(8).all(|entry| {
            let at = Fields(entry).be64(0) & !COPIED;
            at.is_multiple_of(1 << self.cluster_bits) && self.is_used(at >> self.cluster_bits)
        })
    }

    /// Returns the bytes of each unused cluster.
    fn unused(&self) -> impl Iterator<Item = Range<u64>> {
        let size = 1 << self.cluster_bits;
        let clusters = self.file_length.div_ceil(size);
        (0..clusters)
            .filter(|cluster| !self.is_used(*cluster))
            .map(move |cluster| cluster * size..(cluster + 1) * size)
    }
}

/// Returns the offset of the first part of a range that is not zero.
fn first_data(file: &dyn BlockRead, range: Range<u64>) -> Result<Option<u64>, ReadError> {
    let mut at = range.start;
    let end = range.end.min(file.len());
    let mut buffer = Vec::new();
    while at < end {
        let span = file.span(at)?;
        let length = span.length.clamp(1, end - at);
        if span.zero {
            at += length;
            continue;
        }
        let length = length.min(CHUNK_BYTES);
        buffer.resize(to_index(length), 0);
        file.read_at(at, &mut buffer)?;
        if let Some(index) = buffer.iter().position(|byte| *byte != 0) {
            return Ok(Some(at + index as u64));
        }
        at += length;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::super::super::{Memory, RawFile};
    use super::*;

    fn run(directory: &Path, command: &str) {
        let mut words = command.split(' ');
        let mut command = Command::new(words.next().unwrap());
        let status = command.args(words).current_dir(directory).status();
        assert!(status.unwrap().success(), "{command:?}");
    }

    /// Makes a raw disk with data at its start, in its middle and at its end.
    fn raw(directory: &Path) -> PathBuf {
        let path = directory.join("raw");
        let mut bytes = vec![0; 6 << 20];
        for at in [0, 3 << 20, (6 << 20) - 100_000] {
            for (index, byte) in bytes[at..at + 100_000].iter_mut().enumerate() {
                *byte = ((index * index) >> 7).to_le_bytes()[0];
            }
        }
        fs::write(&path, bytes).unwrap();
        path
    }

    fn hidden(path: &Path) -> Option<String> {
        hidden_content(&RawFile::open(path).unwrap()).unwrap()
    }

    #[test]
    fn an_image_that_qemu_img_writes_is_clean() {
        let scratch = tempfile::tempdir().unwrap();
        let path = raw(scratch.path());
        assert_eq!(hidden(&path), None);
        for options in [
            "-o compat=0.10",
            "-o compat=1.1",
            "-o cluster_size=512",
            "-o cluster_size=2M",
            "-c",
            "-c -o compat=0.10",
            "-c -W -m 4 -o compression_type=zstd,cluster_size=4k",
            "-o extended_l2=on",
            "-o lazy_refcounts=on,preallocation=metadata",
            "-o preallocation=falloc",
        ] {
            let command = format!("qemu-img convert -f raw -O qcow2 {options} raw image");
            run(scratch.path(), &command);
            assert_eq!(hidden(&scratch.path().join("image")), None, "{options}");
            // This leaves an old table.
            run(scratch.path(), "qemu-img resize -q image 20G");
            assert_eq!(hidden(&scratch.path().join("image")), None, "{options}");
        }
    }

    #[test]
    fn content_outside_of_the_disk_is_found_and_a_conversion_leaves_it_out() {
        let scratch = tempfile::tempdir().unwrap();
        raw(scratch.path());
        let at = |name: &str| scratch.path().join(name);
        run(scratch.path(), "qemu-img convert -f raw -O qcow2 raw clean");
        let clean = fs::read(at("clean")).unwrap();
        let table = to_index(Fields(&clean).be64(field::L1_TABLE_OFFSET));
        let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = clean.clone();
            edit(&mut bytes);
            fs::write(at("image"), bytes).unwrap();
        };
        let cases: [(&dyn Fn(), &str); 8] = [
            (
                &|| {
                    edited(&|_| {});
                    run(scratch.path(), "qemu-img snapshot -c before image");
                },
                "internal snapshots (1)",
            ),
            (
                &|| {
                    edited(&|_| {});
                    run(scratch.path(), "qemu-img bitmap --add image changes");
                },
                "persistent bitmaps",
            ),
            (
                &|| edited(&|bytes| bytes.extend(b"a note to the finder")),
                "data at byte",
            ),
            (
                &|| {
                    edited(&|bytes| {
                        bytes.resize(bytes.len() + 200_000, 0);
                        bytes.push(1);
                    });
                },
                "data at byte",
            ),
            (&|| edited(&|bytes| bytes[table + 1000] = 7), "data at byte"),
            (
                &|| edited(&|bytes| bytes[60_000] = 7),
                "data behind its header",
            ),
            (
                &|| edited(&|bytes| bytes[112..116].copy_from_slice(&[0x12, 0x34, 0x56, 0x78])),
                "the unknown header extension 0x12345678",
            ),
            (
                // The table of the first clusters stays without the entry for it.
                &|| {
                    edited(&|bytes| bytes[table..table + 8].fill(0));
                },
                "data at byte",
            ),
        ];
        for (make, expected) in cases {
            make();
            let found = hidden(&at("image")).unwrap_or_default();
            assert!(found.starts_with(expected), "{found:?}, not {expected:?}");
            run(scratch.path(), "qemu-img convert -O qcow2 image again");
            assert_eq!(hidden(&at("again")), None, "{expected}");
        }
    }

    #[test]
    fn a_damaged_table_is_an_error_and_an_unreadable_header_is_left_to_the_reader() {
        let scratch = tempfile::tempdir().unwrap();
        raw(scratch.path());
        run(scratch.path(), "qemu-img convert -f raw -O qcow2 raw image");
        let image = fs::read(scratch.path().join("image")).unwrap();
        for (at, byte, expected) in [
            (0, 0, Ok(None)),
            (7, 9, Ok(None)),
            (40, 0x7f, Err("outside of the file")),
            (48, 0x7f, Err("outside of the file")),
            (56, 0x7f, Err("refcount table")),
        ] {
            let mut bytes = image.clone();
            bytes[at] = byte;
            match (hidden_content(&Memory(bytes)), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{at}"),
                (Err(error), Err(text)) => {
                    assert!(error.to_string().contains(text), "{at}: {error}");
                }
                (outcome, _) => panic!("{at}: {outcome:?}"),
            }
        }
    }
}
