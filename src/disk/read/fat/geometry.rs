//! Where things are, and which cluster follows which.

use super::super::fields::{Fields, to_index};
use super::super::{BlockRead, ReadError};
use super::{MOST_DIRECTORY, PART, damaged};

/// Four million clusters; an EFI system partition has some hundred thousand.
const MOST_TABLE: u64 = 16 << 20;
/// What says how many bits a cluster's number has is how many there are.
const FAT12_CLUSTERS: u64 = 4085;
const FAT16_CLUSTERS: u64 = 65_525;

/// Bits of a cluster's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Width {
    Bits12,
    Bits16,
    Bits32,
}

/// What the boot sector says, and the table of clusters.
pub(super) struct Geometry {
    width: Width,
    cluster_size: u64,
    clusters: u32,
    /// Where the first cluster, which is number 2, is.
    data: u64,
    /// The root directory where it is not a chain of clusters.
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
        let sector = u64::from(fields.le16(11));
        let per_cluster = u64::from(fields.u8(13));
        let tables = u64::from(fields.u8(16));
        let jumps = matches!(fields.u8(0), 0xeb | 0xe9);
        let sector_is_good = matches!(sector, 512..=4096) && sector.is_power_of_two();
        if !jumps || !sector_is_good || !per_cluster.is_power_of_two() || !matches!(tables, 1..=4) {
            return Err(damaged("there is no boot sector of FAT"));
        }
        let or = |small: u16, large: u32| {
            if small == 0 {
                u64::from(large)
            } else {
                small.into()
            }
        };
        let table_sectors = or(fields.le16(22), fields.le32(36));
        let sectors = or(fields.le16(19), fields.le32(32));
        let reserved = u64::from(fields.le16(14));
        let root = u64::from(fields.le16(17)) * super::ENTRY as u64;
        let before_root = reserved + tables * table_sectors;
        let before_data = before_root + root.div_ceil(sector);
        let clusters = sectors.saturating_sub(before_data) / per_cluster;
        let width = match clusters {
            _ if fields.le16(22) == 0 => Width::Bits32,
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
            data: before_data * sector,
            fixed_root: (width != Width::Bits32).then_some((before_root * sector, root)),
            root_cluster: fields.le32(44),
            table: Vec::new(),
        };
        let fits = geometry.table_length() <= table_sectors * sector;
        if reserved == 0
            || clusters == 0
            || !fits
            || root > MOST_DIRECTORY
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
        if length > MOST_TABLE {
            return Err(ReadError::TooLarge {
                part: PART,
                problem: format!("it has {} clusters", geometry.clusters),
            });
        }
        let mut place = [0; 4];
        disk.read_at(11, &mut place)?;
        let mut reserved = [0; 2];
        disk.read_at(14, &mut reserved)?;
        let sector = u64::from(Fields(&place).le16(0));
        geometry.table = vec![0; to_index(length)];
        disk.read_at(
            u64::from(u16::from_le_bytes(reserved)) * sector,
            &mut geometry.table,
        )?;
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

    pub fn fixed_root(&self) -> Option<(u64, u64)> {
        self.fixed_root
    }

    pub fn root_cluster(&self) -> u32 {
        self.root_cluster
    }

    /// Whether a directory's entry can be there.
    pub fn may_have_entries(&self, offset: u64) -> bool {
        let in_root = self
            .fixed_root
            .is_some_and(|(start, length)| (start..start + length).contains(&offset));
        let end = self.data + u64::from(self.clusters) * self.cluster_size;
        in_root || (self.data..end).contains(&offset)
    }

    /// Where a cluster is. Its number was checked when its chain was followed.
    pub fn offset(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster.saturating_sub(2)) * self.cluster_size
    }

    /// The clusters from `first` on.
    pub fn chain(&self, first: u32) -> Result<Vec<u32>, ReadError> {
        let mut chain = Vec::new();
        let mut next = first;
        loop {
            // Counted from 2; no chain is longer than all of them.
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

    /// The cluster after another one; `None` at the end.
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
