//! The header of a qcow2 image. All numbers in the file are big-endian.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::super::fields::{Fields, to_index};
use super::super::{BlockRead, ReadError};
use super::{PART, damaged};

pub(super) const MAGIC: &[u8] = b"QFI\xfb";
/// Cluster sizes that QEMU writes: 512 bytes to 2 MiB.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// QEMU's own limit on the first table.
const MAX_TABLE_BYTES: u64 = 32 << 20;
/// Bytes of a version 3 header without the compression type, which not every version 3 header has.
const LENGTH: usize = 104;

/// Offsets of header fields (docs/interop/qcow2 of QEMU).
pub(super) mod field {
    pub const VERSION: usize = 4;
    pub const BACKING_FILE_OFFSET: usize = 8;
    pub const CLUSTER_BITS: usize = 20;
    pub const SIZE: usize = 24;
    pub const CRYPT_METHOD: usize = 32;
    pub const L1_SIZE: usize = 36;
    pub const L1_TABLE_OFFSET: usize = 40;
    pub const REFCOUNT_TABLE_OFFSET: usize = 48;
    pub const REFCOUNT_TABLE_CLUSTERS: usize = 56;
    pub const SNAPSHOTS: usize = 60;
    pub const INCOMPATIBLE_FEATURES: usize = 72;
    pub const HEADER_LENGTH: usize = 100;
    pub const COMPRESSION_TYPE: usize = 104;
}

/// The refcounts are out of date; reading does not need them.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_TABLES: u64 = 1 << 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compression {
    Deflate,
    Zstd,
}

#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Size of the disk in bytes.
    pub size: u64,
    pub cluster_bits: u32,
    /// Offset of the first table, and its number of entries.
    pub table: u64,
    pub entries: u64,
    /// The image is an overlay. Which file is below it is not for the header to say.
    pub has_backing: bool,
    pub compression: Compression,
    /// Parts of a cluster can be present or missing.
    pub extended: bool,
    /// Entries can mark clusters as zero, as from version 3 on.
    pub has_zeros: bool,
}

impl Header {
    pub fn read(file: &dyn BlockRead) -> Result<Self, ReadError> {
        let mut bytes = vec![0; LENGTH + 8];
        let available = to_index(file.len()).min(bytes.len());
        file.read_at(0, bytes.get_mut(..available).unwrap_or_default())?;
        let fields = Fields(&bytes);
        if !bytes.starts_with(MAGIC) {
            return Err(damaged("the magic number is missing"));
        }
        let version = fields.be32(field::VERSION);
        if !matches!(version, 2 | 3) {
            return Err(unsupported(format!("version {version}")));
        }
        if fields.be32(field::CRYPT_METHOD) != 0 {
            return Err(unsupported("encryption"));
        }
        let features = features(fields);
        let header = Self {
            size: fields.be64(field::SIZE),
            cluster_bits: fields.be32(field::CLUSTER_BITS),
            table: fields.be64(field::L1_TABLE_OFFSET),
            entries: fields.be32(field::L1_SIZE).into(),
            has_backing: has_backing(fields),
            compression: compression(features, fields)?,
            extended: features & EXTENDED_TABLES != 0,
            has_zeros: version > 2,
        };
        check_features(features)?;
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), ReadError> {
        if !CLUSTER_BITS.contains(&self.cluster_bits) || (self.extended && self.cluster_bits < 14) {
            return Err(damaged(format!(
                "its clusters have 2^{} bytes",
                self.cluster_bits
            )));
        }
        if self.entries * 8 > MAX_TABLE_BYTES {
            return Err(damaged(format!(
                "its first table has {} entries",
                self.entries
            )));
        }
        // At most 2^42 bytes an entry, at most 2^22 entries.
        let covered = u128::from(self.entries) << (self.cluster_bits + self.table_bits());
        if u128::from(self.size) > covered || i64::try_from(self.size).is_err() {
            return Err(damaged(format!(
                "its tables do not cover the {} bytes of its disk",
                self.size
            )));
        }
        Ok(())
    }

    /// Returns the number of bytes of a cluster.
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Returns the number of entries of a second table, which is one cluster long, as a power of two.
    pub fn table_bits(&self) -> u32 {
        self.cluster_bits - if self.extended { 4 } else { 3 }
    }
}

/// Returns the other file that the image at `path` needs, if it has a qcow2 header that names one. qemu-img would open that file.
pub(in crate::disk) fn external_file(path: &Path) -> io::Result<Option<&'static str>> {
    let mut start = Vec::with_capacity(LENGTH);
    let file = File::open(path)?;
    file.take(LENGTH as u64).read_to_end(&mut start)?;
    let fields = Fields(&start);
    Ok(if !start.starts_with(MAGIC) {
        None
    } else if has_backing(fields) {
        Some("a backing file")
    } else if features(fields) & EXTERNAL_DATA != 0 {
        Some("a data file")
    } else {
        None
    })
}

fn has_backing(header: Fields) -> bool {
    header.be64(field::BACKING_FILE_OFFSET) != 0
}

/// Returns the incompatible features. Version 2 has none: there the field's bytes belong to something else.
fn features(header: Fields) -> u64 {
    match header.be32(field::VERSION) {
        2 => 0,
        _ => header.be64(field::INCOMPATIBLE_FEATURES),
    }
}

fn unsupported(feature: impl Into<String>) -> ReadError {
    ReadError::Unsupported {
        part: PART,
        feature: feature.into(),
        help: "convert it: `qemu-img convert -O qcow2 OLD NEW`",
    }
}

fn compression(features: u64, header: Fields) -> Result<Compression, ReadError> {
    if features & COMPRESSION_TYPE == 0 {
        return Ok(Compression::Deflate);
    }
    match header.u8(field::COMPRESSION_TYPE) {
        1 => Ok(Compression::Zstd),
        other => Err(unsupported(format!("compression type {other}"))),
    }
}

fn check_features(features: u64) -> Result<(), ReadError> {
    if features & CORRUPT != 0 {
        return Err(damaged("it is marked as corrupt"));
    }
    if features & EXTERNAL_DATA != 0 {
        return Err(unsupported("its data in another file"));
    }
    match features & !(DIRTY | COMPRESSION_TYPE | EXTENDED_TABLES) {
        0 => Ok(()),
        unknown => Err(unsupported(format!("unknown features ({unknown:#x})"))),
    }
}
