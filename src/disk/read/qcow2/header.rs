//! The header of a qcow2 image. All numbers in the file are big-endian.

use super::super::fields::{Fields, to_index};
use super::super::{BlockRead, ReadError};
use super::{PART, damaged};

const MAGIC: &[u8] = b"QFI\xfb";
/// What QEMU writes: 512 bytes to 2 MiB.
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// QEMU's own limit on the first table: 32 MiB.
const MOST_TABLE: u64 = 32 << 20;
/// Bytes of a version 3 header without the compression type, which not every version 3 header has.
const LENGTH: usize = 104;

/// The refcounts are out of date; they are not needed to read.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTENDED_TABLES: u64 = 1 << 4;

/// How clusters are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compression {
    Deflate,
    Zstd,
}

/// What a header says.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Bytes of the disk.
    pub size: u64,
    pub cluster_bits: u32,
    /// Where the first table is, and how many entries it has.
    pub table: u64,
    pub entries: u64,
    /// It names a file that has what is missing here. Which one is not for the header to say.
    pub has_backing: bool,
    pub compression: Compression,
    /// Clusters of which parts may be there.
    pub extended: bool,
    /// From version 3 on there are clusters of zeros.
    pub has_zeros: bool,
}

impl Header {
    pub fn read(file: &dyn BlockRead) -> Result<Self, ReadError> {
        let mut bytes = vec![0; LENGTH + 8];
        let there = to_index(file.len()).min(bytes.len());
        file.read_at(0, bytes.get_mut(..there).unwrap_or_default())?;
        let fields = Fields(&bytes);
        if !bytes.starts_with(MAGIC) {
            return Err(damaged("it does not start like one"));
        }
        let version = fields.be32(4);
        if !matches!(version, 2 | 3) {
            return Err(unsupported(format!("version {version}")));
        }
        if fields.be32(32) != 0 {
            return Err(unsupported("encryption"));
        }
        let features = if version == 2 { 0 } else { fields.be64(72) };
        let header = Self {
            size: fields.be64(24),
            cluster_bits: fields.be32(20),
            table: fields.be64(40),
            entries: fields.be32(36).into(),
            has_backing: fields.be64(8) != 0,
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
        if self.entries * 8 > MOST_TABLE {
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

    /// Bytes of a cluster.
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// How many entries a second table has: a cluster of them, as a power of two.
    pub fn table_bits(&self) -> u32 {
        self.cluster_bits - if self.extended { 4 } else { 3 }
    }
}

fn unsupported(feature: impl Into<String>) -> ReadError {
    ReadError::Unsupported {
        part: PART,
        feature: feature.into(),
        help: "convert it: `qemu-img convert -O qcow2 OLD NEW`",
    }
}

fn compression(features: u64, fields: Fields) -> Result<Compression, ReadError> {
    if features & COMPRESSION_TYPE == 0 {
        return Ok(Compression::Deflate);
    }
    match fields.u8(LENGTH) {
        1 => Ok(Compression::Zstd),
        other => Err(unsupported(format!("compression type {other}"))),
    }
}

fn check_features(features: u64) -> Result<(), ReadError> {
    if features & CORRUPT != 0 {
        return Err(damaged("it is marked so"));
    }
    if features & EXTERNAL_DATA != 0 {
        return Err(unsupported("its data in another file"));
    }
    match features & !(DIRTY | COMPRESSION_TYPE | EXTENDED_TABLES) {
        0 => Ok(()),
        unknown => Err(unsupported(format!("unknown features ({unknown:#x})"))),
    }
}
