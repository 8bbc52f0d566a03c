//! The boot sector, and the table that links clusters.

use super::super::fields::{Fields, to_index};
use super::super::{BlockRead, ReadError};
use super::{MAX_DIRECTORY_BYTES, PART, damaged};

/// Four million clusters; an EFI system partition has some hundred thousand.
const MAX_TABLE_BYTES: u64 = 16 << 20;
/// Number of clusters from which on their numbers have 16, and 32 bits.
const FAT12_CLUSTERS: u64 = 4085;
const FAT16_CLUSTERS: u64 = 65_525;

/// Offsets of fields in the boot sector.
mod field {
    pub const SECTOR_SIZE: usize = 11;
    pub const SECTORS_PER_CLUSTER: usize = 13;
    pub const RESERVED_SECTORS: usize = 14;
    pub const TABLES: usize = 16;
    pub const ROOT_ENTRIES: usize = 17;
    pub const SECTORS_16: usize = 19;
    pub const TABLE_SECTORS_16: usize = 22;
    pub const SECTORS_32: usize = 32;
    pub const TABLE_SECTORS_32: usize = 36;
    pub const ROOT_CLUSTER: usize = 44;
}

/// Bits of a cluster's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Width {
    Bits12,
    Bits16,
    Bits32,
}

/// The contents of the boot sector, and the table of clusters.
pub(super) struct Geometry {
    width: Width,
    cluster_size: u64,
    clusters: u32,
    /// Offset of the table of clusters.
    table_offset: u64,
    /// Offset of the first cluster, which has number 2.
    data: u64,
    /// Offset and length of a root directory that is not a chain of clusters.
    fixed_root: Option<(u64, u64)>,
    root_cluster: u32,
    table: Vec<u8>,
}

impl Geometry {
    /// Reads the boot sector, without the table.
    pub fn header(disk: &dyn BlockRead) -> Result<Self, ReadError> {
        let mut boot = vec![0; 512];
        disk.read_at(0, &mut boot)?;
        let fields = Fields(&boot);
        let sector = u64::from(fields.le16(field::SECTOR_SIZE));
        let per_cluster = u64::from(fields.u8(field::SECTORS_PER_CLUSTER));
        let tables = u64::from(fields.u8(field::TABLES));
        let jumps = matches!(fields.u8(0), 0xeb | 0xe9);
        let sector_is_good = matches!(sector, 512..=4096) && sector.is_power_of_two();
        if !jumps || !sector_is_good || !per_cluster.is_power_of_two() || !matches!(tables, 1..=4) {
            return Err(damaged("the boot sector is missing"));
        }
        let either = |small, large| match fields.le16(small) {
            0 => u64::from(fields.le32(large)),
            small => small.into(),
        };
        let table_sectors = either(field::TABLE_SECTORS_16, field::TABLE_SECTORS_32);
        let sectors = either(field::SECTORS_16, field::SECTORS_32);
        let reserved = u64::from(fields.le16(field::RESERVED_SECTORS));
        let root = u64::from(fields.le16(field::ROOT_ENTRIES)) * super::ENTRY as u64;
        let before_root = reserved + tables * table_sectors;
        let before_data = before_root + root.div_ceil(sector);
        let clusters = sectors.saturating_sub(before_data) / per_cluster;
        let width = match clusters {
            _ if fields.le16(field::TABLE_SECTORS_16) == 0 => Width::Bits32,
            ..FAT12_CLUSTERS => Width::Bits12,
            FAT12_CLUSTERS..FAT16_CLUSTERS => Width::Bits16,
            _ => {
                return Err(damaged(format!(
                    "it has {clusters} clusters without being FAT32"
                )));
            }
        };
        let geometry = Self {
            width,
            cluster_size: sector * per_cluster,
            clusters: u32::try_from(clusters).unwrap_or(u32::MAX),
            table_offset: reserved * sector,
            data: before_data * sector,
            fixed_root: (width != Width::Bits32).then_some((before_root * sector, root)),
            root_cluster: fields.le32(field::ROOT_CLUSTER),
            table: Vec::new(),
        };
        let fits = geometry.table_length() <= table_sectors * sector;
        if reserved == 0
            || clusters == 0
            || !fits
            || root > MAX_DIRECTORY_BYTES
            || sectors * sector > disk.len()
        {
            return Err(damaged(
                "its boot sector contradicts itself or the size of its partition",
            ));
        }
        Ok(geometry)
    }

    pub fn read(disk: &dyn BlockRead) -> Result<Self, ReadError> {
        let mut geometry = Self::header(disk)?;
        let length = geometry.table_length();
        if length > MAX_TABLE_BYTES {
            let problem = format!("it has {} clusters", geometry.clusters);
            return Err(ReadError::too_large(PART, problem));
        }
        geometry.table = vec![0; to_index(length)];
        disk.read_at(geometry.table_offset, &mut geometry.table)?;
        Ok(geometry)
    }

    fn table_length(&self) -> u64 {
        let entries = u64::from(self.clusters) + 2;
        match self.width {
            Width::Bits12 => (entries * 3).div_ceil(2),
            Width::Bits16 => entries * 2,
            Width::Bits32 => entries * 4,
        }
    }

    pub fn cluster_size(&self) -> u64 {
        self.cluster_size
    }

    pub fn clusters(&self) -> u32 {
        self.clusters
    }

    /// Returns the offset of the table of clusters, which is behind the boot sectors.
    pub fn table_offset(&self) -> u64 {
        self.table_offset
    }

    /// Returns the offset of the first cluster.
    pub fn data_offset(&self) -> u64 {
        self.data
    }

    pub fn fixed_root(&self) -> Option<(u64, u64)> {
        self.fixed_root
    }

    pub fn root_cluster(&self) -> u32 {
        self.root_cluster
    }

    /// Returns whether a directory entry can be at this offset.
    pub fn may_have_entries(&self, offset: u64) -> bool {
        let in_root = self
            .fixed_root
            .is_some_and(|(start, length)| (start..start + length).contains(&offset));
        let end = self.data + u64::from(self.clusters) * self.cluster_size;
        in_root || (self.data..end).contains(&offset)
    }

    /// Returns the offset of a cluster, whose number was checked when its chain was followed.
    pub fn offset(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster.saturating_sub(2)) * self.cluster_size
    }

    /// Returns the chain of clusters from `first` on.
    pub fn chain(&self, first: u32) -> Result<Vec<u32>, ReadError> {
        let mut chain = Vec::new();
        let mut next = first;
        loop {
            // Numbers start at 2, and a chain has each cluster once.
            if next < 2 || next - 2 >= self.clusters || chain.len() >= to_index(self.clusters) {
                return Err(damaged(format!("the chain from cluster {first} is broken")));
            }
            chain.push(next);
            match self.after(next) {
                Some(after) => next = after,
                None => return Ok(chain),
            }
        }
    }

    /// Returns the next cluster of a chain; `None` at its end.
    fn after(&self, cluster: u32) -> Option<u32> {
        let table = Fields(&self.table);
        let at = to_index(cluster);
        let (value, end) = match self.width {
            Width::Bits12 => {
                let pair = table.le16(at + at / 2);
                (
                    u32::from(if at.is_multiple_of(2) {
                        pair & 0xfff
                    } else {
                        pair >> 4
                    }),
                    0xff8,
                )
            }
            Width::Bits16 => (table.le16(at * 2).into(), 0xfff8),
            Width::Bits32 => (table.le32(at * 4) & 0x0fff_ffff, 0x0fff_fff8),
        };
        (value < end).then_some(value)
    }
}
